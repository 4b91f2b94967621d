/* The attention half of a verification: projections, rotation, scores, softmax, weighted sum. */
#include "golden/replay_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ref/mask.h"

/* Pieces of one layer's scores, probs and attention, which come row by row and head by head. */
typedef struct {
    bool       scores, probs;      /* recorded by the port */
    mr_finding of_scores, of_probs;
    double    *port_probs;         /* scores and probs are both needed at once */
    idx        forbidden, row, key;   /* keys with weight that the mask forbids, and the first */
} parts;

static void relayout(mr_bounded x, idx T, idx heads, idx D, mr_rope_layout from,
                     mr_rope_layout to) {
    mr_rope_relayout_f64(x.v, T, heads, D, from, to);
    mr_rope_relayout_f64(x.e, T, heads, D, from, to);
    mr_rope_relayout_f64(x.s, T, heads, D, from, to);
}

static void project_rotate(mr_walk *w, idx l) {
    const mr_config *c = w->c;
    const mr_layer *layer = &w->model->layers[l];
    const idx T = w->T, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const mr_rope_layout other = c->rope_layout == MR_HALF_SPLIT ? MR_INTERLEAVED : MR_HALF_SPLIT;
    const mr_rope_layout pairs = w->fault->other_pairs ? other : c->rope_layout;
    const idx q[] = {T, H, D}, k[] = {T, G, D};
    mr_bound_linear(w->q, w->normed, &layer->wq, T, w->a, w->room);
    relayout(w->q, T, H, D, w->model->qk_rows, c->rope_layout);
    mr_replay_step(w, l, "q", w->q, 3, q);
    mr_bound_linear(w->k, w->normed, &layer->wk, T, w->a, w->room);
    relayout(w->k, T, G, D, w->model->qk_rows, c->rope_layout);
    mr_replay_step(w, l, "k", w->k, 3, k);
    mr_bound_linear(w->v, w->normed, &layer->wv, T, w->a, w->room);
    mr_replay_step(w, l, "v", w->v, 3, k);
    mr_bound_rope(w->q, w->q, w->position, T, H, D, c->rope_theta, c->rope_angles, pairs, w->a);
    mr_replay_step(w, l, "q_rope", w->q, 3, q);
    mr_bound_rope(w->k, w->k, w->position, T, G, D, c->rope_theta, c->rope_angles, pairs, w->a);
    mr_replay_step(w, l, "k_rope", w->k, 3, k);
}

/* Weight on a key outside [from,to): the mask of the port is another one. */
static void look_outside(const mr_walk *w, parts *p, idx h, idx t, idx from, idx to) {
    const double *row = p->port_probs + (h * w->T + t) * w->S;
    for (idx j = 0; j < w->S; j++) {
        if ((j >= from && j < to) || row[j] == 0) continue;
        if (p->forbidden++ == 0) p->row = t, p->key = j;
    }
}

/* One query row of one head; columns [from,to) of its sequence start at column `base`. */
static void attend_row(mr_walk *w, parts *p, idx h, idx t) {
    const mr_config *c = w->c;
    const idx G = c->n_kv_heads, D = c->head_dim, H = c->n_heads, base = w->column[t];
    const idx g = w->fault->tiled_heads ? h % G : h / (H / G), cell = (h * w->T + t) * w->S + base;
    const double scale = w->fault->score_scale > 0 ? w->fault->score_scale : 1 / sqrt((double)D);
    const mr_bounded q = mr_bounded_at(w->q, (t * H + h) * D);
    const mr_bounded k = mr_bounded_at(w->k, (base * G + g) * D),
                     v = mr_bounded_at(w->v, (base * G + g) * D);
    const mr_bounded o = mr_bounded_at(w->attention, (t * H + h) * D);
    idx from, to, length = 1;
    for (idx u = t + 1; u < w->T && w->column[u] == base; u++) length++;
    mr_mask_range(c->window_rule, mr_config_window(c, w->out->layer), w->place[t],
                  w->place[t] + length, &from, &to);
    mr_bound_scores(w->scores, q, k, from, to, D, G * D, scale, w->a);
    if (p->scores) mr_replay_piece(w, &p->of_scores, w->scores, cell + from, to - from);
    mr_bound_softmax(w->scores, w->scores, to - from, w->a);
    if (p->probs) {
        double *recorded = w->recorded;
        w->recorded = p->port_probs;
        mr_replay_piece(w, &p->of_probs, w->scores, cell + from, to - from);
        w->recorded = recorded;
        look_outside(w, p, h, t, base + from, base + to);
        from = 0, to = length + w->place[t];   /* go on with every weight that the port gave */
        for (idx j = 0; j < to; j++) {
            w->scores.v[j] = p->port_probs[(h * w->T + t) * w->S + base + j];
            w->scores.e[j] = w->scores.s[j] = 0;
        }
    }
    mr_bound_weighted_sum(o, w->scores, v, from, to, D, G * D, w->a);
}

static void attend(mr_walk *w, idx l) {
    const idx H = w->c->n_heads, whole[] = {H, w->T, w->S};
    parts p = {0};
    w->out->layer = l;
    if (mr_replay_begin(w, l, "probs", 3, whole, &p.of_probs)) {
        p.port_probs = mr_alloc(mr_count(3, whole), sizeof *p.port_probs, w->err);
        if (p.port_probs == NULL) return;
        memcpy(p.port_probs, w->recorded, (size_t)mr_count(3, whole) * sizeof *p.port_probs);
        p.probs = true;
    }
    p.scores = mr_replay_begin(w, l, "scores", 3, whole, &p.of_scores);
    for (idx h = 0; h < H; h++)
        for (idx t = 0; t < w->T; t++) attend_row(w, &p, h, t);
    if (p.scores) mr_replay_end(w, &p.of_scores);
    if (p.forbidden > 0) {
        p.of_probs.beyond += p.forbidden;
        p.of_probs.elements += p.forbidden;
        snprintf(p.of_probs.note, sizeof p.of_probs.note,
                 "token %td sees key %td (distance %td), which the mask forbids; %td such weights",
                 p.row, p.key, p.row - p.key, p.forbidden);
    }
    if (p.probs) mr_replay_end(w, &p.of_probs);
    mr_free(p.port_probs);
    mr_replay_step(w, l, "attention", w->attention, 3, (const idx[]){w->T, H, w->c->head_dim});
}

void mr_walk_attention(mr_walk *w, idx l) {
    const mr_layer *layer = &w->model->layers[l];
    const idx T = w->T, d = w->c->dim, row[] = {T, d};
    mr_bound_rmsnorm(w->normed, w->x, &layer->attention_norm, T, w->c->norm_eps, w->a);
    mr_replay_step(w, l, "attention_norm", w->normed, 2, row);
    project_rotate(w, l);
    attend(w, l);
    mr_bound_linear(w->out_row, w->attention, &layer->wo, T, w->a, w->room);
    mr_replay_step(w, l, "attention_out", w->out_row, 2, row);
    mr_bound_add(w->x, w->x, w->out_row, T * d, w->a);
    mr_replay_step(w, l, "h_mid", w->x, 2, row);
}
