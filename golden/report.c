/* Collects, while a verification runs, what its report draws. */
#include "golden/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sums of squares of one tensor, and its golden values while elements come. */
struct mr_sums {
    double  error, expected;             /* found - expected; expected */
    double  inherited, total, golden;    /* expected - golden; found - golden; golden */
    double *values;                      /* of the golden trace, or NULL */
};

mr_status mr_report_open(const mr_config *c, mr_trace *golden, bool other_layout, mr_report *out,
                         mr_err *err) {
    memset(out, 0, sizeof *out);
    out->layers = c->n_layers;
    out->chosen = c->n_experts_per_tok;
    out->layout = c->rope_layout;
    out->golden = golden;
    out->other_layout = other_layout;
    out->err = err;
    out->seen = mr_alloc(c->n_layers, sizeof *out->seen, err);
    out->margins = mr_alloc(c->n_layers, sizeof *out->margins, err);
    return out->seen != NULL && out->margins != NULL ? MR_OK : MR_BAD;
}

static bool grow(mr_report *r) {
    if (r->count < r->room) return true;
    const idx room = 2 * r->room + 64;
    mr_profile *list = mr_resize(r->list, room, sizeof *list, r->err);
    if (list != NULL) r->list = list;
    struct mr_sums *sums = mr_resize(r->sums, room, sizeof *sums, r->err);
    if (sums != NULL) r->sums = sums;
    if (list == NULL || sums == NULL) return false;
    r->room = room;
    return true;
}

/* A head of D channels from the other order to `to`: pair i is channels 2i and 2i+1, or i and
 * i + D/2. */
static void relayout(double *head, double *room, idx D, mr_rope_layout to) {
    memcpy(room, head, (size_t)D * sizeof *room);
    for (idx i = 0; i < D / 2; i++) {
        const bool half = to == MR_HALF_SPLIT;
        head[half ? i : 2 * i] = room[half ? 2 * i : i];
        head[half ? i + D / 2 : 2 * i + 1] = room[half ? 2 * i + 1 : i + D / 2];
    }
}

/* The golden tensor of that name and shape, NULL when there is none to compare with. */
static double *golden_values(mr_report *r, const mr_profile *p) {
    const idx at = r->golden != NULL ? mr_trace_find(r->golden, p->name) : -1;
    if (at < 0) return NULL;
    const mr_tensor *t = mr_trace_tensor(r->golden, at);
    bool same = t->rank == p->rank;
    for (int i = 0; same && i < p->rank; i++) same = t->dim[i] == p->dim[i];
    if (!same) return NULL;
    const idx n = mr_count(p->rank, p->dim), D = p->dim[p->rank - 1];
    double *values = mr_alloc(n, sizeof *values, r->err), *row = mr_alloc(D, sizeof *row, r->err);
    bool good = values != NULL && row != NULL;
    good = good && mr_trace_read(r->golden, at, values, r->err) == MR_OK;
    if (good && r->other_layout && mr_coordinate(p, MR_BY_PAIR, 0, r->layout) >= 0)
        for (idx i = 0; i < n; i += D) relayout(values + i, row, D, r->layout);
    mr_free(row);
    if (good) return values;
    mr_free(values);
    return NULL;
}

static void size_axes(mr_profile *p, mr_rope_layout layout) {
    const idx n = mr_count(p->rank, p->dim);
    for (mr_axis_kind a = 0; n > 0 && a < MR_AXES; a++) {
        idx size = mr_coordinate(p, a, n - 1, layout) + 1;
        p->axis[a].size = size;
        p->axis[a].bins = size < MR_BINS ? size : MR_BINS;
    }
}

static idx least(idx a, idx b) { return a < b ? a : b; }

