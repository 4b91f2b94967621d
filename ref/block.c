/* One layer: attention, then the feed-forward half, each around a residual connection. */
#include "ref/real.h"
#include "ref/state.h"

#include <math.h>

#include "ref/mask.h"

#define KEEP(field) FN(keep)(run, FN(T_##field), l, T, run->field)
#define SLOPE(field) FN(show_slope)(run, FN(T_##field), l, -1, T, run->d.field)

/* y = W x for the tokens of this call; rounding follows at KEEP */
static void project(FN(run) *run, real *y, const real *x, const mr_matrix *W) {
    FN(linear)(y, x, W, run->T, run->model->config.storage, run->options.engine, run->scratch);
}

/* (B1), (B2) y = a + b       y may be a or b */
static void add(real *y, const real *a, const real *b, idx n) {
    PARALLEL_FOR(n)
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

#ifdef MR_BLAS
/* Whether BLAS takes n queries in blocks: enough of them, and nothing to be rounded inside. */
static bool in_blocks(const FN(run) *run, idx n) {
    const mr_config *c = &run->model->config;
    return run->options.engine == MR_BLAS_ENGINE && n >= MR_BLAS_TOKENS &&
           (c->storage == MR_STORE_WIDE || c->attention_rounding == MR_ATTENTION_FUSED);
}
#endif

/* (A2) of one query head for all new tokens of sequence b, whose first row among the call's tokens
 * is t0 */
static void attend_head(FN(run) *run, idx l, idx h, idx b, idx t0, bool all) {
    const mr_config *c = &run->model->config;
    const idx H = c->n_heads, G = c->n_kv_heads, D = c->head_dim, seen = run->face.seen[b];
    const idx ring = b * run->slots[l] * G * D, group = h / (H / G);
    const FN(keys) keys = {run->ring_k[l] + ring, run->ring_v[l] + ring, run->k_rope + t0 * G * D,
                           run->v + t0 * G * D, run->slots[l], seen, FN(slot_origin)(run, l, b)};
    const idx window = mr_config_window(c, l), n = run->length[b];
    const idx corner = all ? (h * run->T + t0) * run->columns + run->column[b] : 0;
#ifdef MR_BLAS
    if (in_blocks(run, n)) {
        real *room = run->row + h * run->row_room;
        FN(attention_blocks)(run->attention + t0 * H * D, all ? run->scores + corner : room,
                             all ? run->probs + corner : room, all ? run->columns : 0,
                             run->q_rope + t0 * H * D, &keys, c->window_rule, window, n, h, H, G,
                             D);
        return;
    }
#endif
    for (idx a = 0; a < n; a++) {
        const idx t = t0 + a;
        idx from, to;
        mr_mask_range(c->window_rule, window, seen + a, seen + n, &from, &to);
        const idx cell = all ? corner + a * run->columns + from : 0;
        real *scores = all ? run->scores + cell : run->row + h * run->row_room;
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
    PARALLEL_FOR(H * T * c->head_dim * 2 * run->row_keys)
    for (idx h = 0; h < H; h++)
        for (idx b = 0, t0 = 0; b < run->options.n_seqs; t0 += run->length[b], b++)
            attend_head(run, l, h, b, t0, all);
    for (idx b = 0, t0 = 0; b < run->options.n_seqs && !run->options.train;
         t0 += run->length[b], b++) {
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

/* ---- backward -------------------------------------------------------------------------------- */

/* (A2') of all query heads of kv head g for the tokens of sequence b, heads and rows ascending;
 * into d.scores and d.probs when a tap wants them all */
static void attend_head_backward(FN(run) *run, idx l, idx g, idx b, bool all) {
    const mr_config *c = &run->model->config;
    const idx H = c->n_heads, G = c->n_kv_heads, D = c->head_dim, n = run->length[b];
    const idx window = mr_config_window(c, l);
    idx t0 = 0;
    for (idx before = 0; before < b; before++) t0 += run->length[before];
    const idx first = t0 * G * D;
    const idx slice = (g * run->options.max_tokens + t0) * run->row_queries;
    const FN(keys) keys = {NULL, NULL, run->k_rope + first, run->v + first, 0, 0, 0};
    for (idx h = g * (H / G); h < (g + 1) * (H / G); h++) {
        const idx corner = all ? (h * run->T + t0) * run->columns + run->column[b] : 0;
#ifdef MR_BLAS
        if (in_blocks(run, n)) {
            const idx token = t0 * H * D;
            FN(attention_blocks_backward)(run->d.q_rope + token, run->d.k_rope + first,
                                          run->d.v + first,
                                          all ? run->d.scores + corner : run->row_slopes + slice,
                                          all ? run->d.probs + corner : run->row_slopes + slice,
                                          all ? run->columns : 0, run->row_probs + slice,
                                          run->d.attention + token, run->attention + token,
                                          run->q_rope + token, &keys, c->window_rule, window, n,
                                          h, H, G, D);
            continue;
        }
#endif
        for (idx a = 0; a < n; a++) {
            const idx at = ((t0 + a) * H + h) * D;
            idx from, to;
            mr_mask_range(c->window_rule, window, a, n, &from, &to);
            const idx cell = all ? corner + a * run->columns + from : 0;
            FN(attention_row_backward)(run->d.q_rope + at, run->d.k_rope + first, run->d.v + first,
                                       all ? run->d.scores + cell : run->row_slopes + slice,
                                       all ? run->d.probs + cell : run->row_slopes + slice,
                                       run->row_probs + slice, run->d.attention + at,
                                       run->attention + at, run->q_rope + at, &keys, g, from, to,
                                       G, D);
        }
    }
}

/* d.attention to d.q_rope, d.k_rope, d.v: kv heads and sequences share nothing */
static void attend_backward(FN(run) *run, idx l) {
    const mr_config *c = &run->model->config;
    const idx H = c->n_heads, G = c->n_kv_heads, T = run->T, width = G * c->head_dim;
    const bool all = FN(slope_wanted)(run, FN(T_scores), l, T) ||
                     FN(slope_wanted)(run, FN(T_probs), l, T);
    if (all) {
        FN(clear)(run->d.scores, H * T * run->columns);
        FN(clear)(run->d.probs, H * T * run->columns);
    }
    FN(clear)(run->d.k_rope, T * width);
    FN(clear)(run->d.v, T * width);
    PARALLEL_FOR(H * T * c->head_dim * 4 * run->row_keys)
    for (idx n = 0; n < run->options.n_seqs * G; n++)
        attend_head_backward(run, l, n % G, n / G, all);
    if (all) {
        SLOPE(probs);
        SLOPE(scores);
    }
}

/* d.q_rope, d.k_rope, d.v to d.attention_norm; the rows of wq and wk keep the file's order */
static void project_rotate_backward(FN(run) *run, idx l, const mr_layer *g) {
    const mr_config *c = &run->model->config;
    const mr_layer *w = &run->model->layers[l];
    const idx T = run->T, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const FN(buffers) *d = &run->d;
    const real *x = run->attention_norm;
    SLOPE(q_rope);
    FN(rope_backward)(d->q, d->q_rope, run->cos_, run->sin_, T, H, D, c->rope_layout);
    SLOPE(q);
    SLOPE(k_rope);
    FN(rope_backward)(d->k, d->k_rope, run->cos_, run->sin_, T, G, D, c->rope_layout);
    SLOPE(k);
    SLOPE(v);
    FN(rope_relayout)(d->q, T, H, D, c->rope_layout, run->model->qk_rows);
    FN(rope_relayout)(d->k, T, G, D, c->rope_layout, run->model->qk_rows);
    FN(project_backward)(run, d->attention_norm, &g->wq, d->q, x, &w->wq, T, false);
    FN(project_backward)(run, d->attention_norm, &g->wk, d->k, x, &w->wk, T, true);
    FN(project_backward)(run, d->attention_norm, &g->wv, d->v, x, &w->wv, T, true);
}

/* (B2') dh_mid = dh + RMSNorm'( FFN'(dh) );   (B1') dx = dh_mid + RMSNorm'( Attention'(dh_mid) )
 *              a residual connection hands its derivative to both branches; d.h is carried along */
void FN(block_backward)(FN(run) *run, idx l, const real *x, const mr_layer *g) {
    const mr_layer *w = &run->model->layers[l];
    const idx T = run->T;
    const double eps = run->model->config.norm_eps;
    const FN(buffers) *d = &run->d;
    SLOPE(h);
    SLOPE(ffn_out);
    FN(ffn_backward)(run, l, g);
    SLOPE(ffn_norm);
    FN(rmsnorm_backward)(d->h, &g->ffn_norm, d->ffn_norm, run->h_mid, &w->ffn_norm, T, eps);
    SLOPE(h_mid);
    SLOPE(attention_out);
    FN(project_backward)(run, d->attention, &g->wo, d->attention_out, run->attention, &w->wo, T,
                         false);
    SLOPE(attention);
    attend_backward(run, l);
    project_rotate_backward(run, l, g);
    SLOPE(attention_norm);
    FN(rmsnorm_backward)(d->h, &g->attention_norm, d->attention_norm, x, &w->attention_norm, T,
                         eps);
}
