/* The attention half of a verification, around the rows: norm, projections, rotation, output. */
#include "golden/replay_state.h"

#include <stdio.h>
#include <string.h>

static void relayout(mr_bounded x, idx T, idx heads, idx D, mr_rope_layout from,
                     mr_rope_layout to) {
    mr_rope_relayout_f64(x.v, T, heads, D, from, to);
    mr_rope_relayout_f64(x.e, T, heads, D, from, to);
    mr_rope_relayout_f64(x.s, T, heads, D, from, to);
}

static idx find(const mr_walk *w, idx l, const char *name) {
    char whole[64];
    snprintf(whole, sizeof whole, "layers.%td.%s", l, name);
    return mr_trace_find(w->port, whole);
}

/* Recorded as the port had it, not rounded once more by the file. */
static bool shows(const mr_walk *w, idx l, const char *name) {
    const idx at = find(w, l, name);
    return at >= 0 &&
           mr_recording_of(name, mr_trace_tensor(w->port, at)->dtype, w->a).tiny == 0;
}

/* (V11) What the port did not record between product and rotation was either stored or kept, not
 * anything in between. Worth telling apart where storage is coarse. */
static bool kept_or_stored(const mr_walk *w, idx l, const char *before, const char *after) {
    return w->a->storage != MR_STORE_WIDE && find(w, l, before) < 0 && shows(w, l, after);
}

/* The product alone, or with its store. */
static void product(mr_walk *w, idx l, mr_bounded y, const mr_matrix *W, const char *before,
                    const char *after) {
    mr_arithmetic a = *w->a;
    if (kept_or_stored(w, l, before, after)) a.store = a.tiny = 0;
    mr_bound_linear(y, w->normed, W, w->T, &a, w->room);
}

/* y of those two that lies nearer to what the port has, element by element. */
static void take_nearer(mr_walk *w, idx l, const char *name, mr_bounded y, mr_bounded other,
                        idx n) {
    const idx at = find(w, l, name);
    const mr_tensor *t = mr_trace_tensor(w->port, at);
    if (mr_count(t->rank, t->dim) != n || mr_trace_read(w->port, at, w->recorded, w->err)) return;
    for (idx i = 0; i < n; i++) {
        const double found = w->recorded[i];
        if (mr_error_ratio(other.v[i], found, other.e[i]) < mr_error_ratio(y.v[i], found, y.e[i]))
            y.v[i] = other.v[i], y.e[i] = other.e[i], y.s[i] = other.s[i];
    }
}

static void turn(mr_walk *w, idx l, mr_bounded x, const int64_t *position, idx heads,
                 const mr_rotation *by, const char *before, const char *after) {
    const idx D = w->c->head_dim, n = w->T * heads * D;
    double *copy = NULL;
    if (kept_or_stored(w, l, before, after)) copy = mr_alloc(3 * n, sizeof *copy, w->err);
    mr_bounded stored = {NULL, NULL, NULL};
    if (copy != NULL) {
        stored = (mr_bounded){copy, copy + n, copy + 2 * n};
        memcpy(stored.v, x.v, (size_t)n * sizeof *copy);
        memcpy(stored.e, x.e, (size_t)n * sizeof *copy);
        memcpy(stored.s, x.s, (size_t)n * sizeof *copy);
        mr_walk_round(stored, n, w->a->storage);
        mr_bound_rope(stored, stored, position, w->T, heads, D, by, w->a);
    }
    mr_bound_rope(x, x, position, w->T, heads, D, by, w->a);
    if (copy != NULL) take_nearer(w, l, after, x, stored, n);
    mr_free(copy);
    mr_replay_step(w, l, after, x, 3, (const idx[]){w->T, heads, D});
}

static void project(mr_walk *w, idx l) {
    const mr_config *c = w->c;
    const mr_layer *layer = &w->model->layers[l];
    const idx T = w->T, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const mr_rope_layout from = w->model->qk_rows, to = c->rope_layout;
    const idx q[] = {T, H, D}, k[] = {T, G, D};
    product(w, l, w->q, &layer->wq, "q", "q_rope");
    relayout(w->q, T, H, D, from, to);
    mr_replay_step(w, l, "q", w->q, 3, q);
    product(w, l, w->k, &layer->wk, "k", "k_rope");
    if (w->fault->k_by_queries) relayout(w->k, T, H, G * D / H, from, to);
    else relayout(w->k, T, G, D, from, to);
    mr_replay_step(w, l, "k", w->k, 3, k);
    mr_bound_linear(w->v, w->normed, &layer->wv, T, w->a, w->room);
    mr_replay_step(w, l, "v", w->v, 3, k);
}

static void rotate(mr_walk *w, idx l) {
    const mr_config *c = w->c;
    const mr_fault *f = w->fault;
    const mr_rope_layout other = c->rope_layout == MR_HALF_SPLIT ? MR_INTERLEAVED : MR_HALF_SPLIT;
    const mr_rotation by = {c->rope_theta, c->rope_angles, f->other_pairs ? other : c->rope_layout,
                            f->frequencies, f->table_theta > 0 ? f->table : 0, f->table_theta};
    turn(w, l, w->q, w->position_q, c->n_heads, &by, "q", "q_rope");
    turn(w, l, w->k, w->position_k, c->n_kv_heads, &by, "k", "k_rope");
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
