/* The feed-forward half of a layer: one SwiGLU block, or the router and its chosen experts. */
#include "ref/real.h"
#include "ref/state.h"

#define KEEP(field) FN(keep)(run, FN(T_##field), l, T, run->field)
#define SLOPE(field) FN(show_slope)(run, FN(T_##field), l, -1, T, run->d.field)

static void project(FN(run) *run, real *y, const real *x, const mr_matrix *W, idx n) {
    FN(linear)(y, x, W, n, run->model->config.storage, run->options.engine, run->scratch);
}

/* A dense layer, (F1) w2 ( silu(w1 x) * (w3 x) ), every step shown */
static void dense(FN(run) *run, idx l) {
    const mr_ffn *w = run->model->layers[l].ffn;
    const mr_config *c = &run->model->config;
    const idx T = run->T;
    project(run, run->w1, run->ffn_norm, &w->w1, T);                          KEEP(w1);
    project(run, run->w3, run->ffn_norm, &w->w3, T);                          KEEP(w3);
    FN(swiglu)(run->act, run->w1, run->w3, T * c->hidden_dim, c->storage,
               run->options.engine);                                          KEEP(act);
    project(run, run->ffn_out, run->act, &w->w2, T);
}

/* One expert, (F1), for n rows of expert_in, into rows [start, start+n) of expert_out; rounded at
 * the same points */
static void expert(FN(run) *run, const mr_ffn *w, idx start, idx n) {
    const mr_config *c = &run->model->config;
    const idx hidden = n * c->hidden_dim, at = run->options.train ? start * c->hidden_dim : 0;
    real *w1 = run->w1 + at, *w3 = run->w3 + at, *act = run->act + at;
    real *out = run->expert_out + start * c->dim;
    project(run, w1, run->expert_in, &w->w1, n);
    FN(round_all)(w1, hidden, c->storage);
    project(run, w3, run->expert_in, &w->w3, n);
    FN(round_all)(w3, hidden, c->storage);
    FN(swiglu)(act, w1, w3, hidden, c->storage, run->options.engine);
    FN(round_all)(act, hidden, c->storage);
    project(run, out, act, &w->w2, n);
    FN(round_all)(out, n * c->dim, c->storage);
}

/* All rows of one expert at once, expert by expert. One without rows is passed by: of many experts
 * a token uses few, and even empty loops take time. */
static void grouped(FN(run) *run, const mr_layer *w) {
    const mr_config *c = &run->model->config;
    for (idx e = 0; e < c->n_experts; e++) {
        const idx start = run->bin[e], n = run->bin[e + 1] - start;
        if (n == 0) continue;
        FN(moe_gather)(run->expert_in, run->ffn_norm, run->copy + start, n, c->n_experts_per_tok,
                       c->dim);
        expert(run, &w->ffn[e], start, n);
    }
}

/* Token by token, slot by slot: one row at a time through its expert. */
static void naive(FN(run) *run, const mr_layer *w) {
    const mr_config *c = &run->model->config;
    for (idx n = 0; n < run->T * c->n_experts_per_tok; n++) {
        if (run->place[n] < 0) continue;
        FN(moe_gather)(run->expert_in, run->ffn_norm, &n, 1, c->n_experts_per_tok, c->dim);
        expert(run, &w->ffn[run->router_experts[n]], run->place[n], 1);
    }
}

/* (M4) of the present layer's choices */
static void dispatch(FN(run) *run) {
    const mr_config *c = &run->model->config;
    const idx T = run->T, E = c->n_experts, K = c->n_experts_per_tok;
    mr_dispatch_sort(run->copy, run->place, run->bin, run->router_experts, T, E, K,
                     mr_capacity(c->capacity_factor, T, E, K), c->capacity_rank);
}

/* (M1)-(M4) router, dispatch, experts, weighted sum
 *                                                  Jiang et al. 2024, sec. 2.1; Gale et al. 2022 */
static void sparse(FN(run) *run, idx l) {
    const mr_layer *w = &run->model->layers[l];
    const mr_config *c = &run->model->config;
    const idx T = run->T, E = c->n_experts, K = c->n_experts_per_tok;
    project(run, run->router_logits, run->ffn_norm, &w->gate, T);             KEEP(router_logits);
    FN(router)(run->router_experts, run->router_weights, run->router_logits, T, E, K,
               c->router_order);
    FN(show)(run, FN(T_router_experts), l, -1, T, run->router_experts);
    if (!c->router_weights_wide) FN(round_all)(run->router_weights, T * K, c->storage);
    FN(show)(run, FN(T_router_weights), l, -1, T, run->router_weights);
    dispatch(run);
    if (run->options.dispatch == MR_DISPATCH_GROUPED) grouped(run, w);
    else                                              naive(run, w);
    for (idx e = 0; e < E; e++)
        FN(show)(run, FN(T_expert_out), l, e, run->bin[e + 1] - run->bin[e],
                 run->expert_out + run->bin[e] * c->dim);
    FN(moe_combine)(run->ffn_out, run->expert_out, run->place, run->router_experts,
                    run->router_weights, T, K, c->dim, c->expert_order, c->storage);
}

void FN(ffn)(FN(run) *run, idx l) {
    if (run->model->config.n_experts > 0) sparse(run, l);
    else                                  dense(run, l);
}

