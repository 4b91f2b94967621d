/* compare --json: the result as one document. Fields: docs/FORMATS.md, "compare --json". */
#include "cli/compare.h"

#include <math.h>

static json_t *taken(mr_writer *text) {
    json_t *string = text->data != NULL ? json_string(text->data) : json_null();
    mr_writer_free(text);
    return string != NULL ? string : json_null();   /* a path that is not UTF-8 */
}

static json_t *path(const char *name) {
    json_t *string = name != NULL ? json_string(name) : NULL;
    return string != NULL ? string : json_null();
}

static json_t *where(int64_t at) { return at >= 0 ? json_integer(at) : json_null(); }

/* The errors of a tensor along each axis that it has. */
static json_t *axes(const mr_profile *p) {
    static const char *const names[] = {"row", "head", "pair", "channel", "key"};
    json_t *by = json_object();
    for (int a = 0; p != NULL && a < MR_AXES; a++) {
        if (p->axis[a].size <= 0) continue;
        json_t *worst = json_array();
        for (idx b = 0; b < p->axis[a].bins; b++)
            json_array_append_new(worst, mr_json_real(p->axis[a].worst[b]));
        json_object_set_new(by, names[a],
                            json_pack("{s:I,s:o}", "size", (json_int_t)p->axis[a].size, "ratio",
                                      worst));
    }
    return by;
}

static json_t *shape(const mr_profile *p) {
    json_t *list = json_array();
    for (int i = 0; p != NULL && i < p->rank; i++)
        json_array_append_new(list, json_integer(p->dim[i]));
    return list;
}

static json_t *tensor(const mr_comparison *c, const mr_finding *f) {
    const mr_profile *p = mr_profile_of(c, f);
    const double none = (double)NAN;
    json_t *t = json_pack(
        "{s:s,s:s,s:o,s:I,s:I,s:o,s:o,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:f}", "tensor",
        f->name, "verdict", mr_verdict_word(c, f), "shape", shape(p), "elements",
        (json_int_t)f->elements, "beyond", (json_int_t)f->beyond, "ratio", mr_json_real(f->ratio),
        "statistical_ratio", mr_json_real(f->likely), "worst", (json_int_t)f->worst, "expected",
        mr_json_real(f->expected), "found", mr_json_real(f->found), "bound",
        mr_json_real(f->bound), "statistical_bound", mr_json_real(f->likely_bound), "introduced",
        mr_json_real(p != NULL ? p->introduced : none), "inherited",
        mr_json_real(p != NULL ? p->inherited : none), "total",
        mr_json_real(p != NULL ? p->total : none), "note", f->note, "by", axes(p),
        "recording_unit", f->recording.unit);
    mr_writer command = {0};
    if (f->verdict != MR_FAULT) return t;
    mr_reproduce(c, f, &command);
    json_object_set_new(t, "reproduce", taken(&command));
    return t;
}

static json_t *fault(const mr_comparison *c) {
    const mr_finding *f = mr_first_fault(c);
    if (f == NULL) return json_null();
    const char *tag, *what = mr_operation(f->name, &tag);
    const mr_spot at = mr_spot_of(c, f);
    const idx first = c->verification.first;
    json_t *t = tensor(c, f);
    json_object_update_new(
        t, json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "operation", what,
                     "equation", tag, "after",
                     first > 0 ? json_string(c->verification.list[first - 1].name) : json_null(),
                     "layer", where(at.layer), "row", where(at.row), "sequence",
                     where(at.sequence), "token", where(at.id), "position", where(at.position),
                     "head", where(at.head), "pair", where(at.pair), "channel", where(at.channel),
                     "key", where(at.key)));
    return t;
}

