/* Slots of a cache against the rows they were copied from. */
#include "golden/paths_ring.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const mr_config *config;
    const mr_meta   *meta;
    mr_trace        *port;
    mr_ring_report  *out;
    mr_err          *err;
    idx              layer, slots, width;     /* slots of one sequence */
    double          *cached[2], *row[2];      /* k, v; NULL: not recorded */
    double          *held;                    /* cache_pos, NULL: not recorded */
    double           unit;                    /* what the cache's type rounds by */
} ring;

static void fault(ring *r, mr_ring_kind kind, idx sequence, idx slot, int64_t position,
                  const char *format, ...) {
    mr_ring_report *o = r->out;
    va_list args;
    if (o->count == o->room) {
        mr_ring_fault *grown = mr_resize(o->list, 2 * o->room + 16, (idx)sizeof *grown, r->err);
        if (grown == NULL) return;
        o->list = grown;
        o->room = 2 * o->room + 16;
    }
    mr_ring_fault *f = &o->list[o->count++];
    *f = (mr_ring_fault){.kind = kind, .layer = r->layer, .sequence = sequence, .slot = slot,
                         .position = position};
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

/* Loads layers.N.part if it has `rank` axes; *dim is its first. */
static double *load(ring *r, const char *part, int rank, idx *dim, double *unit) {
    char name[64];
    snprintf(name, sizeof name, "layers.%td.%s", r->layer, part);
    const idx at = mr_trace_find(r->port, name);
    if (at < 0 || r->err->code != MR_OK) return NULL;
    const mr_tensor *t = mr_trace_tensor(r->port, at);
    const idx n = mr_count(t->rank, t->dim);
    if (t->rank != rank || n == 0 || (rank == 3 && n / t->dim[0] != r->width)) return NULL;
    *dim = t->dim[0];
    if (unit != NULL)
        *unit = t->dtype == MR_BF16 ? 0x1p-8 : t->dtype == MR_F16 ? 0x1p-11 : 0x1p-24;
    double *x = mr_alloc(n, (idx)sizeof *x, r->err);
    if (x != NULL && mr_trace_read(r->port, at, x, r->err) != MR_OK) {
        mr_free(x);
        return NULL;
    }
    return x;
}

/* Does the slot hold this row of the run, rounded to the cache's type at most? */
static bool holds(const ring *r, idx slot, idx row) {
    bool same = true;
    for (int part = 0; part < 2 && same; part++) {
        if (r->cached[part] == NULL) continue;
        const double *x = r->cached[part] + slot * r->width, *y = r->row[part] + row * r->width;
        for (idx i = 0; same && i < r->width; i++)
            same = x[i] == y[i] || (isnan(x[i]) && isnan(y[i])) ||
                   fabs(x[i] - y[i]) <= r->unit * fabs(y[i]);
    }
    return same;
}

static bool empty(const ring *r, idx slot) {
    for (int part = 0; part < 2; part++)
        for (idx i = 0; r->cached[part] != NULL && i < r->width; i++)
            if (r->cached[part][slot * r->width + i] != 0) return false;
    return true;
}

static idx sequence_of(const mr_meta *m, idx row, idx *base) {
    idx b = 0;
    for (*base = 0; row >= *base + m->length[b]; ) *base += m->length[b++];
    return b;
}

/* The row that the slot holds among all of the run, first those of the sequence; -1: none. */
static idx row_of(ring *r, idx slot, idx base, idx length) {
    idx found = -1, fits = 0;
    for (idx t = base; t < base + length; t++)
        if (holds(r, slot, t)) found = t, fits++;
    r->out->unclear += fits > 1;
    for (idx t = 0; found < 0 && t < r->meta->count; t++)
        if (holds(r, slot, t)) found = t;
    return found;
}

/* One slot in use: its position as said, -1 when it holds none that can be counted. */
static int64_t check_slot(ring *r, idx b, idx base, idx i) {
    const mr_meta *m = r->meta;
    const idx slot = b * r->slots + i, length = m->length[b];
    const int64_t said = r->held != NULL ? (int64_t)r->held[slot] : -1;
    if (r->held != NULL ? said < 0 : empty(r, slot)) return -1;
    r->out->slots++;
    const idx row = base + (idx)(said - m->first[b]);
    if (r->held != NULL && (said < m->first[b] || said >= m->first[b] + length)) {
        fault(r, MR_RING_FOREIGN, b, i, said, "slot %td says position %lld, which sequence %td "
              "does not have", i, (long long)said, b);
        return -1;
    }
    if (r->held != NULL && holds(r, slot, row)) return said;
    const idx found = row_of(r, slot, base, length);
    idx start = 0;
    const idx owner = found >= 0 ? sequence_of(m, found, &start) : -1;
    const int64_t position = found >= 0 ? m->first[owner] + (found - start) : -1;
    char claim[64] = "";
    if (r->held != NULL)
        snprintf(claim, sizeof claim, "says position %lld but ", (long long)said);
    if (found < 0) {
        fault(r, MR_RING_STALE, b, i, said, "slot %td %sholds values of no token of this run", i,
              claim);
        return -1;
    }
    if (owner != b)
        fault(r, MR_RING_OTHER_SEQUENCE, b, i, said, "slot %td %sholds position %lld of sequence "
              "%td", i, claim, (long long)position, owner);
    else if (r->held != NULL)
        fault(r, MR_RING_OTHER_POSITION, b, i, said, "slot %td %sholds position %lld", i, claim,
              (long long)position);
    return owner == b ? position : -1;
}

/* The next token sees the last window - 1 positions, or all. */
static void check_coverage(ring *r, idx b, const int64_t *position) {
    const mr_meta *m = r->meta;
    const idx window = mr_config_window(r->config, r->layer), length = m->length[b];
    const idx needed = window > 0 && window - 1 < length ? window - 1 : length;
    for (idx a = length - needed; a < length; a++) {
        const int64_t p = m->first[b] + a;
        idx slots = 0, last = -1, before = -1;
        for (idx i = 0; i < r->slots; i++)
            if (position[i] == p) slots++, before = last, last = i;
        if (slots == 0)
            fault(r, MR_RING_MISSING, b, -1, p, "position %lld is in no slot, and the next token "
                  "sees it", (long long)p);
        if (slots > 1)
            fault(r, MR_RING_TWICE, b, last, p, "position %lld is in slots %td and %td",
                  (long long)p, before, last);
    }
}

static void check_layer(ring *r) {
    const mr_meta *m = r->meta;
    const idx slots = r->slots;
    int64_t *position = mr_alloc(slots, (idx)sizeof *position, r->err);
    if (position == NULL) return;
    r->slots /= m->n_seqs;
    for (idx b = 0, base = 0; b < m->n_seqs && r->slots * m->n_seqs == slots;
         base += m->length[b++]) {
        for (idx i = 0; i < r->slots; i++) position[i] = check_slot(r, b, base, i);
        check_coverage(r, b, position);
    }
    r->out->layers += r->slots * m->n_seqs == slots;
    mr_free(position);
}

static void open_layer(ring *r) {
    static const char *const parts[][2] = {{"cache_k", "k_rope"}, {"cache_v", "v"}};
    idx slots[2] = {0, 0}, rows = 0, held = 0;
    for (int part = 0; part < 2; part++) {
        r->cached[part] = load(r, parts[part][0], 3, &slots[part], &r->unit);
        r->row[part] = load(r, parts[part][1], 3, &rows, NULL);
        if (r->cached[part] != NULL && r->row[part] != NULL && rows == r->meta->count) continue;
        mr_free(r->cached[part]);
        mr_free(r->row[part]);
        r->cached[part] = r->row[part] = NULL;
        slots[part] = 0;
    }
    r->held = load(r, "cache_pos", 1, &held, NULL);
    r->slots = slots[0] > 0 ? slots[0] : slots[1];
    const bool usable = r->slots > 0 && (slots[0] == 0 || slots[1] == 0 || slots[0] == slots[1]) &&
                        (r->held == NULL || held == r->slots);
    if (usable && r->err->code == MR_OK) check_layer(r);
    for (int part = 0; part < 2; part++) {
        mr_free(r->cached[part]);
        mr_free(r->row[part]);
    }
    mr_free(r->held);
}

mr_status mr_ring_check(const mr_config *config, const mr_meta *meta, mr_trace *port,
                        mr_ring_report *out, mr_err *err) {
    mr_err inner = {0};
    ring r = {.config = config, .meta = meta, .port = port, .out = out, .err = &inner,
              .width = config->n_kv_heads * config->head_dim};
    *out = (mr_ring_report){0};
    for (; r.layer < config->n_layers && inner.code == MR_OK; r.layer++) open_layer(&r);
    if (inner.code != MR_OK) return mr_fail(err, inner.code, "%s", inner.text);
    return out->layers > 0 ? MR_OK : MR_MISSING;
}

void mr_ring_report_free(mr_ring_report *report) {
    mr_free(report->list);
    *report = (mr_ring_report){0};
}
