/* Operations on rows that do not look at each other: norm, linear, rotation, gate, lookup, sum of
 * experts. Each is the bound of golden/replay_bound.h on the arrays of a test. */
#include "golden/check_parts.h"

#include <math.h>

#define EVERY_FILL (~0u)
#define INTEGERS (1u << MR_FILL_INTEGERS)

static void rmsnorm_arrays(mr_check *c) {
    const idx T = c->plan.tokens, d = c->plan.width;
    mr_check_add(c, "x", OF_ACTIVATION, IS_INPUT, T, d, NO_DIM);
    mr_check_add(c, "g", OF_GAIN, IS_INPUT, d, NO_DIM, NO_DIM);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, T, d, NO_DIM);
}

static void rmsnorm_expect(mr_check *c) {
    const mr_matrix g = mr_check_matrix(c, "g", 1, c->plan.width);
    mr_bound_rmsnorm(mr_check_part(c, "y")->want, mr_check_part(c, "x")->in, &g, c->plan.tokens,
                     c->plan.eps, &c->a);
}

static void linear_arrays(mr_check *c) {
    const idx T = c->plan.tokens, d = c->plan.width, n = c->plan.outputs;
    mr_check_add(c, "x", OF_ACTIVATION, IS_INPUT, T, d, NO_DIM);
    mr_check_add(c, "W", OF_WEIGHT, IS_INPUT, n, d, NO_DIM);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, T, n, NO_DIM);
}

static void linear_expect(mr_check *c) {
    const mr_matrix W = mr_check_matrix(c, "W", c->plan.outputs, c->plan.width);
    double *room = mr_alloc(2 * W.cols, sizeof *room, &c->err);
    if (room != NULL)
        mr_bound_linear(mr_check_part(c, "y")->want, mr_check_part(c, "x")->in, &W, c->plan.tokens,
                        &c->a, room);
    mr_free(room);
}

static void rope_arrays(mr_check *c) {
    const idx T = c->plan.tokens, H = c->plan.heads, D = c->plan.head_dim;
    if (D % 2 != 0 || D > MR_MAX_HEAD_DIM || !(c->plan.theta > 0))
        mr_fail(&c->err, MR_USAGE, "rope: head_dim %td, theta %g; expected an even head_dim of at "
                "most %d and theta above 0", D, c->plan.theta, MR_MAX_HEAD_DIM);
    mr_check_add(c, "x", OF_ACTIVATION, IS_INPUT, T, H, D);
    mr_check_add(c, "position", OF_INDEX, IS_INPUT, T, NO_DIM, NO_DIM);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, T, H, D);
}

/* 0, 1, the edges of bf16's integers and of common tables, then anything below 131072 */
static void rope_prepare(mr_check *c) {
    static const int32_t edges[] = {0, 1, 255, 256, 257, 1857, 4095, 4096, 32767, 131071};
    int32_t *position = mr_check_index(c, "position");
    for (idx t = 0; t < c->plan.tokens; t++) {
        const idx at = t + (idx)(c->plan.seed % 5);
        position[t] = at < 10 ? edges[at] : (int32_t)(131072 * mr_check_uniform(c, 77, t));
    }
}

static void rope_expect(mr_check *c) {
    const idx T = c->plan.tokens;
    const mr_rotation by = {.theta = c->plan.theta,
                            .layout = c->plan.half_split ? MR_HALF_SPLIT : MR_INTERLEAVED};
    int64_t *position = mr_alloc(T, sizeof *position, &c->err);
    for (idx t = 0; position != NULL && t < T; t++)
        position[t] = (int64_t)mr_check_part(c, "position")->in.v[t];
    if (position != NULL)
        mr_bound_rope(mr_check_part(c, "y")->want, mr_check_part(c, "x")->in, position, T,
                      c->plan.heads, c->plan.head_dim, &by, &c->a);
    mr_free(position);
}

static void swiglu_arrays(mr_check *c) {
    const idx T = c->plan.tokens, n = c->plan.width;
    mr_check_add(c, "gate", OF_SILU, IS_INPUT, T, n, NO_DIM);
    mr_check_add(c, "up", OF_UP, IS_INPUT, T, n, NO_DIM);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, T, n, NO_DIM);
}

