/* The backward pass operation by operation, each on the gradients and activations that the port
 * recorded. l: layer, -1 of the model. */
#include "golden/replay_backward.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/replay_round.h"
#include "golden/replay_state.h"

typedef struct {
    mr_walk    w;
    mr_bounded y, other, a, b, c;   /* room for the largest recorded tensor each */
} walk;

/* ---- what is recorded ------------------------------------------------------------------------ */

static void spell(char text[96], idx l, const char *prefix, const char *name) {
    if (l < 0) snprintf(text, 96, "%s%s", prefix, name);
    else snprintf(text, 96, "%slayers.%td.%s", prefix, l, name);
}

/* x takes PREFIX NAME, with what its file may have rounded. False: not recorded with n numbers. */
static bool take(walk *g, mr_bounded x, idx l, const char *prefix, const char *name, idx n) {
    char whole[96];
    spell(whole, l, prefix, name);
    const idx at = mr_trace_find(g->w.port, whole);
    const mr_tensor *t = at >= 0 ? mr_trace_tensor(g->w.port, at) : NULL;
    if (t == NULL || mr_count(t->rank, t->dim) != n ||
        mr_trace_read(g->w.port, at, g->w.recorded, g->w.err) != MR_OK) return false;
    const mr_recording file = mr_recording_of(name, t->dtype, g->w.a);
    for (idx i = 0; i < n; i++) {
        x.e[i] = x.s[i] = 0;
        mr_take_recorded(x, i, g->w.recorded[i], &file);
    }
    return true;
}

static bool slope(walk *g, mr_bounded x, idx l, const char *name, idx n) {
    return take(g, x, l, "grad.", name, n);
}

static bool value(walk *g, mr_bounded x, idx l, const char *name, idx n) {
    return take(g, x, l, "", name, n);
}

static void step(walk *g, idx l, const char *name, mr_bounded x, int rank, const idx *dim) {
    char whole[96];
    spell(whole, l, "grad.", name);
    mr_replay_step(&g->w, -1, whole, x, rank, dim);
}

