/* The attention half of a verification, around the rows: norm, projections, rotation, output. */
#include "golden/replay_state.h"

static void relayout(mr_bounded x, idx T, idx heads, idx D, mr_rope_layout from,
                     mr_rope_layout to) {
    mr_rope_relayout_f64(x.v, T, heads, D, from, to);
    mr_rope_relayout_f64(x.e, T, heads, D, from, to);
    mr_rope_relayout_f64(x.s, T, heads, D, from, to);
}

static void project(mr_walk *w, idx l) {
    const mr_config *c = w->c;
    const mr_layer *layer = &w->model->layers[l];
    const idx T = w->T, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const mr_rope_layout from = w->model->qk_rows, to = c->rope_layout;
    const idx q[] = {T, H, D}, k[] = {T, G, D};
    mr_bound_linear(w->q, w->normed, &layer->wq, T, w->a, w->room);
    relayout(w->q, T, H, D, from, to);
    mr_replay_step(w, l, "q", w->q, 3, q);
    mr_bound_linear(w->k, w->normed, &layer->wk, T, w->a, w->room);
    if (w->fault->k_by_queries) relayout(w->k, T, H, G * D / H, from, to);
    else relayout(w->k, T, G, D, from, to);
    mr_replay_step(w, l, "k", w->k, 3, k);
    mr_bound_linear(w->v, w->normed, &layer->wv, T, w->a, w->room);
    mr_replay_step(w, l, "v", w->v, 3, k);
}

static void rotate(mr_walk *w, idx l) {
    const mr_config *c = w->c;
    const mr_fault *f = w->fault;
    const idx T = w->T, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const mr_rope_layout other = c->rope_layout == MR_HALF_SPLIT ? MR_INTERLEAVED : MR_HALF_SPLIT;
    const mr_rotation by = {c->rope_theta, c->rope_angles, f->other_pairs ? other : c->rope_layout,
                            f->frequencies, f->table_theta > 0 ? f->table : 0, f->table_theta};
    mr_bound_rope(w->q, w->q, w->position_q, T, H, D, &by, w->a);
    mr_replay_step(w, l, "q_rope", w->q, 3, (const idx[]){T, H, D});
    mr_bound_rope(w->k, w->k, w->position_k, T, G, D, &by, w->a);
    mr_replay_step(w, l, "k_rope", w->k, 3, (const idx[]){T, G, D});
}

/* The [T,HD] elements read as rows of dim elements, as a port does that thinks HD = dim. */
static void read_as_dim(mr_walk *w) {
    const idx width = w->c->n_heads * w->c->head_dim, n = w->T * width, d = w->c->dim;
    double *const all[] = {w->attention.v, w->attention.e, w->attention.s};
    double *copy = mr_alloc(n, sizeof *copy, w->err);
    for (int part = 0; copy != NULL && part < 3; part++) {
        for (idx i = 0; i < n; i++) copy[i] = all[part][i];
        for (idx i = 0; i < n; i++) all[part][i] = copy[(i / width * d + i % width) % n];
    }
    mr_free(copy);
}

void mr_walk_attention(mr_walk *w, idx l) {
    const mr_layer *layer = &w->model->layers[l];
    const idx T = w->T, d = w->c->dim, row[] = {T, d};
    mr_walk_norm(w, &layer->attention_norm);
    mr_replay_step(w, l, "attention_norm", w->normed, 2, row);
    project(w, l);
    rotate(w, l);
    mr_walk_rows(w, l);
    if (w->fault->rows_of_dim) read_as_dim(w);
    mr_bound_linear(w->out_row, w->attention, &layer->wo, T, w->a, w->room);
    mr_replay_step(w, l, "attention_out", w->out_row, 2, row);
    mr_walk_residual(w, &layer->ffn_norm);
    mr_replay_step(w, l, "h_mid", w->x, 2, row);
}
