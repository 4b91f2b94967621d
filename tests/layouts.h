/* Ports made from golden traces by index arithmetic of the tests' own. Include first: it asks for
 * POSIX. */
#ifndef MR_TESTS_LAYOUTS_H
#define MR_TESTS_LAYOUTS_H

#include "tests/scratch.h"

#include <math.h>

#include "golden/layout.h"

#define CASES "golden/cases/"

/* d=22 H=6 G=2 D=8 F=37 L=2 */
enum { T = 13, H = 6, G = 2, D = 8, F = 37, L = 2 };

/* Element i of the port's tensor is element at(i) of the golden one; the port's shape. */
typedef struct {
    const char *part;          /* "q": in every layer; a whole name: there only */
    idx       (*at)(idx i);
    int         rank;
    idx         dim[4];
    const char *as;            /* the port's part or name; NULL: the same */
} change;

static inline double *load(mr_trace *trace, const char *name, idx *n) {
    mr_err err = {0};
    const idx at = mr_trace_find(trace, name);
    if (at < 0) fail_msg("%s: absent", name);
    const mr_tensor *t = mr_trace_tensor(trace, at);
    *n = mr_count(t->rank, t->dim);
    double *x = malloc((size_t)(*n + 1) * sizeof *x);
    assert_non_null(x);
    if (mr_trace_read(trace, at, x, &err) != MR_OK) fail_msg("%s", err.text);
    return x;
}

static inline void put(mr_trace_writer *w, const char *name, int rank, const idx *dim,
                       const double *x) {
    mr_err err = {0};
    const idx n = mr_count(rank, dim);
    float *f = malloc((size_t)(n + 1) * sizeof *f);
    assert_non_null(f);
    for (idx i = 0; i < n; i++) f[i] = (float)x[i];
    mr_tensor t = {name, MR_F32, rank, {0}, f};
    memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    if (mr_trace_add(w, &t, &err) != MR_OK) fail_msg("%s", err.text);
    free(f);
}

static inline const change *change_of(const change *list, idx count, const char *name) {
    idx layer;
    const char *part = mr_layout_part(name, &layer);
    for (idx i = 0; i < count; i++)
        if (strcmp(list[i].part, name) == 0 || (layer >= 0 && strcmp(list[i].part, part) == 0))
            return &list[i];
    return NULL;
}

/* What the port says of its rotary order, if not what the golden trace does. */
static const char *said_layout;

/* port.npz: the golden trace in float32 with the changes, its meta, and what `more` adds. */
static inline void write_port_and(mr_trace *golden, const change *list, idx count,
                                  void (*more)(mr_trace *golden, mr_trace_writer *w)) {
    mr_err err = {0};
    mr_trace_writer *w;
    if (mr_trace_create(scratch("port.npz"), 1, &w, &err) != MR_OK) fail_msg("%s", err.text);
    for (idx i = 0; i < mr_trace_count(golden); i++) {
        const mr_tensor *t = mr_trace_tensor(golden, i);
        const change *c = change_of(list, count, t->name);
        idx n, layer;
        double *x = load(golden, t->name, &n);
        if (c == NULL) put(w, t->name, t->rank, t->dim, x);
        else if (c->at != NULL) {
            const idx m = mr_count(c->rank, c->dim);
            double *y = malloc((size_t)m * sizeof *y);
            char name[128];
            assert_non_null(y);
            for (idx k = 0; k < m; k++) y[k] = c->at(k) < 0 ? 7.5 : x[c->at(k)];
            mr_layout_part(t->name, &layer);
            if (c->as == NULL) snprintf(name, sizeof name, "%s", t->name);
            else snprintf(name, sizeof name, "layers.%td.%s", layer, c->as);
            put(w, name, c->rank, c->dim, y);
            free(y);
        }
        free(x);
    }
    if (more != NULL) more(golden, w);
    char meta[4096];
    const char *whole = mr_trace_meta(golden), *at = strstr(whole, "interleaved");
    snprintf(meta, sizeof meta, "%s", whole);
    if (said_layout != NULL)
        snprintf(meta, sizeof meta, "%.*s%s%s", (int)(at - whole), whole, said_layout,
                 at + strlen("interleaved"));
    if (mr_trace_finish(w, meta, &err) != MR_OK) fail_msg("%s", err.text);
}

static inline void write_port(mr_trace *golden, const change *list, idx count) {
    write_port_and(golden, list, count, NULL);
}

typedef struct {
    mr_trace  *golden, *port, *mapped;
    mr_mapping     map;
    mr_layouts found;
} result;

static inline void recognise(result *r, const char *golden, const char *port, const char *names) {
    mr_err err = {0};
    memset(r, 0, sizeof *r);
    if (mr_trace_open(golden, &r->golden, &err) || mr_trace_open(port, &r->port, &err) ||
        mr_mapping_open(names, r->golden, r->port, &r->map, &err) ||
        mr_layouts_find(&r->map, r->golden, &r->found, &err) ||
        mr_mapping_trace(&r->map, &r->mapped, &err)) fail_msg("%s: %s", port, err.text);
}

static inline void done(result *r) {
    mr_layouts_free(&r->found);
    assert_true(r->found.list == NULL && r->found.count == 0);
    mr_mapping_close(&r->map);
    mr_trace_close(r->port);
    mr_trace_close(r->golden);
}

/* Every mapped tensor equals the golden one but for float32. */
static inline void check_values(result *r, const char *part) {
    for (idx i = 0; i < mr_trace_count(r->golden); i++) {
        const mr_tensor *t = mr_trace_tensor(r->golden, i);
        idx n, m, layer;
        if (strcmp(mr_layout_part(t->name, &layer), part) != 0 && strcmp(t->name, part) != 0)
            continue;
        const idx at = mr_trace_find(r->mapped, t->name);
        if (at < 0) fail_msg("%s: not recognised", t->name);
        const mr_tensor *got = mr_trace_tensor(r->mapped, at);
        assert_int_equal(got->rank, t->rank);
        double *want = load(r->golden, t->name, &n), *found = load(r->mapped, t->name, &m);
        assert_int_equal(n, m);
        for (idx k = 0; k < n; k++) {
            const double w = isfinite(want[k]) ? want[k] : -3e38;
            const bool good = fabs(fmax(found[k], -3e38) - w) <= 0x1p-23 * fabs(w);
            if (!good) fail_msg("%s[%td]: %g, want %g", t->name, k, found[k], want[k]);
        }
        free(want);
        free(found);
    }
}

#endif
