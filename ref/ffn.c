/* The feed-forward half of a layer: one SwiGLU block, or the router and its chosen experts. */
#include "ref/real.h"
#include "ref/state.h"

#include <string.h>

#define KEEP(field) FN(keep)(run, FN(T_##field), l, T, run->field)

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
    FN(swiglu)(run->act, run->w1, run->w3, T * c->hidden_dim, c->storage);    KEEP(act);
    project(run, run->ffn_out, run->act, &w->w2, T);
}

/* One expert, (F1), for n rows of expert_in, into out [n,d]; rounded at the same points */
static void expert(FN(run) *run, real *out, const mr_ffn *w, idx n) {
    const mr_config *c = &run->model->config;
    const idx hidden = n * c->hidden_dim;
    project(run, run->w1, run->expert_in, &w->w1, n);
    FN(round_all)(run->w1, hidden, c->storage);
    project(run, run->w3, run->expert_in, &w->w3, n);
    FN(round_all)(run->w3, hidden, c->storage);
    FN(swiglu)(run->act, run->w1, run->w3, hidden, c->storage);
    FN(round_all)(run->act, hidden, c->storage);
    project(run, out, run->act, &w->w2, n);
    FN(round_all)(out, n * c->dim, c->storage);
}

/* All rows of one expert at once, expert by expert. */
static void grouped(FN(run) *run, const mr_layer *w) {
    const mr_config *c = &run->model->config;
    for (idx e = 0; e < c->n_experts; e++) {
        const idx start = run->bin[e], n = run->bin[e + 1] - start;
        FN(moe_gather)(run->expert_in, run->ffn_norm, run->copy + start, n, c->n_experts_per_tok,
                       c->dim);
        expert(run, run->expert_out + start * c->dim, &w->ffn[e], n);
    }
}

/* Token by token, slot by slot: one row at a time through its expert. */
static void naive(FN(run) *run, const mr_layer *w) {
    const mr_config *c = &run->model->config;
    for (idx n = 0; n < run->T * c->n_experts_per_tok; n++) {
        if (run->place[n] < 0) continue;
        FN(moe_gather)(run->expert_in, run->ffn_norm, &n, 1, c->n_experts_per_tok, c->dim);
        expert(run, run->expert_out + run->place[n] * c->dim, &w->ffn[run->router_experts[n]], 1);
    }
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
    mr_dispatch_sort(run->copy, run->place, run->bin, run->router_experts, T, E, K,
                     mr_capacity(c->capacity_factor, T, E, K), c->capacity_rank);
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