static idx begin(void *user, const char *name, int rank, const idx *dim) {
    mr_report *r = user;
    const char *rest;
    if (!grow(r)) return -1;
    const idx slot = r->count++, layer = mr_name_layer(name, &rest);
    mr_profile *p = memset(&r->list[slot], 0, sizeof *p);
    memset(&r->sums[slot], 0, sizeof *r->sums);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->rank = rank;
    memcpy(p->dim, dim, (size_t)rank * sizeof *dim);
    size_axes(p, r->layout);
    if (layer >= 0 && layer < r->layers && p->axis[MR_BY_KEY].size > 0) {
        mr_seen *s = &r->seen[layer];
        s->known = true;
        s->rows = least(dim[1], MR_CELLS);
        s->columns = least(dim[2], MR_CELLS);
    }
    /* scores and probs are open together; everything older is complete */
    if (slot >= 2) {
        mr_free(r->sums[slot - 2].values);
        r->sums[slot - 2].values = NULL;
    }
    r->sums[slot].values = golden_values(r, p);
    return slot;
}

/* A key of one row and head: what the rule says, what the port did. */
static void see(mr_report *r, const mr_profile *p, idx i, uint8_t bits) {
    const char *rest;
    const idx layer = mr_name_layer(p->name, &rest);
    if (layer < 0 || layer >= r->layers) return;
    mr_seen *s = &r->seen[layer];
    const idx row = mr_coordinate(p, MR_BY_ROW, i, r->layout) * s->rows / p->dim[1],
              key = i % p->dim[2] * s->columns / p->dim[2];
    s->unseen += (bits & MR_KEY_UNSEEN) != 0;
    s->forbidden += (bits & MR_KEY_FORBIDDEN) != 0;
    s->cell[row][key] |= bits;
}

/* A hidden key has score -inf, or as negative as its type allows, and probability exactly 0. An
 * expected probability that may round to 0 does not tell. */
static uint8_t allowed_key(const mr_profile *p, double expected, double bound, double found) {
    const bool probs = strstr(p->name, "probs") != NULL;
    const bool hidden = probs ? found == 0 && expected > bound && expected > 0x1p-24
                              : found <= -1e30 && expected > -1e30;
    return MR_KEY_ALLOWED | (hidden ? MR_KEY_UNSEEN : MR_KEY_SEEN);
}

static void forbidden(void *user, idx slot, idx offset) {
    mr_report *r = user;
    if (slot < 0) return;
    mr_profile *p = &r->list[slot];
    see(r, p, offset, MR_KEY_SEEN | MR_KEY_FORBIDDEN);
    for (mr_axis_kind a = 0; a < MR_AXES; a++) {
        const idx at = mr_coordinate(p, a, offset, r->layout);
        if (at >= 0) p->axis[a].worst[at * p->axis[a].bins / p->axis[a].size] = (double)INFINITY;
    }
}

/* K-th largest minus the next, over what rounding may move the two. */
static double margin(mr_bounded z, idx E, idx K) {
    double cut = (double)NAN;
    for (idx c = 0; c < E; c++) {
        idx above = 0;
        for (idx e = 0; e < E; e++) above += z.v[e] > z.v[c] || (e < c && z.v[e] == z.v[c]);
        if (above != K - 1) continue;
        for (idx e = 0; e < E; e++) {   /* c is the last one chosen; e the first left out */
            idx more = 0;
            for (idx j = 0; j < E; j++) more += z.v[j] > z.v[e] || (j < e && z.v[j] == z.v[e]);
            const double slack = z.e[c] + z.e[e];
            if (more == K) cut = slack > 0 ? (z.v[c] - z.v[e]) / slack : (double)INFINITY;
        }
    }
    return cut;
}

