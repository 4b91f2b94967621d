/* A kernel at every fill, and at sizes on both sides of tile edges. */
#include <stdio.h>

#include "golden/check_parts.h"

/* Sizes of one test; what an operation does not use is ignored. Every size differs from the others
 * where a mistaken one must not come out right (heads, groups, head_dim, widths). */
static const struct {
    idx tokens, width, outputs, heads, kv_heads, head_dim, window, seen, slots, vocab, experts,
        chosen;
} sizes[] = {
    {1, 127, 33, 6, 2, 16, 0, 131, 160, 33, 5, 2},
    {33, 31, 127, 6, 2, 16, 0, 0, 33, 31, 8, 2},
    {31, 33, 1, 4, 4, 34, 5, 0, 5, 127, 33, 3},
    {3, 515, 65, 6, 3, 32, 5, 4, 5, 511, 7, 7},
    {7, 256, 129, 8, 1, 64, 5, 13, 5, 257, 64, 4},
    {1, 129, 255, 6, 2, 128, 33, 100, 33, 1025, 127, 6},
    {65, 63, 31, 5, 1, 6, 32, 1, 40, 65, 31, 1},
    {1, 1, 1, 1, 1, 2, 0, 0, 1, 2, 1, 1},
};

static mr_check_plan plan_of(const mr_check_plan *like, size_t size, int fill) {
    mr_check_plan p = *like;
    p.tokens = sizes[size].tokens, p.width = sizes[size].width, p.outputs = sizes[size].outputs;
    p.heads = sizes[size].heads, p.kv_heads = sizes[size].kv_heads;
    p.head_dim = sizes[size].head_dim, p.window = sizes[size].window, p.seen = sizes[size].seen;
    p.slots = sizes[size].slots, p.vocab = sizes[size].vocab;
    p.experts = sizes[size].experts, p.chosen = sizes[size].chosen;
    if (p.eps <= 0) p.eps = 1e-5;
    if (p.theta <= 0) p.theta = 1e6;
    p.fill = fill;
    p.seed += size;
    return p;
}

int mr_check_sweep(const mr_check_plan *like, mr_check_kernel *kernel, void *user, char *text,
                   size_t size) {
    int runs = 0, nothing = 0;
    double ratio = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int fill = 0; fill < MR_FILLS; fill++) {
            const mr_check_plan plan = plan_of(like, s, fill);
            mr_check *check = mr_check_new(&plan, text, size);
            if (check == NULL) return MR_USAGE;
            kernel(check, &plan, user);
            const int status = mr_check_judge(check, text, size);
            if (check->ratio > ratio) ratio = check->ratio;
            mr_check_free(check);
            if (status != MR_OK && status != MR_PROVES_NOTHING) return status;
            runs++;
            nothing += status == MR_PROVES_NOTHING;
        }
    snprintf(text, size, "%s, %s: agrees in %d runs (%d of them prove nothing), largest "
             "error/bound %.3g", like->operation, like->store, runs - nothing, nothing, ratio);
    return runs > nothing ? MR_OK : MR_PROVES_NOTHING;
}
