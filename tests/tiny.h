/* The tiny model of the tests: weights are the formula 0.35 sin(0.7 t + 1.3 r + 0.41 c + 0.05 r c)
 * of row r, column c and tensor number t, so that anybody can rebuild it in any language; gains are
 * 1 + 0.1 cos(t + c). */
#ifndef MR_TESTS_TINY_H
#define MR_TESTS_TINY_H

#include <math.h>
#include <string.h>

#include "ref/mr.h"
#include "tests/check.h"

typedef struct {
    mr_model model;
    double  *weights;   /* all of them, one tensor after the other */
    idx      used;
} tiny;

/* Seven tokens, and a model in which no two sizes agree that could be mixed up: heads * head_dim =
 * 16, dim = 8. */
static const int32_t tiny_tokens[] = {1, 5, 3, 7, 2, 9, 4};

static inline mr_config tiny_config(void) {
    const mr_config c = {.dim = 8, .n_layers = 2, .head_dim = 4, .hidden_dim = 12, .n_heads = 4,
                         .n_kv_heads = 2, .vocab_size = 11, .norm_eps = 1e-5, .rope_theta = 1e4,
                         .rope_angles = MR_ANGLES_EXACT, .bos_id = -1, .eos_id = -1};
    return c;
}

static inline mr_config tiny_sparse(idx K) {
    mr_config c = tiny_config();
    c.n_experts = 4, c.n_experts_per_tok = K;
    return c;
}

static inline mr_matrix tiny_matrix(tiny *t, idx id, idx rows, idx cols) {
    double *data = t->weights + t->used;
    for (idx r = 0; r < rows; r++)
        for (idx c = 0; c < cols; c++)
            data[r * cols + c] = 0.35 * sin(0.7 * (double)id + 1.3 * (double)r + 0.41 * (double)c +
                                            0.05 * (double)(r * c));
    t->used += rows * cols;
    return (mr_matrix){data, MR_F64, rows, cols, cols, 1};
}

static inline mr_matrix tiny_gain(tiny *t, idx id, idx d) {
    double *data = t->weights + t->used;
    for (idx c = 0; c < d; c++) data[c] = 1 + 0.1 * cos((double)(id + c));
    t->used += d;
    return (mr_matrix){data, MR_F64, 1, d, d, 1};
}

/* Weights to change by hand: those of a view. */
static inline double *tiny_data(tiny *t, const mr_matrix *m) {
    return t->weights + ((const double *)m->data - t->weights);
}

static inline mr_layer tiny_layer(tiny *t, const mr_config *c, idx l) {
    const idx d = c->dim, q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim,
              F = c->hidden_dim, b = 10 * (l + 1);
    const idx blocks = c->n_experts > 0 ? c->n_experts : 1;
    mr_layer w = {.attention_norm = tiny_gain(t, b, d),   .wq = tiny_matrix(t, b + 1, q, d),
                  .wk = tiny_matrix(t, b + 2, kv, d),     .wv = tiny_matrix(t, b + 3, kv, d),
                  .wo = tiny_matrix(t, b + 4, d, q),      .ffn_norm = tiny_gain(t, b + 5, d)};
    w.ffn = mr_alloc(blocks, sizeof *w.ffn, NULL);
    if (c->n_experts > 0) w.gate = tiny_matrix(t, b + 9, c->n_experts, d);
    for (idx e = 0; e < blocks; e++) {
        /* w1, w2, w3 are id + 1, 2, 3 */
        const idx id = c->n_experts > 0 ? 1000 * (l + 1) + 10 * e : b + 5;
        w.ffn[e] = (mr_ffn){.w1 = tiny_matrix(t, id + 1, F, d), .w2 = tiny_matrix(t, id + 2, d, F),
                            .w3 = tiny_matrix(t, id + 3, F, d)};
    }
    return w;
}

/* Builds the model; the number of weights must be what mr_config_sizes says. */
static inline void tiny_open(tiny *t, const mr_config *c) {
    const mr_sizes sizes = mr_config_sizes(c);
    mr_err err = {0};
    if (mr_config_check(c, "tiny", &err)) fail_msg("%s", err.text);
    memset(t, 0, sizeof *t);
    t->weights = mr_alloc((idx)sizes.total, sizeof *t->weights, NULL);
    t->model.config = *c;
    t->model.layers = mr_alloc(c->n_layers, sizeof *t->model.layers, NULL);
    t->model.tok_embeddings = tiny_matrix(t, 1, c->vocab_size, c->dim);
    t->model.norm = tiny_gain(t, 2, c->dim);
    t->model.output = c->tied_embeddings ? t->model.tok_embeddings
                                         : tiny_matrix(t, 3, c->n_labels > 0 ? c->n_labels
                                                                             : c->vocab_size,
                                                       c->dim);
    for (idx l = 0; l < c->n_layers; l++) t->model.layers[l] = tiny_layer(t, c, l);
    assert_true(t->used == (idx)sizes.total);
}

static inline void tiny_close(tiny *t) {
    for (idx l = 0; l < t->model.config.n_layers; l++) mr_free(t->model.layers[l].ffn);
    mr_free(t->model.layers);
    mr_free(t->weights);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static inline mr_run *tiny_run(const tiny *t, const mr_run_options *options) {
    mr_err err = {0};
    mr_run *run;
    if (mr_run_open(&t->model, options, &run, &err)) fail_msg("%s", err.text);
    return run;
}

static inline void tiny_forward(mr_run *run, const int32_t *tokens, const idx *length) {
    mr_err err = {0};
    if (mr_run_forward(run, tokens, length, &err)) fail_msg("%s", err.text);
}

/* A tap that keeps the elements of one tensor, one call after the other, as doubles. */
typedef struct {
    const char *name;
    idx         n;
    double      values[20000];
} tiny_trace;

static inline bool tiny_tap(void *user, const mr_tensor *t) {
    tiny_trace *trace = user;
    if (strcmp(t->name, trace->name) != 0) return false;
    if (t->data == NULL) return true;
    const idx n = mr_count(t->rank, t->dim);
    assert_true(trace->n + n <= (idx)(sizeof trace->values / sizeof *trace->values));
    for (idx i = 0; i < n; i++) {
        double *out = &trace->values[trace->n++];
        if (t->dtype == MR_F64) *out = ((const double *)t->data)[i];
        else if (t->dtype == MR_F32) *out = (double)((const float *)t->data)[i];
        else if (t->dtype == MR_I32) *out = ((const int32_t *)t->data)[i];
        else *out = ((const uint8_t *)t->data)[i];
    }
    return true;
}

/* One sequence, all at once: logits of every row, [T,V], and, when trace names one, a tensor. */
static inline void tiny_logits(const tiny *t, mr_run_options o, const int32_t *tokens, idx T,
                               double *logits, tiny_trace *trace) {
    o.n_seqs = 1, o.capacity = &T, o.max_tokens = T;
    if (trace != NULL) o.tap = tiny_tap, o.user = trace;
    mr_run *run = tiny_run(t, &o);
    tiny_forward(run, tokens, &T);
    for (idx row = 0; row < T && logits != NULL; row++)
        mr_run_logits(run, row, logits + row * t->model.config.vocab_size);
    mr_run_close(run);
}

#endif
