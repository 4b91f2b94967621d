/* compare: the port under our names and in our order, and what its caches and masks show; the
 * verdict where no weights are given. */
#include "cli/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The port is read through the map when names or orders differ; else as it is. */
mr_status mr_compare_map(mr_comparison *c, mr_err *err) {
    mr_trace *mapped;
    const char *names = c->args->map;
    if (mr_mapping_open(names, c->golden, c->port, &c->map, err) || mr_compare_keep_views(c, err) ||
        mr_layouts_find(&c->map, c->golden, &c->layouts, err)) return err->code;
    bool plain = names == NULL && c->map.count == mr_trace_count(c->port);
    for (idx i = 0; plain && i < c->map.count; i++) {
        const mr_view *v = &c->map.entry[i].view;
        const mr_tensor *t = mr_trace_tensor(c->port, v->source);
        plain = mr_view_is_plain(v) && v->rank == t->rank;
        for (int a = 0; plain && a < v->rank; a++) plain = v->dim[a] == t->dim[a];
    }
    if (plain) return MR_OK;
    if (mr_mapping_trace(&c->map, &mapped, err) != MR_OK) return err->code;
    c->raw = c->port;
    c->port = mapped;
    return MR_OK;
}

/* ---- without weights ------------------------------------------------------------------------- */

/* The configuration of the golden trace's meta, else of the port's. MR_MISSING: neither has one. */
static mr_status open_bare(mr_comparison *c) {
    const char *golden = mr_trace_meta(c->golden), *port = mr_trace_meta(c->port);
    if (mr_bare_model_open(c->args->model, golden, &c->model.model, NULL) == MR_OK) return MR_OK;
    return mr_bare_model_open(c->args->file, port, &c->model.model, NULL);
}

mr_status mr_compare_bare(mr_comparison *c, mr_err *err) {
    c->bare = open_bare(c) == MR_OK;
    return c->bare ? MR_OK : mr_fail(err, MR_MISSING, "no configuration");
}

/* Every tensor of the port equals the golden one as far as its storage can hold it, or is not in
 * the golden trace; at least one does. */
static bool equal_but_for_storage(const mr_comparison *c) {
    idx equal = 0;
    for (idx i = 0; i < c->count; i++) {
        const mr_measured *m = &c->measured[i];
        if (m->note[0] != '\0' || !(m->distance.max_ulp <= 1)) return false;
        equal++;
    }
    return equal > 0;
}

/* What equals the golden trace is right, even where its inputs were rounded when they were recorded
 * and an operation re-run on them is beyond its bound. */
void mr_compare_without_weights(mr_comparison *c) {
    if (c->ring.count == 0 && equal_but_for_storage(c)) {
        mr_verification_free(&c->verification);
        memset(&c->causes, 0, sizeof c->causes);
        c->status = MR_OK;
    } else if (c->layouts.faults > 0) c->status = MR_DISAGREE;
    else if (c->status != MR_DISAGREE) c->status = MR_PROVES_NOTHING;
}

/* The first tensor, in execution order, that differs by more than storage; the one at which the
 * relative error grows most. -1: none. */
static void first_and_growth(const mr_comparison *c, idx *first, idx *growth, double *factor) {
    double before = 0;
    *first = *growth = -1;
    *factor = 0;
    for (idx i = 0; i < c->count; i++) {
        const mr_measured *m = &c->measured[i];
        if (m->note[0] != '\0') continue;
        if (*first < 0 && !(m->distance.max_ulp <= 1)) *first = i;
        const double now = m->distance.relative;
        if (before > 0 && !(now / before <= *factor)) *factor = now / before, *growth = i;
        if (isfinite(now) && now > before) before = now;
    }
}

void mr_advise_bare(const mr_comparison *c, mr_writer *out) {
    idx first, growth, judged = c->verification.count - c->verification.nothing;
    double factor;
    first_and_growth(c, &first, &growth, &factor);
    if (c->status == MR_OK) {
        mr_writer_add(out, "every tensor equals the golden one but for the rounding of its "
                      "storage; give --model MODEL to judge operations one by one");
        return;
    }
    mr_writer_add(out, "give --model MODEL for a verdict: without weights rounding cannot be told "
                  "from a fault");
    if (judged > 0)
        mr_writer_add(out, "; the %td tensors whose operation needs no weights are right", judged);
    if (first >= 0)
        mr_writer_add(out, "; the first that differs by more than its storage rounds is %s",
                      c->measured[first].name);
    if (growth >= 0 && factor > 1)
        mr_writer_add(out, "; the error grows most, %.2g times, at %s", factor,
                      c->measured[growth].name);
}

/* ---- caches and masks ------------------------------------------------------------------------ */

/* Was the attention of this layer found wrong, and not its scores? */
static idx attention_fault(const mr_comparison *c) {
    const mr_finding *f = mr_first_fault(c);
    const char *rest;
    const idx layer = f != NULL ? mr_name_layer(f->name, &rest) : -1;
    return layer >= 0 && strcmp(rest, "attention") == 0 ? layer : -1;
}

