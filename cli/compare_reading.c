/* compare: a tensor whose elements are in another order, while what follows in the port reads it as
 * if they were in ours, is not a layout but the fault. */
#include "cli/compare.h"

#include <stdio.h>
#include <string.h>

mr_status mr_compare_keep_views(mr_comparison *c, mr_err *err) {
    c->as_stored = mr_alloc(c->map.count, (idx)sizeof *c->as_stored, err);
    for (idx i = 0; c->as_stored != NULL && i < c->map.count; i++)
        c->as_stored[i] = c->map.entry[i].view;
    c->stored = c->as_stored != NULL ? c->map.count : 0;
    return err->code;
}

static bool same_part(const char *a, const char *b) {
    idx layer;
    char part[MR_NAME_LIMIT];
    snprintf(part, sizeof part, "%s", mr_layout_part(a, &layer));
    return strcmp(part, mr_layout_part(b, &layer)) == 0;
}

/* Order of elements alone, not a place in a fused tensor. */
static bool is_order(const mr_layout_found *l) {
    return l->kind != MR_LAYOUT_FAULT && strstr(l->text, "in another order: ") != NULL;
}

/* Reads this part as it is stored in all layers that have a layout; a second call undoes it. False:
 * it has another number of elements, such as padding. */
static bool exchange(mr_comparison *c, const char *tensor) {
    bool any = false;
    for (idx i = 0; i < c->layouts.count; i++) {
        const mr_layout_found *l = &c->layouts.list[i];
        const idx at = mr_mapping_find(&c->map, l->tensor);
        if (!is_order(l) || !same_part(l->tensor, tensor) || at < 0 || at >= c->stored) continue;
        mr_view *now = &c->map.entry[at].view, other = c->as_stored[at];
        if (!mr_view_reshape(&other, now->rank, now->dim)) continue;
        c->as_stored[at] = *now;
        *now = other;
        any = true;
    }
    return any;
}

static const mr_finding *fault_at(const mr_verification *v, const char *name) {
    for (idx i = 0; i < v->count; i++)
        if (strcmp(v->list[i].name, name) == 0 && v->list[i].verdict == MR_FAULT)
            return &v->list[i];
    return NULL;
}

/* Is the operation that was wrong right in this reading, and the first fault, if any, the tensor
 * itself? */
static bool explains(mr_comparison *c, const char *tensor, const char *wrong, mr_err *err) {
    mr_verification v = {0};
    if (mr_mapping_trace(&c->map, &c->port, err) != MR_OK) return false;
    mr_verify(&c->model.model, &c->meta, c->port, &c->arithmetic, NULL, &v, err);
    const bool good = err->code == MR_OK && fault_at(&v, wrong) == NULL &&
                      (v.first < 0 || same_part(v.list[v.first].name, tensor));
    mr_verification_free(&v);
    return good;
}

/* Layouts of this part are no longer news. */
static void forget(mr_comparison *c, const char *tensor) {
    idx kept = 0;
    for (idx i = 0; i < c->layouts.count; i++)
        if (!is_order(&c->layouts.list[i]) || !same_part(c->layouts.list[i].tensor, tensor))
            c->layouts.list[kept++] = c->layouts.list[i];
    c->layouts.count = kept;
}

bool mr_compare_reading(mr_comparison *c, mr_err *err) {
    const mr_verification *v = &c->verification;
    char wrong[96], tensor[MR_NAME_LIMIT];
    bool changed = false;
    if (v->first < 0) return false;
    snprintf(wrong, sizeof wrong, "%s", v->list[v->first].name);
    for (idx i = 0; i < c->layouts.count && err->code == MR_OK; i++) {
        const mr_layout_found *l = &c->layouts.list[i];
        snprintf(tensor, sizeof tensor, "%s", l->tensor);
        if (!is_order(l) || same_part(tensor, wrong) || !exchange(c, tensor)) continue;
        changed = true;
        if (explains(c, tensor, wrong, err)) {
            snprintf(c->reading, sizeof c->reading, "it %s; what follows reads it as if it were in "
                     "ours", l->text);
            forget(c, tensor);
            return true;
        }
        exchange(c, tensor);
    }
    if (changed && err->code == MR_OK) mr_mapping_trace(&c->map, &c->port, err);
    return false;
}