static json_t *measured(const mr_comparison *c) {
    json_t *list = json_array();
    for (idx i = 0; i < c->count; i++) {
        const mr_measured *m = &c->measured[i];
        json_t *one = json_pack("{s:s,s:s,s:I,s:s}", "tensor", m->name, "verdict",
                                m->note[0] != '\0' ? "not compared" : "measured", "elements",
                                (json_int_t)m->elements, "note", m->note);
        if (m->note[0] == '\0')
            json_object_update_new(one, json_pack("{s:s,s:o,s:o,s:I}", "against",
                                                  m->reference ? "reference" : "golden", "relative",
                                                  mr_json_real(m->distance.relative), "largest",
                                                  mr_json_real(m->distance.max_abs), "differ",
                                                  (json_int_t)m->distance.differ));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *gradients(const mr_comparison *c) {
    const mr_gradients *g = &c->gradients;
    double worst = 0;
    if (g->count == 0) return json_null();
    for (idx i = 0; i < g->count; i++)
        if (!(g->list[i].distance.relative <= worst)) worst = g->list[i].distance.relative;
    return json_pack("{s:I,s:I,s:o,s:o,s:b}", "measured", (json_int_t)g->count, "beyond",
                     (json_int_t)g->beyond, "largest", mr_json_real(worst), "tolerance",
                     mr_json_real(mr_gradient_tolerance(&c->arithmetic)), "other_experts",
                     g->otherwise);
}

static json_t *masks(const mr_comparison *c) {
    json_t *list = json_array();
    for (idx l = 0; l < c->report.layers; l++)
        if (c->report.seen[l].known)
            json_array_append_new(list, json_pack("{s:I,s:I,s:I}", "layer", (json_int_t)l,
                                                  "unseen", (json_int_t)c->report.seen[l].unseen,
                                                  "forbidden",
                                                  (json_int_t)c->report.seen[l].forbidden));
    return list;
}

static json_t *margins(const mr_comparison *c) {
    json_t *list = json_array();
    for (idx l = 0; l < c->report.layers; l++)
        if (c->report.margins[l].known)
            json_array_append_new(list, json_pack("{s:I,s:o}", "layer", (json_int_t)l, "least",
                                                  mr_json_real(c->report.margins[l].least)));
    return list;
}

static json_t *flips(const mr_comparison *c) {
    const mr_report *r = &c->report;
    const idx shown = r->chosen < MR_SHOWN_EXPERTS ? r->chosen : MR_SHOWN_EXPERTS;
    json_t *list = json_array();
    for (idx i = 0; i < r->flips && i < MR_MAX_FLIPS; i++) {
        const mr_flip *f = &r->flip[i];
        json_array_append_new(
            list, json_pack("{s:I,s:I,s:o,s:o,s:o,s:b}", "layer", (json_int_t)f->layer, "row",
                            (json_int_t)f->token, "expected", mr_json_ids(f->expected, shown),
                            "found", mr_json_ids(f->port, shown), "gap", mr_json_real(f->gap),
                            "explained", f->explained));
    }
    return list;
}

static json_t *summary(const mr_comparison *c) {
    const mr_verification *v = &c->verification;
    idx faults = v->faults, explained = v->explained, known = 0;
    if (c->causes.harmless) explained += faults, faults = 0;
    for (idx i = 0; i < c->count; i++) known += c->measured[i].note[0] == '\0';
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "tensors", (json_int_t)v->count,
                     "agree", (json_int_t)(v->count - faults - explained - v->nothing), "faults",
                     (json_int_t)faults, "explained", (json_int_t)explained, "prove_nothing",
                     (json_int_t)(v->nothing - mr_count_needing(c)), "need_weights",
                     (json_int_t)mr_count_needing(c), "measured", (json_int_t)known, "not_compared",
                     (json_int_t)(c->count - known), "largest_ratio",
                     mr_json_real(mr_largest_ratio(c)));
}

json_t *mr_compare_json(const mr_comparison *c, mr_err *err) {
    const mr_verification *v = &c->verification;
    const mr_finding *first = mr_first_fault(c);
    json_t *list = json_array(), *causes = json_array();
    mr_writer advice = {.err = err};
    for (idx i = 0; i < v->count; i++) json_array_append_new(list, tensor(c, &v->list[i]));
    for (idx i = 0; i < c->causes.count; i++)
        json_array_append_new(causes, json_string(c->causes.proved[i].name));
    mr_advise(c, &advice);
    return json_pack(
        "{s:s,s:s,s:i,s:s,s:o,s:o,s:o,s:o,s:o,s:s,s:s,s:b,s:o,s:s?,s:o,s:o,s:b,s:I,s:o,s:o,s:o,s:o,"
        "s:o,s:o,s:o,s:o,s:o,s:s?}",
        "format", "mistral-ref compare 1", "program", "mistral-ref " MR_VERSION, "status",
        (int)c->status, "verdict", mr_overall(c), "advice", taken(&advice), "golden",
        path(c->args->model), "port", path(c->args->file), "model", path(c->args->against), "only",
        path(c->args->only), "stored", c->store, "sums", c->sum, "same_run", c->same_run, "summary",
        summary(c), "first_fault", first != NULL ? first->name : NULL, "fault", fault(c), "causes",
        causes, "harmless", c->causes.harmless, "hypotheses_tried", (json_int_t)c->causes.tried,
        "masks", masks(c), "margins", margins(c), "flips", flips(c), "tensors", list, "measured",
        measured(c), "layouts", mr_json_layouts(c), "cache", mr_json_cache(c), "keys",
        mr_json_seen(c), "gradients", gradients(c), "reading",
        c->reading[0] != '\0' ? c->reading : NULL);
}
