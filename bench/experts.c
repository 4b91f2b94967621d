/* A token's time with 2, 4, ... experts of which it uses as many as ever: the first experts of one
 * model, in turn, against the fewest. Asserts nothing.
 *     experts MODEL... [--threads N] [--rounds N] [--json] */
#include <stdio.h>

#include "bench/measure.h"

enum { MOST = 8, STEPS = 32 };

/* Brings every page into memory, so that no token pays for it. */
static void touch(const mr_tensors *set) {
    volatile char last = 0;
    for (idx i = 0; i < set->count; i++) {
        const mr_tensor *t = &set->tensor[i];
        const idx bytes = mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype);
        for (idx at = 0; at < bytes; at += 4096) last = ((const char *)t->data)[at];
    }
    (void)last;
}

static void measure(const mr_bench *b, const char *folder) {
    mr_checkpoint c;
    mr_err err = {0};
    mr_model model[MOST];
    mr_run *run[MOST];
    mr_rounds ratio[MOST] = {{.count = 0}};
    int points = 0;
    mr_bench_open(folder, &c);
    touch(&c.tensors);
    const idx E = c.model.config.n_experts, L = c.model.config.n_layers;
    for (idx e = c.model.config.n_experts_per_tok; e > 0 && e <= E && points < MOST; e *= 2) {
        mr_model *m = &model[points];
        *m = c.model;
        m->config.n_experts = e;
        m->layers = mr_alloc(L, sizeof *m->layers, &err);
        if (err.code) mr_bench_stop(&err);
        for (idx l = 0; l < L; l++) {
            m->layers[l] = c.model.layers[l];
            m->layers[l].gate.rows = e;
        }
        run[points] = mr_bench_run(m, MR_PLAIN_ENGINE, STEPS * (b->rounds + 1), 1, true);
        points++;
    }
    for (int r = 0; r <= b->rounds; r++) {
        mr_rounds seconds[MOST] = {{.count = 0}};
        for (int s = 0; s < STEPS; s++)
            for (int p = 0; p < points; p++) {
                const double start = mr_now();
                mr_bench_feed(run[p], &model[p], 1);
                mr_rounds_add(&seconds[p], mr_now() - start);
            }
        for (int p = 0; p < points && r > 0; p++)   /* the first round warms up */
            mr_rounds_add(&ratio[p], mr_rounds_median(&seconds[p]) / mr_rounds_median(&seconds[0]));
    }
    for (int p = 0; p < points; p++) {
        printf(b->json ? "{\"bench\": \"experts\", \"model\": \"%s\", \"threads\": %d, "
                         "\"experts\": %td" : "experts, %s, %d threads, %td experts:",
               mr_bench_name(folder), b->threads, model[p].config.n_experts);
        mr_rounds_print("of the fewest", &ratio[p], b->json);
        puts(b->json ? "}" : "");
        mr_run_close(run[p]);
        mr_free(model[p].layers);
    }
    mr_checkpoint_close(&c);
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv,
                                  "experts MODEL... [--threads N] [--rounds N] [--json]");
    for (int i = 0; i < b.count; i++) measure(&b, b.rest[i]);
    return MR_OK;
}