static void watch_margins(mr_report *r, const mr_profile *p, idx offset, idx n, mr_bounded z) {
    const char *rest;
    const idx layer = mr_name_layer(p->name, &rest), E = p->dim[p->rank - 1];
    if (strcmp(rest, "router_logits") != 0 || layer < 0 || layer >= r->layers) return;
    mr_margins *m = &r->margins[layer];
    m->known = true;
    m->bins = p->axis[MR_BY_ROW].bins;
    m->least = (double)INFINITY;
    for (idx b = 0; b < m->bins; b++) m->margin[b] = (double)INFINITY;
    for (idx i = 0; i < n; i += E) {
        const double one = margin(mr_bounded_at(z, i), E, r->chosen);
        double *bin = &m->margin[(offset + i) / E * m->bins / p->dim[0]];
        if (!(*bin <= one)) *bin = one;
        if (!(m->least <= one)) m->least = one;
    }
}

static void piece(void *user, idx slot, idx offset, idx n, mr_bounded x, const double *found) {
    mr_report *r = user;
    if (slot < 0) return;
    mr_profile *p = &r->list[slot];
    struct mr_sums *s = &r->sums[slot];
    watch_margins(r, p, offset, n, x);
    for (idx i = 0; i < n; i++) {
        const double ratio = mr_error_ratio(x.v[i], found[i], x.e[i]);
        for (mr_axis_kind a = 0; a < MR_AXES; a++) {
            const idx at = mr_coordinate(p, a, offset + i, r->layout);
            if (at < 0) continue;
            double *worst = &p->axis[a].worst[at * p->axis[a].bins / p->axis[a].size];
            if (ratio > *worst) *worst = ratio;
        }
        if (p->axis[MR_BY_KEY].size > 0)
            see(r, p, offset + i, allowed_key(p, x.v[i], x.e[i], found[i]));
        if (!isfinite(x.v[i]) || !isfinite(found[i])) continue;
        s->error += (found[i] - x.v[i]) * (found[i] - x.v[i]);
        s->expected += x.v[i] * x.v[i];
        const double golden = s->values != NULL ? s->values[offset + i] : (double)NAN;
        if (!isfinite(golden)) continue;
        s->inherited += (x.v[i] - golden) * (x.v[i] - golden);
        s->total += (found[i] - golden) * (found[i] - golden);
        s->golden += golden * golden;
    }
}

static void choice(void *user, idx slot, idx token, const int32_t *port, const int32_t *expected,
                   double gap, bool explained) {
    mr_report *r = user;
    if (slot < 0) return;
    mr_profile *p = &r->list[slot];
    mr_axis *row = &p->axis[MR_BY_ROW];
    row->worst[token * row->bins / row->size] = explained ? 0 : (double)INFINITY;
    if (r->flips++ >= MR_MAX_FLIPS) return;
    const char *rest;
    mr_flip *f = &r->flip[r->flips - 1];
    *f = (mr_flip){.layer = mr_name_layer(p->name, &rest), .token = token, .gap = gap,
                   .explained = explained};
    for (idx k = 0; k < least(r->chosen, MR_SHOWN_EXPERTS); k++)
        f->port[k] = port[k], f->expected[k] = expected[k];
}

mr_watch mr_report_watch(mr_report *report) {
    return (mr_watch){report, begin, piece, forbidden, choice};
}

static double relative(double error, double norm) {
    return norm > 0 ? sqrt(error / norm) : error > 0 ? (double)INFINITY : 0;
}

void mr_report_end(mr_report *r) {
    for (idx i = 0; i < r->count; i++) {
        const struct mr_sums *s = &r->sums[i];
        mr_profile *p = &r->list[i];
        const bool golden = s->golden > 0;
        p->introduced = relative(s->error, s->expected);
        p->inherited = golden ? relative(s->inherited, s->golden) : (double)NAN;
        p->total = golden ? relative(s->total, s->golden) : (double)NAN;
    }
}

void mr_report_free(mr_report *r) {
    for (idx i = 0; i < r->count; i++) mr_free(r->sums[i].values);
    mr_free(r->sums);
    mr_free(r->list);
    mr_free(r->seen);
    mr_free(r->margins);
    memset(r, 0, sizeof *r);
}
