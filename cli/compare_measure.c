/* Tensors for which no operation is re-run: their distance to the golden trace, without verdict. */
#include "cli/compare.h"

#include <string.h>

#include "golden/lookup.h"

static bool same_shape(const mr_tensor *a, const mr_tensor *b) {
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->dim[i] == b->dim[i];
    return same;
}

/* Significand bits of the port's storage. */
static int digits_of(mr_dtype dtype) {
    return dtype == MR_F64 ? 53 : dtype == MR_F16 ? 11 : dtype == MR_BF16 ? 8 : 24;
}

/* q and k of the golden trace in the rotary order of the port. */
static void turn(const mr_comparison *c, const mr_tensor *t, double *want) {
    static const char *const turned[] = {"q", "k", "q_rope", "k_rope", "cache_k"};
    const mr_rope_layout to = c->meta.rope_layout,
                         from = to == MR_HALF_SPLIT ? MR_INTERLEAVED : MR_HALF_SPLIT;
    const char *part;
    mr_name_layer(t->name, &part);
    for (int i = 0; i < 5 && c->other && t->rank == 3; i++)
        if (strcmp(part, turned[i]) == 0)
            mr_rope_relayout_f64(want, t->dim[0], t->dim[1], t->dim[2], from, to);
}

/* A mask that is added to the scores, 0 or far below, as the keys that it lets through: 1 or 0. */
static void read_added_mask(const mr_tensor *t, double *x, idx n) {
    const char *part;
    mr_name_layer(t->name, &part);
    bool added = strcmp(part, "mask") == 0 && (t->dtype == MR_F64 || t->dtype == MR_F32 ||
                                               t->dtype == MR_F16 || t->dtype == MR_BF16);
    for (idx i = 0; i < n && added; i++) added = x[i] == 0 || x[i] <= -1e4;
    for (idx i = 0; i < n && added; i++) x[i] = x[i] == 0;
}

/* want, got: room for the largest tensor that both traces may have. */
static mr_status measure(mr_comparison *c, idx at, mr_measured *m, double *want, double *got,
                         mr_err *err) {
    const mr_tensor *p = mr_trace_tensor(c->port, at);
    const idx g = mr_trace_find(c->golden, p->name), n = mr_count(p->rank, p->dim);
    const mr_gradient *own = mr_gradient_of(c, at);
    *m = (mr_measured){.name = p->name, .note = "", .elements = n, .reference = own != NULL};
    if (own != NULL) {
        m->distance = own->distance;
        return MR_OK;
    }
    if (g < 0) m->note = "not in the golden trace";
    else if (c->args->against != NULL && !c->same_run) m->note = "golden trace of another run";
    else if (!same_shape(mr_trace_tensor(c->golden, g), p)) m->note = "shapes differ";
    if (m->note[0] != '\0') return MR_OK;
    if (mr_trace_read(c->golden, g, want, err) || mr_trace_read(c->port, at, got, err))
        return err->code;
    turn(c, p, want);
    read_added_mask(p, got, n);
    m->distance = mr_compare(want, got, n, digits_of(p->dtype));
    return MR_OK;
}

mr_status mr_measure_rest(mr_comparison *c, mr_err *err) {
    const mr_verification *v = &c->verification;
    const idx all = mr_trace_count(c->port), own = mr_trace_largest(c->port),
              other = mr_trace_largest(c->golden), most = own < other ? own : other;
    mr_lookup names = {0};
    double *want = mr_alloc(most, sizeof *want, err), *got = mr_alloc(most, sizeof *got, err);
    for (idx i = 0; i < v->count && !c->bare && err->code == MR_OK; i++)
        mr_lookup_add(&names, v->list[i].name, i, err);
    if (err->code == MR_OK) c->measured = mr_alloc(all, sizeof *c->measured, err);
    for (idx i = 0; i < all && err->code == MR_OK; i++)
        if (mr_lookup_find(&names, mr_trace_tensor(c->port, i)->name) < 0)
            measure(c, i, &c->measured[c->count++], want, got, err);
    mr_free(want);
    mr_free(got);
    mr_lookup_free(&names);
    return err->code;
}