static void swiglu_expect(mr_check *c) {
    mr_bound_swiglu(mr_check_part(c, "y")->want, mr_check_part(c, "gate")->in,
                    mr_check_part(c, "up")->in, c->plan.tokens * c->plan.width, &c->a);
}

static void embedding_arrays(mr_check *c) {
    const idx T = c->plan.tokens, d = c->plan.width, V = c->plan.vocab;
    mr_check_add(c, "tokens", OF_INDEX, IS_INPUT, T, NO_DIM, NO_DIM);
    mr_check_add(c, "table", OF_COPY, IS_INPUT, V, d, NO_DIM);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, T, d, NO_DIM);
}

/* The last row of the table, the first, then any. */
static void embedding_prepare(mr_check *c) {
    const double V = (double)c->plan.vocab;
    int32_t *tokens = mr_check_index(c, "tokens");
    for (idx t = 0; t < c->plan.tokens; t++)
        tokens[t] = t == 0 ? (int32_t)(V - 1) : t == 1 ? 0
                                              : (int32_t)(V * mr_check_uniform(c, 77, t));
}

static void embedding_expect(mr_check *c) {
    const idx d = c->plan.width;
    const part *tokens = mr_check_part(c, "tokens"), *table = mr_check_part(c, "table");
    mr_bounded y = mr_check_part(c, "y")->want;
    for (idx i = 0; i < c->plan.tokens * d; i++)
        y.v[i] = table->in.v[(idx)tokens->in.v[i / d] * d + i % d];
}

static void combine_arrays(mr_check *c) {
    const idx T = c->plan.tokens, K = c->plan.chosen, d = c->plan.width;
    if (K > 64) mr_fail(&c->err, MR_USAGE, "moe_combine: chosen %td, expected at most 64", K);
    mr_check_add(c, "out", OF_VALUE, IS_INPUT, T * K, d, NO_DIM);
    mr_check_add(c, "place", OF_INDEX, IS_INPUT, T, K, NO_DIM);
    mr_check_add(c, "weights", OF_SHARE, IS_INPUT, T, K, NO_DIM);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, T, d, NO_DIM);
}

/* A permutation of the rows, as sorting by expert makes one (Fisher and Yates). */
static void combine_prepare(mr_check *c) {
    const idx n = c->plan.tokens * c->plan.chosen;
    int32_t *place = mr_check_index(c, "place");
    for (idx i = 0; i < n; i++) {
        const idx j = (idx)((double)(i + 1) * mr_check_uniform(c, 77, i));
        place[i] = place[j];
        place[j] = (int32_t)i;
    }
}

static void combine_expect(mr_check *c) {
    const idx K = c->plan.chosen, d = c->plan.width;
    const part *out = mr_check_part(c, "out"), *place = mr_check_part(c, "place");
    mr_bounded rows[64];
    for (idx t = 0; t < c->plan.tokens; t++) {
        for (idx k = 0; k < K; k++)
            rows[k] = mr_bounded_at(out->in, (idx)place->in.v[t * K + k] * d);
        mr_bound_combine(mr_bounded_at(mr_check_part(c, "y")->want, t * d),
                         mr_bounded_at(mr_check_part(c, "weights")->in, t * K), rows, K, d, &c->a);
    }
}

const operation mr_check_simple[] = {
    {"rmsnorm", 0, rmsnorm_arrays, NULL, rmsnorm_expect},
    {"linear", INTEGERS, linear_arrays, NULL, linear_expect},
    {"rope", 0, rope_arrays, rope_prepare, rope_expect},
    {"swiglu", 0, swiglu_arrays, NULL, swiglu_expect},
    {"embedding", EVERY_FILL, embedding_arrays, embedding_prepare, embedding_expect},
    {"moe_combine", INTEGERS, combine_arrays, combine_prepare, combine_expect},
    {NULL, 0, NULL, NULL, NULL},
};
