/* One candidate of a layout: how far its values are from the golden ones. */
#include "golden/layout_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SAMPLES  ((idx)512)
#define MASKED   (-1e30)

const char *mr_layout_part(const char *name, idx *layer) {
    *layer = -1;
    if (strncmp(name, "layers.", 7) != 0) return name;
    const char *at = name + 7;
    idx n = 0;
    for (; *at >= '0' && *at <= '9' && n < 100000; at++) n = 10 * n + (*at - '0');
    if (*at != '.') return name;
    *layer = n;
    return at + 1;
}

/* ---- distances ------------------------------------------------------------------------------- */

/* Adds one pair to the sums of squares; what is masked on one side only counts as its own size. */
static void add(double want, double got, double *error, double *norm) {
    const bool hidden = !(want > MASKED), masked = !(got > MASKED);
    const double w = hidden || !isfinite(want) ? 0 : want, g = masked || !isfinite(got) ? 0 : got;
    *norm += w * w;
    *error += hidden != masked ? fmax(1, fmax(w * w, g * g)) : (w - g) * (w - g);
}

static double relative(double error, double norm) {
    return error == 0 ? 0 : norm > 0 ? sqrt(error / norm) : (double)INFINITY;
}

double mr_layout_distance(const double *want, const double *got, idx n) {
    double error = 0, norm = 0;
    for (idx i = 0; i < n; i++) add(want[i], got[i], &error, &norm);
    return relative(error, norm);
}

/* The distance of a view, of every element or of some spread over all. */
static double distance_of(const mr_layout_search *s, const mr_view *v, idx samples) {
    double error = 0, norm = 0;
    const idx step = s->count > samples ? s->count / samples | 1 : 1;
    for (idx i = 0; i < s->count; i += step) {
        const idx at = mr_view_place(v, i);
        add(s->want[i], at < 0 ? v->fill : v->scale * s->source[at], &error, &norm);
    }
    return relative(error, norm);
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* Does the source's shape, without axes of size 1, say just this order? Told by the strides. */
static bool fits_shape(const mr_layout_search *s, const mr_view *v) {
    idx stride = 1, bounds[MR_MAX_RANK];
    int n = 0;
    for (int a = s->source_shape->rank - 1; a >= 0; a--) {
        if (s->source_shape->dim[a] == 1) continue;
        bounds[n++] = stride;
        stride *= s->source_shape->dim[a];
    }
    idx ours = 1;
    for (int a = s->want_shape->rank - 1, f = v->n - 1; a >= 0; a--) {
        if (s->want_shape->dim[a] == 1) continue;
        bool found = false;
        for (int i = 0; i < n; i++) found = found || (f >= 0 && bounds[i] == v->factor[f].stride);
        if (!found || v->factor[f].size != s->want_shape->dim[a]) return false;
        f--;
        ours *= s->want_shape->dim[a];
    }
    return ours == stride;
}

void mr_layout_consider(mr_layout_search *s, const mr_view *v, const char *words, bool fault) {
    if (s->err->code != MR_OK || mr_view_count(v) != s->count) return;
    mr_layout_try t = {*v, 0, "", fault};
    snprintf(t.words, sizeof t.words, "%s", words);
    if (s->wanted != NULL || s->by_shape) {
        const bool right = s->wanted != NULL ? strcmp(s->wanted, words) == 0
                                             : !fault && fits_shape(s, v);
        if (right && (s->fits == 0 || !mr_view_same(&s->best.view, v))) {
            s->best = t;
            s->fits++;
        }
        return;
    }
    if (distance_of(s, v, SAMPLES) > 0.5) return;
    t.distance = distance_of(s, v, s->count);
    if (isfinite(s->best.distance) && mr_view_same(&s->best.view, v)) return;
    if (t.distance < s->best.distance) {
        s->second = s->best;
        s->best = t;
    } else if (t.distance < s->second.distance) s->second = t;
}

/* ---- one tensor ------------------------------------------------------------------------------ */

void mr_layout_note(mr_layout_search *s, mr_layout_kind kind, const char *words, double before,
                    double after) {
    mr_layouts *o = s->out;
    if (o->count == o->room) {
        mr_layout_found *grown = mr_resize(o->list, 2 * o->room + 16, (idx)sizeof *grown, s->err);
        if (grown == NULL) return;
        o->list = grown;
        o->room = 2 * o->room + 16;
    }
    mr_layout_found *note = &o->list[o->count++];
    *note = (mr_layout_found){.kind = kind, .before = before, .after = after};
    snprintf(note->tensor, sizeof note->tensor, "%s", s->want_shape->name);
    snprintf(note->source, sizeof note->source, "%s", s->source_shape->name);
    snprintf(note->text, sizeof note->text, "%s", words);
    o->faults += kind == MR_LAYOUT_FAULT;
}

static bool rotary(const char *part) {
    return strcmp(part, "q") == 0 || strcmp(part, "k") == 0 || strcmp(part, "q_rope") == 0 ||
           strcmp(part, "k_rope") == 0 || strcmp(part, "cache_k") == 0;
}

/* The golden elements in the rotary order that the port's meta declares. */
static bool declared(mr_layout_search *s) {
    const mr_tensor *t = s->want_shape;
    const idx D = t->rank == 3 ? t->dim[2] : 0, half = D / 2;
    if (!s->other || !rotary(s->part) || D == 0 || D % 2 != 0) return true;
    double *row = mr_alloc(D, sizeof *row, s->err);
    for (idx i = 0; row != NULL && i < s->count; i += D) {
        memcpy(row, s->want + i, (size_t)D * sizeof *row);
        for (idx r = 0; r < D; r++)
            s->want[i + r] = s->half ? row[r % half * 2 + r / half] : row[r % 2 * half + r / 2];
    }
    mr_free(row);
    return row != NULL;
}

bool mr_layout_golden(mr_layout_search *s, const char *name) {
    s->at = mr_trace_find(s->golden, name);
    mr_free(s->want);
    s->want = NULL;
    if (s->at < 0) return false;
    s->want_shape = mr_trace_tensor(s->golden, s->at);
    s->part = mr_layout_part(s->want_shape->name, &s->layer);
    s->count = mr_count(s->want_shape->rank, s->want_shape->dim);
    s->want = mr_alloc(s->count, sizeof *s->want, s->err);
    return s->count > 0 && s->want != NULL &&
           mr_trace_read(s->golden, s->at, s->want, s->err) == MR_OK && declared(s);
}

bool mr_layout_source(mr_layout_search *s, const mr_view *view) {
    const mr_tensor *t = mr_trace_tensor(s->map->port, view->source);
    const idx n = mr_view_count(view);
    mr_free(s->source);
    s->source = mr_alloc(n, sizeof *s->source, s->err);
    s->source_shape = t;
    s->whole = *view;
    s->unit = t->dtype == MR_BF16 ? 0x1p-8 : t->dtype == MR_F16 ? 0x1p-11 : 0x1p-24;
    s->best = s->second = (mr_layout_try){.distance = (double)INFINITY};
    s->by_shape = false;
    s->wanted = NULL;
    s->fits = 0;
    return n > 0 && s->source != NULL && mr_mapping_read(s->map, view, s->source, s->err) == MR_OK;
}
