/* One layer: attention, then the feed-forward half, each around a residual connection. */
#include "ref/real.h"
#include "ref/state.h"

#include <math.h>

#include "ref/mask.h"

#define KEEP(field) FN(keep)(run, FN(T_##field), l, T, run->field)

/* y = W x for the tokens of this call; rounding follows at KEEP */
static void project(FN(run) *run, real *y, const real *x, const mr_matrix *W) {
    FN(linear)(y, x, W, run->T, run->model->config.storage, run->options.engine, run->scratch);
}

/* (B1), (B2) y = a + b       y may be a or b */
static void add(real *y, const real *a, const real *b, idx n) {
    for (idx i = 0; i < n; i++) y[i] = a[i] + b[i];
}

/* Fills what no key will touch, so that a trace shows every column: -inf scores, zero
 * probabilities. */
static void clear_scores(FN(run) *run) {
    const idx n = run->model->config.n_heads * run->T * run->columns;
    for (idx i = 0; i < n; i++) {
        run->scores[i] = -(real)INFINITY;
        run->probs[i] = 0;
    }
}

/* (A2) of one query head for all new tokens of sequence b, whose first row among the call's tokens
 * is t0 */
static void attend_head(FN(run) *run, idx l, idx h, idx b, idx t0, bool all) {
    const mr_config *c = &run->model->config;
    const idx H = c->n_heads, G = c->n_kv_heads, D = c->head_dim, seen = run->face.seen[b];
    const idx ring = b * run->slots[l] * G * D, group = h / (H / G);
    const FN(keys) keys = {run->ring_k[l] + ring, run->ring_v[l] + ring, run->k_rope + t0 * G * D,
                           run->v + t0 * G * D, run->slots[l], seen, FN(slot_origin)(run, l, b)};
    for (idx a = 0; a < run->length[b]; a++) {
        const idx t = t0 + a;
        idx from, to;
        mr_mask_range(c->window_rule, mr_config_window(c, l), seen + a, seen + run->length[b],
                      &from, &to);
        const idx cell = (h * run->T + t) * run->columns + run->column[b] + from;
        real *scores = all ? run->scores + cell : run->row + h * run->longest;
        real *probs = all ? run->probs + cell : scores;
        FN(attention_row)(run->attention + (t * H + h) * D, scores, probs,
                          run->q_rope + (t * H + h) * D, &keys, group, from, to, G, D, c->storage,
                          c->attention_rounding);
    }
}

/* (A2) for every head and sequence; then (C1): the ring is written only after its old keys were
 * used */
static void attend(FN(run) *run, idx l) {
    const mr_config *c = &run->model->config;
    const idx H = c->n_heads, width = c->n_kv_heads * c->head_dim, T = run->T;
    const bool all = FN(wanted)(run, FN(T_scores), l, -1, T) ||
                     FN(wanted)(run, FN(T_probs), l, -1, T);
    if (all) clear_scores(run);
    PARALLEL_FOR(H * T * c->head_dim * 2 * run->longest)
    for (idx h = 0; h < H; h++)
        for (idx b = 0, t0 = 0; b < run->options.n_seqs; t0 += run->length[b], b++)
            attend_head(run, l, h, b, t0, all);
    for (idx b = 0, t0 = 0; b < run->options.n_seqs; t0 += run->length[b], b++) {
        const idx ring = b * run->slots[l] * width;
        FN(cache_write)(run->ring_k[l] + ring, run->ring_v[l] + ring, run->k_rope + t0 * width,
                        run->v + t0 * width, run->length[b], FN(slot_origin)(run, l,
                        b) + run->face.seen[b], run->slots[l], width);
    }
    if (all) {
        FN(show)(run, FN(T_scores), l, -1, T, run->scores);
        FN(show)(run, FN(T_probs), l, -1, T, run->probs);
    }
}

/* q and k: project, bring to the configured rotary layout, rotate */
static void project_rotate(FN(run) *run, idx l) {
    const mr_config *c = &run->model->config;
    const mr_layer *w = &run->model->layers[l];
    const idx T = run->T, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    project(run, run->q, run->attention_norm, &w->wq);                      /* q = wq a */
    FN(rope_relayout)(run->q, T, H, D, run->model->qk_rows, c->rope_layout);KEEP(q);
    project(run, run->k, run->attention_norm, &w->wk);                      /* k = wk a */
    FN(rope_relayout)(run->k, T, G, D, run->model->qk_rows, c->rope_layout);KEEP(k);
    project(run, run->v, run->attention_norm, &w->wv);                      KEEP(v);
    FN(rope)(run->q_rope, run->q, run->cos_, run->sin_, T, H, D, c->rope_layout, c->storage,
             c->convention);                                                KEEP(q_rope);
    FN(rope)(run->k_rope, run->k, run->cos_, run->sin_, T, G, D, c->rope_layout, c->storage,
             c->convention);                                                KEEP(k_rope);
}

/* (B1) h_mid = x + wo Attention(RMSNorm(x))       (B2) h = h_mid + FFN(RMSNorm(h_mid))
 *                                           mistral-src one_file_ref.py, TransformerBlock.forward
 * x: [T,d], may be run->h */
void FN(block)(FN(run) *run, idx l, const real *x) {
    const mr_config *c = &run->model->config;
    const mr_layer *w = &run->model->layers[l];
    const idx T = run->T, n = T * c->dim;
    const double eps = c->norm_eps;
    const mr_storage s = c->storage;
    FN(rmsnorm)(run->attention_norm, x, &w->attention_norm, T, eps, s);     KEEP(attention_norm);
    project_rotate(run, l);
    attend(run, l);                                                         KEEP(attention);
    project(run, run->attention_out, run->attention, &w->wo);               KEEP(attention_out);
    add(run->h_mid, x, run->attention_out, n);                              KEEP(h_mid);
    FN(rmsnorm)(run->ffn_norm, run->h_mid, &w->ffn_norm, T, eps, s);        KEEP(ffn_norm);
    FN(ffn)(run, l);                                                        KEEP(ffn_out);
    add(run->h, run->h_mid, run->ffn_out, n);                               KEEP(h);
}
