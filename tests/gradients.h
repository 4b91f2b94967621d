/* A tiny model with room for its gradients, and the loss that the tests of backward share. */
#ifndef MR_TESTS_GRADIENTS_H
#define MR_TESTS_GRADIENTS_H

#include "tests/tiny.h"

/* Weights and gradients are flat arrays in the same order. */
typedef struct {
    mr_model model, gradients;
    double  *weights;
    void    *slopes;
    idx      count;
    mr_dtype dtype;   /* of the gradients */
} trainee;

static inline void trainee_open(trainee *t, const mr_config *c, mr_precision precision) {
    mr_err err = {0};
    tiny formula;
    tiny_open(&formula, c);
    t->count = mr_params_count(&formula.model);
    t->dtype = precision == MR_F64_RUN ? MR_F64 : MR_F32;
    t->weights = mr_alloc(t->count, sizeof *t->weights, NULL);
    t->slopes = mr_alloc(t->count, mr_dtype_size(t->dtype), NULL);
    if (mr_params_like(&t->model, &formula.model, MR_F64, t->weights, &err) ||
        mr_params_like(&t->gradients, &formula.model, t->dtype, t->slopes, &err))
        fail_msg("%s", err.text);
    mr_params_copy(&t->model, &formula.model);
    tiny_close(&formula);
}

static inline void trainee_close(trainee *t) {
    mr_params_free(&t->gradients);
    mr_params_free(&t->model);
    mr_free(t->slopes);
    mr_free(t->weights);
}

static inline mr_run *train_run(const trainee *t, mr_run_options o, const idx *length,
                                idx n_seqs) {
    mr_err err = {0};
    mr_run *run;
    idx total = 0;
    for (idx b = 0; b < n_seqs; b++) total += length[b];
    o.train = true, o.n_seqs = n_seqs, o.capacity = length, o.max_tokens = total;
    if (mr_run_open(&t->model, &o, &run, &err)) fail_msg("%s", err.text);
    return run;
}

/* How much row t counts, so that none is like another. */
static inline double row_weight(idx t) { return 0.3 + 0.1 * (double)t; }

/* L = -sum_t w_t log p(the token 3 rows on, cyclic) of the rows [first, first+rows), or of a reward
 * model sum_t w_t z_t; their derivative is handed over when `back`. */
static inline double row_losses(mr_run *run, const mr_model *m, const int32_t *tokens, idx first,
                                idx rows, bool back) {
    double loss = 0, scores[11];
    for (idx r = 0; r < rows; r++) {
        const double w = row_weight(first + r);
        const int32_t target = tokens[(first + r + 3) % 7];
        if (m->config.n_labels > 0) {
            mr_run_logits(run, r, scores);
            loss += w * scores[m->config.n_labels - 1];
            if (back) mr_run_logit_backward(run, r, m->config.n_labels - 1, w);
        } else {
            loss -= w * mr_run_log_probability(run, r, target);
            if (back) mr_run_log_probability_backward(run, r, target, -w);
        }
    }
    return loss;
}

/* One call: loss, router losses included, and gradients when `back`. */
static inline double train_step(trainee *t, mr_run *run, const int32_t *tokens, idx first,
                                const idx *length, bool back) {
    mr_err err = {0};
    tiny_forward(run, tokens + first, length);
    const double loss = row_losses(run, &t->model, tokens, first, mr_run_rows(run), back) +
                        mr_run_router_loss(run);
    if (back && mr_run_backward(run, &t->gradients, &err)) fail_msg("%s", err.text);
    return loss;
}

#endif
