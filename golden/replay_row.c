/* The rows of attention: scores, softmax and weighted sum of every query, and which keys it saw. */
#include "golden/replay_state.h"
#include "golden/replay_round.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MASKED (-1e30)   /* scores of masked keys are -inf, or as negative as their type allows */

/* One layer's scores or probs, which come row by row and head by head. */
typedef struct {
    bool       recorded;
    double    *port;           /* [H,T,S] */
    double     unseen;         /* what keys have that a row does not see, at most */
    double     hidden;         /* what they should have */
    mr_finding finding;
    idx        forbidden, row, key;   /* keys that the mask forbids but the port saw; the first */
    idx        at;                    /* its element */
} table;

static void open_table(mr_walk *w, table *p, idx l, const char *name) {
    const idx whole[] = {w->c->n_heads, w->T, w->S}, n = mr_count(3, whole);
    p->recorded = mr_replay_begin(w, l, name, 3, whole, &p->finding);
    if (!p->recorded) return;
    p->port = mr_alloc(n, sizeof *p->port, w->err);
    if (p->port == NULL) {
        p->recorded = false;
        return;
    }
    memcpy(p->port, w->recorded, (size_t)n * sizeof *p->port);
}

/* Some ports record scores before they mask them: then their finite values say nothing. */
static void find_unseen(const mr_walk *w, table *scores) {
    bool masks = false;
    for (idx i = 0; scores->recorded && i < w->c->n_heads * w->T * w->S; i++)
        masks = masks || scores->port[i] <= MASKED;
    scores->unseen = masks ? MASKED : (double)INFINITY;
}

static void close_table(mr_walk *w, table *p) {
    if (!p->recorded) return;
    if (p->forbidden > 0) {
        p->finding.beyond += p->forbidden;
        p->finding.elements += p->forbidden;
        if (!(p->finding.ratio > 1)) {   /* then that element is the worst */
            p->finding.ratio = p->finding.likely = (double)INFINITY;
            p->finding.worst = p->at;
            p->finding.expected = p->hidden;
            p->finding.found = p->port[p->at];
            p->finding.bound = p->finding.likely_bound = 0;
        }
        snprintf(p->finding.note, sizeof p->finding.note,
                 "token %td sees key %td (distance %td), which the mask forbids; %td such keys",
                 p->row, p->key, p->row - p->key, p->forbidden);
    }
    mr_replay_end(w, &p->finding);
    mr_free(p->port);
}

/* The row's n keys are compared and take the port's values. Keys that the port saw besides them
 * join the list, for what follows. Returns their number. */
static idx compare_row(mr_walk *w, table *p, idx h, idx t, idx n) {
    const idx cell = (h * w->T + t) * w->S;
    double *recorded = w->recorded;
    if (!p->recorded) return n;
    w->recorded = p->port;
    for (idx i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && w->keys[i + run] == w->keys[i] + run; ) run++;
        mr_replay_piece(w, &p->finding, mr_bounded_at(w->scores, i), cell + w->keys[i], run);
    }
    w->recorded = recorded;
    idx all = n;
    for (idx j = 0; j < w->S; j++) {
        bool listed = p->port[cell + j] <= p->unseen;
        for (idx i = 0; i < n && !listed; i++) listed = w->keys[i] == j;
        if (listed) continue;
        if (p->forbidden++ == 0) p->row = t, p->key = j, p->at = cell + j;
        if (w->watch != NULL) w->watch->forbidden(w->watch->user, p->finding.slot, cell + j);
        w->keys[all] = j;
        mr_take_recorded(w->scores, all++, p->port[cell + j], &p->finding.recording);
    }
    return all;
}

/* Which kv head query head h reads. */
static idx kv_head(const mr_walk *w, idx h) {
    const idx H = w->c->n_heads, G = w->c->n_kv_heads, group = H / G, tile = w->fault->tile;
    const idx share = H / (2 * G) > 0 ? H / (2 * G) : 1;
    switch (w->fault->heads) {
    case MR_HEADS_MODULO: return h % G;
    case MR_HEADS_TILE: return h / tile * tile / group;
    case MR_HEADS_SHARDS: return h / share < G ? h / share : G - 1;
    default: return h / group;
    }
}

static void multiply(mr_bounded x, idx n, double factor) {
    for (idx i = 0; i < n; i++) {
        x.v[i] *= factor;
        x.e[i] *= fabs(factor);
        x.s[i] *= fabs(factor);
    }
}

static bool wrong_call(const mr_walk *w, idx t) {
    return w->fault->calls == 0 || (w->fault->calls & w->kind[t]) != 0;
}

static void score(mr_walk *w, idx h, idx t, idx n) {
    const mr_fault *f = w->fault;
    const idx G = w->c->n_kv_heads, D = w->c->head_dim, H = w->c->n_heads, g = kv_head(w, h);
    const double scale = f->score_scale > 0 ? f->score_scale : 1 / sqrt((double)D);
    const mr_bounded q = mr_bounded_at(w->q, (t * H + h) * D), k = mr_bounded_at(w->k, g * D);
    const bool rounds = f->score_storage != MR_STORE_WIDE;
    mr_bound_scores(w->scores, q, k, w->keys, n, D, G * D, rounds ? 1 : scale, w->a);
    if (rounds) {
        mr_walk_round(w->scores, n, f->score_storage);
        multiply(w->scores, n, scale);
        for (idx j = 0; j < n; j++) {
            w->scores.e[j] += 4 * w->a->sum * fabs(w->scores.v[j]);
            w->scores.s[j] += 4 * w->a->sum * fabs(w->scores.v[j]);
        }
    }
    for (idx j = 0; f->cached_k != 0 && wrong_call(w, t) && j < n; j++)
        if (w->kind[t] == MR_DECODE_CALL || w->keys[j] < w->column[t] + w->call[t])
            multiply(mr_bounded_at(w->scores, j), 1, f->cached_k);
}

