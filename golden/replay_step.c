/* One step of a verification: the port's tensor against its expected value and bound. */
#include "golden/replay_state.h"
#include "golden/replay_round.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

mr_finding *mr_verification_add(mr_verification *o, mr_err *err) {
    if (o->count == o->room) {
        const idx room = 2 * o->room + 64;
        mr_finding *grown = mr_resize(o->list, room, sizeof *grown, err);
        if (grown == NULL) return NULL;
        o->list = grown;
        o->room = room;
    }
    return &o->list[o->count++];
}

static void describe_shape(char *text, size_t size, int rank, const idx *dim) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? ",%td" : "%td", dim[i]);
    if (at < size) snprintf(text + at, size - at, "]");
}

static bool same_shape(const mr_tensor *t, int rank, const idx *dim) {
    bool same = t->rank == rank;
    for (int i = 0; same && i < rank; i++) same = t->dim[i] == dim[i];
    return same;
}

void mr_replay_end(mr_walk *w, mr_finding *f) {
    mr_verification *o = w->out;
    if (f->verdict != MR_EXPLAINED && f->beyond > 0) f->verdict = MR_FAULT;
    if (f->verdict == MR_AGREES && f->open > 0 && f->open == f->elements)
        f->verdict = MR_TELLS_NOTHING;
    mr_finding *kept = mr_verification_add(o, w->err);
    if (kept == NULL) return;
    *kept = *f;
    o->faults += f->verdict == MR_FAULT;
    o->explained += f->verdict == MR_EXPLAINED;
    o->nothing += f->verdict == MR_TELLS_NOTHING;
    if (f->verdict == MR_FAULT && o->first < 0) o->first = o->count - 1;
}

bool mr_replay_begin(mr_walk *w, idx layer, const char *name, int rank, const idx *dim,
                     mr_finding *f) {
    memset(f, 0, sizeof *f);
    f->worst = f->slot = -1;
    if (layer < 0) snprintf(f->name, sizeof f->name, "%s", name);
    else snprintf(f->name, sizeof f->name, "layers.%td.%s", layer, name);
    const idx at = mr_trace_find(w->port, f->name);
    if (at < 0 || w->err->code != MR_OK) return false;
    const mr_tensor *t = mr_trace_tensor(w->port, at);
    if (!same_shape(t, rank, dim)) {
        char want[64], got[64];
        describe_shape(want, sizeof want, rank, dim);
        describe_shape(got, sizeof got, t->rank, t->dim);
        snprintf(f->note, sizeof f->note, "shape %s, expected %s", got, want);
        f->beyond = f->elements = mr_count(t->rank, t->dim);
        f->ratio = f->likely = (double)INFINITY;
        mr_replay_end(w, f);
        return false;
    }
    f->recording = mr_recording_of(name, t->dtype, w->a);
    if (w->watch != NULL) f->slot = w->watch->begin(w->watch->user, f->name, rank, dim);
    return mr_trace_read(w->port, at, w->recorded, w->err) == MR_OK;
}

double mr_error_ratio(double expected, double found, double bound) {
    if (expected == found || (isnan(expected) && isnan(found))) return 0;
    if (isnan(expected) || isnan(found)) return (double)INFINITY;
    if (isinf(found) && !isinf(bound)) return (double)INFINITY;
    if (!(bound < 1e100)) return 0;   /* overflow, or a choice that nobody recorded: no bound */
    const double ratio = fabs(found - expected) / bound;
    return isnan(ratio) ? (double)INFINITY : ratio;
}

void mr_replay_piece(const mr_walk *w, mr_finding *f, mr_bounded x, idx offset, idx n) {
    double error = 0, norm = 0, width = 0;
    for (idx i = 0; i < n; i++) mr_recorded(x, i, &f->recording);
    if (w->watch != NULL)
        w->watch->piece(w->watch->user, f->slot, offset, n, x, w->recorded + offset);
    for (idx i = 0; i < n; i++) {
        const double found = w->recorded[offset + i];
        const double ratio = mr_error_ratio(x.v[i], found, x.e[i]),
                     likely = mr_error_ratio(x.v[i], found, x.s[i]);
        f->beyond += ratio > 1;
        f->open += !(x.e[i] < 1e100);
        width += x.e[i] * x.e[i];
        if (likely > f->likely) f->likely = likely;
        if (f->worst < 0 || ratio > f->ratio) {
            f->ratio = ratio;
            f->worst = offset + i;
            f->expected = x.v[i];
            f->found = found;
            f->bound = x.e[i];
            f->likely_bound = x.s[i];
        }
        if (isfinite(x.v[i]) && isfinite(found)) {
            error += (found - x.v[i]) * (found - x.v[i]);
            norm += x.v[i] * x.v[i];
        }
        mr_take_recorded(x, i, found, &f->recording);
    }
    f->elements += n;
    f->distance = hypot(f->distance, sqrt(error));
    f->width = hypot(f->width, sqrt(width));
    const double relative = norm > 0 ? sqrt(error / norm) : error > 0 ? (double)INFINITY : 0;
    if (relative > f->introduced) f->introduced = relative;
}

/* Where every expected number is the same, a port that mixed its rows or channels up would pass. */
static bool constant(mr_bounded x, idx n) {
    for (idx i = 1; i < n; i++)
        if (x.v[i] != x.v[0]) return false;
    return n > 1;
}

/* The port recorded these rows only, such as the logits that generate() computes. */
static void step_rows(mr_walk *w, const char *name, mr_bounded x, int rank, const idx *dim,
                      const mr_meta_part *part) {
    mr_finding f;
    idx less[MR_MAX_RANK];
    for (int i = 0; i < rank; i++) less[i] = i == 0 ? part->count : dim[i];
    const idx width = mr_count(rank - 1, dim + 1);
    if (!mr_replay_begin(w, -1, name, rank, less, &f)) return;
    for (idx i = 0; i < part->count; i++)
        mr_replay_piece(w, &f, mr_bounded_at(x, part->row[i] * width), i * width, width);
    mr_replay_end(w, &f);
}

void mr_replay_step(mr_walk *w, idx layer, const char *name, mr_bounded x, int rank,
                    const idx *dim) {
    mr_finding f;
    const idx n = mr_count(rank, dim);
    const mr_meta_part *part = layer < 0 ? mr_meta_rows(w->meta, name) : NULL;
    if (part != NULL) {
        step_rows(w, name, x, rank, dim, part);
        return;
    }
    if (!mr_replay_begin(w, layer, name, rank, dim, &f)) return;
    if (constant(x, n)) f.verdict = MR_TELLS_NOTHING;
    mr_replay_piece(w, &f, x, 0, n);
    mr_replay_end(w, &f);
}