/* Did the port record this gradient? One of another size is a fault, which needs no numbers. */
static bool wanted(walk *g, idx l, const char *name, int rank, const idx *dim) {
    char whole[96];
    spell(whole, l, "grad.", name);
    const idx at = mr_trace_find(g->w.port, whole);
    if (at < 0) return false;
    const mr_tensor *t = mr_trace_tensor(g->w.port, at);
    if (mr_count(t->rank, t->dim) == mr_count(rank, dim)) return true;
    step(g, l, name, g->y, rank, dim);
    return false;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* (V16) y += z, where `additions` follow in any order, each stored: every partial sum is at most
 * the sum of all sizes, and so each term counts in every rounding */
static void join(const walk *g, mr_bounded y, mr_bounded z, idx n, double additions) {
    const double rounding = additions * (g->w.a->store + g->w.a->sum);
    for (idx i = 0; i < n; i++) {
        const double size = fabs(y.v[i]) + y.e[i] + fabs(z.v[i]) + z.e[i];
        y.v[i] += z.v[i];
        y.e[i] += z.e[i] + rounding * size + additions * g->w.a->tiny;
        y.s[i] = fmin(y.e[i], hypot(y.s[i], z.s[i]) + rounding * size);
    }
}

/* (V3) for (L1') dx = W^T dy; `joined` terms where a fused product adds several of them at once */
static void transposed(walk *g, mr_bounded dx, mr_bounded dy, const mr_matrix *W, idx joined) {
    const mr_matrix turned = {W->data, W->dtype, W->cols, W->rows, W->col_stride, W->row_stride};
    mr_arithmetic a = *g->w.a;
    a.sum *= (double)joined / (double)W->rows;
    mr_bound_linear(dx, dy, &turned, g->w.T, &a, g->w.room);
}

/* One product: NAME from DY */
static void product(walk *g, idx l, const char *name, const char *dy, const mr_matrix *W, int rank,
                    const idx *dim) {
    if (W->data == NULL || !wanted(g, l, name, rank, dim) ||
        !slope(g, g->a, l, dy, g->w.T * W->rows)) return;
    transposed(g, g->y, g->a, W, W->rows);
    step(g, l, name, g->y, rank, dim);
}

/* (V13) for (L3): a matrix from the gradient of its output and its input */
static void weight(walk *g, idx l, const char *name, const char *dy, const char *x,
                   const mr_matrix *W) {
    const idx T = g->w.T, dim[] = {W->rows, W->cols};
    if (!wanted(g, l, name, 2, dim) || !slope(g, g->a, l, dy, T * dim[0]) ||
        !value(g, g->b, l, x, T * dim[1])) return;
    mr_bound_linear_weight(g->y, g->a, g->b, T, dim[0], dim[1], g->w.a);
    step(g, l, name, g->y, 2, dim);
}

/* A gradient that is handed on as it is. */
static void same(walk *g, idx l, const char *name, const char *from) {
    const idx dim[] = {g->w.T, g->w.c->dim}, n = mr_count(2, dim);
    if (!wanted(g, l, name, 2, dim) || !slope(g, g->y, l, from, n)) return;
    for (idx i = 0; i < n; i++) mr_stored(g->y, i, 1, g->w.a);
    step(g, l, name, g->y, 2, dim);
}

/* (V14) for (N1'): X of layer `lower` = RMSNorm'(DY) + what the residual hands on (NULL: nothing);
 * before it the gain's */
static void norm(walk *g, idx l, const char *dy, const mr_matrix *gain, const char *gain_name,
                 const char *residual, idx lower, const char *x) {
    const idx T = g->w.T, d = g->w.c->dim, n = T * d, row[] = {T, d};
    if (gain->data == NULL || !slope(g, g->a, l, dy, n) || !value(g, g->b, lower, x, n)) return;
    mr_bound_rmsnorm_backward(g->y, g->c, g->a, g->b, gain, T, g->w.c->norm_eps, g->w.a, g->w.room);
    if (wanted(g, l, gain_name, 1, &d)) step(g, l, gain_name, g->c, 1, &d);
    if (residual != NULL && !slope(g, g->other, l, residual, n)) return;
    if (residual != NULL) join(g, g->y, g->other, n, 1);
    if (wanted(g, lower, x, 2, row)) step(g, lower, x, g->y, 2, row);
}

/* ---- a layer --------------------------------------------------------------------------------- */

/* (V15) for (F1'), (V3) for its products: a dense layer */
static void dense(walk *g, idx l, const mr_ffn *f) {
    const idx T = g->w.T, d = g->w.c->dim, F = g->w.c->hidden_dim, n = T * F;
    const idx hidden[] = {T, F}, row[] = {T, d};
    product(g, l, "act", "ffn_out", &f->w2, 2, hidden);
    weight(g, l, "feed_forward.w2.weight", "ffn_out", "act", &f->w2);
    if (slope(g, g->a, l, "act", n) && value(g, g->b, l, "w1", n) && value(g, g->c, l, "w3", n)) {
        mr_bound_swiglu_backward(g->y, g->other, g->a, g->b, g->c, n, g->w.a);
        if (wanted(g, l, "w3", 2, hidden)) step(g, l, "w3", g->other, 2, hidden);
        if (wanted(g, l, "w1", 2, hidden)) step(g, l, "w1", g->y, 2, hidden);
    }
    weight(g, l, "feed_forward.w3.weight", "w3", "ffn_norm", &f->w3);
    weight(g, l, "feed_forward.w1.weight", "w1", "ffn_norm", &f->w1);
    if (f->w1.data == NULL || !wanted(g, l, "ffn_norm", 2, row) ||
        !slope(g, g->a, l, "w1", n) || !slope(g, g->b, l, "w3", n)) return;
    transposed(g, g->y, g->a, &f->w1, 2 * F);
    transposed(g, g->other, g->b, &f->w3, 2 * F);
    join(g, g->y, g->other, T * d, 1);
    step(g, l, "ffn_norm", g->y, 2, row);
}

/* (V4) for (R1'): back by the same angles, at -p */
static void turn_back(walk *g, idx l, const char *name, const char *from, idx heads) {
    const mr_config *c = g->w.c;
    const idx dim[] = {g->w.T, heads, c->head_dim};
    const mr_rotation by = {c->rope_theta, c->rope_angles, c->rope_layout, MR_STORE_WIDE, 0, 0};
    if (!wanted(g, l, name, 3, dim) || !slope(g, g->y, l, from, mr_count(3, dim))) return;
    mr_bound_rope(g->y, g->y, g->w.position_q, dim[0], heads, dim[2], &by, g->w.a);
    step(g, l, name, g->y, 3, dim);
}

static void relayout(mr_bounded x, idx T, idx heads, idx D, mr_rope_layout from,
                     mr_rope_layout to) {
    mr_rope_relayout_f64(x.v, T, heads, D, from, to);
    mr_rope_relayout_f64(x.e, T, heads, D, from, to);
    mr_rope_relayout_f64(x.s, T, heads, D, from, to);
}

/* Three products of one input, added in any order. */
static void projections(walk *g, idx l, const mr_layer *layer) {
    const mr_config *c = g->w.c;
    const idx T = g->w.T, D = c->head_dim, row[] = {T, c->dim};
    const idx joined = (c->n_heads + 2 * c->n_kv_heads) * D;
    const struct {
        const char      *name, *weight;
        const mr_matrix *W;
        idx              heads;
    } parts[] = {{"q", "attention.wq.weight", &layer->wq, c->n_heads},
                 {"k", "attention.wk.weight", &layer->wk, c->n_kv_heads},
                 {"v", "attention.wv.weight", &layer->wv, c->n_kv_heads}};
    for (int i = 0; i < 3; i++)
        weight(g, l, parts[i].weight, parts[i].name, "attention_norm", parts[i].W);
    if (!wanted(g, l, "attention_norm", 2, row)) return;
    for (int i = 0; i < 3; i++) {
        const idx heads = parts[i].heads;
        if (parts[i].W->data == NULL || !slope(g, g->a, l, parts[i].name, T * heads * D)) return;
        if (i < 2) relayout(g->a, T, heads, D, c->rope_layout, g->w.model->qk_rows);
        transposed(g, i == 0 ? g->y : g->other, g->a, parts[i].W, joined);
        if (i > 0) join(g, g->y, g->other, T * c->dim, 2);
    }
    step(g, l, "attention_norm", g->y, 2, row);
}

static void walk_layer(walk *g, idx l) {
    const mr_config *c = g->w.c;
    const mr_layer *layer = &g->w.model->layers[l];
    const idx heads[] = {g->w.T, c->n_heads, c->head_dim};
    same(g, l, "ffn_out", "h");
    if (c->n_experts == 0) dense(g, l, layer->ffn);
    else weight(g, l, "feed_forward.gate.weight", "router_logits", "ffn_norm", &layer->gate);
    norm(g, l, "ffn_norm", &layer->ffn_norm, "ffn_norm.weight", "h", l, "h_mid");
    same(g, l, "attention_out", "h_mid");
    product(g, l, "attention", "attention_out", &layer->wo, 3, heads);
    weight(g, l, "attention.wo.weight", "attention_out", "attention", &layer->wo);
    turn_back(g, l, "q", "q_rope", c->n_heads);
    turn_back(g, l, "k", "k_rope", c->n_kv_heads);
    projections(g, l, layer);
    norm(g, l, "attention_norm", &layer->attention_norm, "attention_norm.weight", "h_mid", l - 1,
         l > 0 ? "h" : "tok_embeddings");
}

/* ---- all ------------------------------------------------------------------------------------- */

static void walk_model(walk *g) {
    const mr_model *m = g->w.model;
    const mr_config *c = g->w.c;
    const idx T = g->w.T, row[] = {T, c->dim};
    product(g, -1, "norm", "logits", &m->output, 2, row);
    if (!c->tied_embeddings)
        weight(g, -1, c->n_labels > 0 ? "score.weight" : "output.weight", "logits", "norm",
               &m->output);
    char last[32];
    snprintf(last, sizeof last, "layers.%td.h", c->n_layers - 1);
    norm(g, -1, "norm", &m->norm, "norm.weight", NULL, -1, last);
    for (idx l = c->n_layers - 1; l >= 0 && g->w.err->code == MR_OK; l--) walk_layer(g, l);
}

static idx larger(idx a, idx b) { return a > b ? a : b; }

mr_status mr_verify_backward(const mr_model *model, const mr_meta *meta, mr_trace *port,
                             const mr_arithmetic *a, const mr_watch *watch, mr_verification *out,
                             mr_err *err) {
    const mr_config *c = &model->config;
    const idx widest = larger(larger(model->output.rows, c->hidden_dim),
                              larger(c->n_heads * c->head_dim, c->dim));
    const mr_fault none = {.config = *c};
    mr_err inner = {0};
    walk g = {.w = {.model = model, .c = &none.config, .fault = &none, .meta = meta, .port = port,
                    .a = a, .watch = watch, .out = out, .err = &inner, .T = meta->count}};
    if (!mr_trace_has(port, "grad.")) return MR_OK;
    const idx most = mr_trace_largest(port), faults = out->faults;
    double *pool = mr_alloc(16 * most + 2 * widest, sizeof *pool, &inner);
    g.w.position_q = mr_alloc(meta->count, sizeof *g.w.position_q, &inner);
    if (inner.code == MR_OK) {
        mr_bounded *const into[] = {&g.y, &g.other, &g.a, &g.b, &g.c};
        for (idx i = 0; i < 5; i++)
            *into[i] = (mr_bounded){pool + 3 * i * most, pool + (3 * i + 1) * most,
                                    pool + (3 * i + 2) * most};
        g.w.recorded = pool + 15 * most;
        g.w.room = g.w.recorded + most;
        for (idx b = 0, t = 0; b < meta->n_seqs; b++)
            for (idx i = 0; i < meta->length[b]; i++) g.w.position_q[t++] = -(meta->first[b] + i);
        walk_model(&g);
    }
    mr_free(pool);
    mr_free(g.w.position_q);
    if (inner.code != MR_OK) return mr_fail(err, inner.code, "%s", inner.text);
    return out->faults > faults ? MR_DISAGREE : MR_OK;
}