/* Is the row part of a sequence with padding, whose rows are NaN from the first layer on? */
static bool padded(const mr_walk *w, idx t) {
    idx longest = 0, own = 0;
    for (idx b = 0, base = 0; b < w->meta->n_seqs; base += w->meta->length[b++]) {
        if (w->meta->length[b] > longest) longest = w->meta->length[b];
        if (base == w->column[t]) own = w->meta->length[b];
    }
    return own < longest;
}

static void fill(mr_bounded x, idx n, double value) {
    for (idx i = 0; i < n; i++) x.v[i] = value, x.e[i] = x.s[i] = 0;
}

/* A tile goes through the matrix unit whole, masked keys with weight 0: 0 * NaN = NaN. */
static bool reaches_nan(const mr_walk *w, idx t) {
    const idx width = w->c->n_kv_heads * w->c->head_dim, base = w->column[t];
    for (idx j = base; j < base + w->call_end[t]; j++)
        if (isnan(w->v.v[j * width])) return true;
    return false;
}

/* The port's attention output, [T,H,D]. NULL: not recorded, or of no use: short rows are judged
 * way by way, (V10), where storage is coarse and kernels keep all but operands in float. */
static double *read_attention(mr_walk *w, idx l) {
    const idx n = w->T * w->c->n_heads * w->c->head_dim;
    char name[64];
    snprintf(name, sizeof name, "layers.%td.attention", l);
    const idx at = mr_trace_find(w->port, name);
    const bool narrow = w->a->storage != MR_STORE_WIDE;
    if (w->fault->heads_first || !narrow || w->a->inside >= w->a->store || at < 0) return NULL;
    const mr_tensor *t = mr_trace_tensor(w->port, at);
    if (mr_recording_of("attention", t->dtype, w->a).tiny > 0) return NULL;
    double *found = mr_count(t->rank, t->dim) == n ? mr_alloc(n, sizeof *found, w->err) : NULL;
    if (found != NULL) mr_trace_read(w->port, at, found, w->err);
    return found;
}

static void attend(mr_walk *w, idx l, table *scores, table *probs, idx h, idx t) {
    const mr_fault *f = w->fault;
    const idx G = w->c->n_kv_heads, D = w->c->head_dim, H = w->c->n_heads;
    const mr_bounded o = mr_bounded_at(w->attention, (t * H + h) * D),
                     v = mr_bounded_at(w->v, kv_head(w, h) * D);
    idx n = mr_walk_keys(w, l, t);
    score(w, h, t, n);
    n = compare_row(w, scores, h, t, n);
    double top = n > 0 ? w->scores.v[0] : 0;
    for (idx j = 1; j < n; j++) top = fmax(top, w->scores.v[j]);
    if (n > 0) mr_bound_softmax(w->scores, w->scores, n, w->a);
    n = compare_row(w, probs, h, t, n);
    mr_bound_weighted_sum(o, w->scores, v, w->keys, n, D, G * D, w->a);
    const bool scaled = f->cached_v != 0 && wrong_call(w, t) && w->kind[t] == MR_DECODE_CALL;
    if (w->found != NULL && !scaled)
        mr_bound_few(o, w->scores, top, v, w->keys, n, D, G * D, w->found + (t * H + h) * D, w->a);
    if (f->sees == MR_SEES_LAST && reaches_nan(w, t)) fill(o, D, (double)NAN);
    if (n == 0) fill(o, D, f->sees == MR_SEES_LAST ? (double)NAN : 0);
    if (f->nan_of_padding && l > 0 && padded(w, t)) fill(o, D, (double)NAN);
    if (scaled) multiply(o, D, f->cached_v);
}

/* The rows of each call, [T,H,D], as a kernel leaves them that writes [H,T,D]. */
static void leave_heads_first(mr_walk *w) {
    const idx H = w->c->n_heads, D = w->c->head_dim, n = w->T * H * D;
    double *const all[] = {w->attention.v, w->attention.e, w->attention.s};
    double *copy = mr_alloc(n, sizeof *copy, w->err);
    for (int part = 0; copy != NULL && part < 3; part++) {
        memcpy(copy, all[part], (size_t)n * sizeof *copy);
        for (idx t = 0; t < w->T; t++) {
            const idx first = w->column[t] + w->call[t], rows = w->call_end[t] - w->call[t];
            for (idx h = 0; h < H; h++)
                memcpy(all[part] + (first * H + h * rows + t - first) * D, copy + (t * H + h) * D,
                       (size_t)D * sizeof *copy);
        }
    }
    mr_free(copy);
}

void mr_walk_rows(mr_walk *w, idx l) {
    const idx H = w->c->n_heads;
    table scores = {.hidden = (double)-INFINITY}, probs = {0};
    open_table(w, &probs, l, "probs");
    open_table(w, &scores, l, "scores");
    find_unseen(w, &scores);
    w->found = read_attention(w, l);
    for (idx h = 0; h < H && w->err->code == MR_OK; h++)
        for (idx t = 0; t < w->T; t++) attend(w, l, &scores, &probs, h, t);
    close_table(w, &scores);
    close_table(w, &probs);
    mr_free(w->found);
    w->found = NULL;
    if (w->fault->heads_first) leave_heads_first(w);
    mr_replay_step(w, l, "attention", w->attention, 3, (const idx[]){w->T, H, w->c->head_dim});
}