mr_status mr_compare_extras(mr_comparison *c, mr_err *err) {
    mr_err inner = {0};
    const mr_config *config = &c->model.model.config;
    mr_ring_check(config, &c->meta, c->port, &c->ring, &inner);
    const idx layer = attention_fault(c);
    if (layer >= 0 && inner.code == MR_OK)
        mr_keys_look(config, &c->meta, c->port, &c->arithmetic, layer, &c->seen, &inner);
    if (c->ring.count > 0 && (c->status == MR_OK || c->status == MR_PROVES_NOTHING))
        c->status = MR_DISAGREE;
    return inner.code != MR_OK ? mr_fail(err, inner.code, "%s", inner.text) : MR_OK;
}

void mr_compare_extras_free(mr_comparison *c) {
    mr_keys_free(&c->seen);
    mr_ring_report_free(&c->ring);
    mr_layouts_free(&c->layouts);
    mr_free(c->as_stored);
    mr_mapping_close(&c->map);
    if (c->bare) mr_bare_model_close(&c->model.model);
}

/* ---- reports --------------------------------------------------------------------------------- */

/* One line for each kind of layout: the same in every layer counts once. */
static bool told_before(const mr_layouts *all, idx i) {
    idx layer;
    const char *part = mr_layout_part(all->list[i].tensor, &layer);
    for (idx j = 0; j < i; j++)
        if (strcmp(mr_layout_part(all->list[j].tensor, &layer), part) == 0 &&
            strcmp(all->list[j].text, all->list[i].text) == 0) return true;
    return false;
}

void mr_say_layouts(const mr_comparison *c) {
    static const char *const labels[] = {"layout", "layout?", "fault"};
    for (idx i = 0; i < c->layouts.count; i++) {
        const mr_layout_found *l = &c->layouts.list[i];
        char text[1000], measure[96] = "";
        if (told_before(&c->layouts, i)) continue;
        if (l->after >= 0 && l->before >= 0)
            snprintf(measure, sizeof measure, "; so it is %.2g from the golden one, else %.2g",
                     l->after, l->before);
        else if (l->after >= 0)
            snprintf(measure, sizeof measure, "; so it is %.2g from the golden one", l->after);
        snprintf(text, sizeof text, "%s %s%s%s%s%s", l->tensor, l->text,
                 strcmp(l->tensor, l->source) != 0 ? " (the port's " : "",
                 strcmp(l->tensor, l->source) != 0 ? l->source : "",
                 strcmp(l->tensor, l->source) != 0 ? ")" : "", measure);
        mr_report_line(labels[l->kind], text);
    }
    if (c->layouts.count == 0 && c->verification.count == 0) {
        char text[500];
        mr_mapping_hint(&c->map, text, sizeof text);
        if (text[0] != '\0') mr_report_line("names", text);
    }
}

void mr_say_extras(const mr_comparison *c) {
    char text[400];
    for (idx i = 0; i < c->ring.count && i < 3; i++) {
        const mr_ring_fault *f = &c->ring.list[i];
        snprintf(text, sizeof text, "layer %td, sequence %td: %s", f->layer, f->sequence, f->text);
        mr_report_line(i == 0 ? "cache" : "", text);
    }
    if (c->ring.count > 3) {
        snprintf(text, sizeof text, "and %td more (--json)", c->ring.count - 3);
        mr_report_line("", text);
    }
    if (c->seen.summary[0] != '\0') mr_report_line("keys", c->seen.summary);
}

json_t *mr_json_layouts(const mr_comparison *c) {
    static const char *const kinds[] = {"layout", "unclear", "fault"};
    json_t *list = json_array();
    for (idx i = 0; i < c->layouts.count; i++) {
        const mr_layout_found *l = &c->layouts.list[i];
        const double none = (double)NAN;
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:s,s:o,s:o}", "tensor", l->tensor, "source", l->source,
                            "kind", kinds[l->kind], "text", l->text, "before",
                            mr_json_real(l->before >= 0 ? l->before : none), "after",
                            mr_json_real(l->after >= 0 ? l->after : none)));
    }
    return list;
}

json_t *mr_json_cache(const mr_comparison *c) {
    json_t *list = json_array();
    for (idx i = 0; i < c->ring.count; i++) {
        const mr_ring_fault *f = &c->ring.list[i];
        json_array_append_new(
            list, json_pack("{s:I,s:I,s:o,s:I,s:s}", "layer", (json_int_t)f->layer, "sequence",
                            (json_int_t)f->sequence, "slot",
                            f->slot >= 0 ? json_integer(f->slot) : json_null(), "position",
                            (json_int_t)f->position, "text", f->text));
    }
    return list;
}

json_t *mr_json_seen(const mr_comparison *c) {
    static const char *const kinds[] = {"rule", "range", "solved", "unknown"};
    json_t *list = json_array();
    for (idx i = 0; i < c->seen.count; i++) {
        const mr_keys_row *r = &c->seen.row[i];
        json_array_append_new(
            list, json_pack("{s:I,s:I,s:s,s:s,s:s,s:I}", "layer", (json_int_t)c->seen.layer, "row",
                            (json_int_t)r->row, "told_by", kinds[r->kind], "rule", r->rule, "keys",
                            r->keys, "sets_that_fit", (json_int_t)r->fits));
    }
    return list;
}