/* ---- backward -------------------------------------------------------------------------------- */

void FN(clear)(real *x, idx n) {
    PARALLEL_FOR(n)
    for (idx i = 0; i < n; i++) x[i] = 0;
}

void FN(project_backward)(FN(run) *run, real *dx, const mr_matrix *dW, const real *dy,
                          const real *x, const mr_matrix *W, idx n, bool add) {
    if (!add) FN(clear)(dx, n * W->cols);
    FN(linear_backward)(dx, dy, W, n, run->options.engine, run->scratch);
    FN(linear_weight_backward)(dW, dy, x, n, run->options.engine);
}

/* A dense layer: d.ffn_out to d.ffn_norm */
static void dense_backward(FN(run) *run, idx l, const mr_ffn *g) {
    const mr_ffn *w = run->model->layers[l].ffn;
    const idx T = run->T, hidden = T * run->model->config.hidden_dim;
    const FN(buffers) *d = &run->d;
    FN(project_backward)(run, d->act, &g->w2, d->ffn_out, run->act, &w->w2, T, false);
    SLOPE(act);
    FN(swiglu_backward)(d->w1, d->w3, d->act, run->w1, run->w3, hidden,
                        run->options.engine);
    SLOPE(w3);
    FN(project_backward)(run, d->ffn_norm, &g->w3, d->w3, run->ffn_norm, &w->w3, T, false);
    SLOPE(w1);
    FN(project_backward)(run, d->ffn_norm, &g->w1, d->w1, run->ffn_norm, &w->w1, T, true);
}

/* One expert for the n rows of expert_in: rows [start, start+n) of d.expert_out become the
 * derivatives by its input. */
static void expert_backward(FN(run) *run, const mr_ffn *w, const mr_ffn *g, idx start, idx n) {
    const mr_config *c = &run->model->config;
    const idx at = start * c->hidden_dim;
    const FN(buffers) *d = &run->d;
    const real *x = run->expert_in;
    real *rows = d->expert_out + start * c->dim;
    FN(project_backward)(run, d->act, &g->w2, rows, run->act + at, &w->w2, n, false);
    FN(swiglu_backward)(d->w1, d->w3, d->act, run->w1 + at, run->w3 + at, n * c->hidden_dim,
                        run->options.engine);
    FN(project_backward)(run, rows, &g->w3, d->w3, x, &w->w3, n, false);
    FN(project_backward)(run, rows, &g->w1, d->w1, x, &w->w1, n, true);
}

static void grouped_backward(FN(run) *run, const mr_layer *w, const mr_layer *g) {
    const mr_config *c = &run->model->config;
    for (idx e = 0; e < c->n_experts; e++) {
        const idx start = run->bin[e], n = run->bin[e + 1] - start;
        if (n == 0) continue;
        FN(moe_gather)(run->expert_in, run->ffn_norm, run->copy + start, n, c->n_experts_per_tok,
                       c->dim);
        expert_backward(run, &w->ffn[e], &g->ffn[e], start, n);
    }
}

static void naive_backward(FN(run) *run, const mr_layer *w, const mr_layer *g) {
    const mr_config *c = &run->model->config;
    for (idx n = 0; n < run->T * c->n_experts_per_tok; n++) {
        const idx e = run->router_experts[n];
        if (run->place[n] < 0) continue;
        FN(moe_gather)(run->expert_in, run->ffn_norm, &n, 1, c->n_experts_per_tok, c->dim);
        expert_backward(run, &w->ffn[e], &g->ffn[e], run->place[n], 1);
    }
}

/* Weighted sum, experts, gather, router: d.ffn_out to d.ffn_norm. The dispatch is formed again. */
static void sparse_backward(FN(run) *run, idx l, const mr_layer *g) {
    const mr_layer *w = &run->model->layers[l];
    const mr_config *c = &run->model->config;
    const idx T = run->T, E = c->n_experts, K = c->n_experts_per_tok;
    const FN(buffers) *d = &run->d;
    dispatch(run);
    FN(moe_combine_backward)(d->expert_out, d->router_weights, d->ffn_out, run->expert_out,
                             run->place, run->router_weights, T, K, c->dim);
    for (idx e = 0; e < E; e++)
        FN(show_slope)(run, FN(T_expert_out), l, e, run->bin[e + 1] - run->bin[e],
                       d->expert_out + run->bin[e] * c->dim);
    SLOPE(router_weights);
    FN(router_backward)(d->router_logits, d->router_weights, run->router_weights,
                        run->router_experts, T, E, K);
    FN(router_losses_backward)(run);
    SLOPE(router_logits);
    if (run->options.dispatch == MR_DISPATCH_GROUPED) grouped_backward(run, w, g);
    else                                              naive_backward(run, w, g);
    FN(project_backward)(run, d->ffn_norm, &g->gate, d->router_logits, run->ffn_norm, &w->gate, T,
                         false);
    FN(moe_gather_backward)(d->ffn_norm, d->expert_out, run->place, run->router_experts, T, K,
                            c->dim, c->expert_order);
}

void FN(ffn_backward)(FN(run) *run, idx l, const mr_layer *g) {
    if (run->model->config.n_experts > 0) sparse_backward(run, l, g);
    else                                  dense_backward(run, l, g->ffn);
}
