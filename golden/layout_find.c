/* Recognition of layouts: every order that ports are known to use is tried on the values. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/layout_state.h"
#include "golden/replay_meta.h"

#define APART 8.0   /* another order is excluded when it is so many times farther away */

/* Same elements in the same order, only cut into axes differently. */
static bool only_reshaped(const mr_tensor *a, const mr_tensor *b) {
    idx x = 1, y = 1;
    int i = a->rank - 1, j = b->rank - 1;
    bool first = false, second = false;   /* whose boundary the other lacks */
    while (i >= 0 || j >= 0) {
        if (x == y && i >= 0 && j >= 0) x *= a->dim[i--], y *= b->dim[j--];
        else if ((x < y && i >= 0) || j < 0) x *= a->dim[i--], first = first || x < y;
        else y *= b->dim[j--], second = second || y < x;
    }
    return x == y && !(first && second);
}

void mr_layout_apply(mr_layout_search *s, mr_mapping_entry *entry, const mr_view *found) {
    mr_view v = *found;
    v.source = entry->view.source;
    if (!mr_view_is_plain(&entry->view)) {
        idx *pick = mr_mapping_block(s->map, s->count, s->err);
        if (pick == NULL) return;
        for (idx i = 0; i < s->count; i++) {
            const idx at = mr_view_place(found, i);
            pick[i] = at < 0 ? -1 : mr_view_place(&entry->view, at);
        }
        v.pick = pick;
        v.scale *= entry->view.scale;
    }
    entry->view = v;
}

static void reshape(mr_layout_search *s, mr_mapping_entry *entry) {
    mr_view_reshape(&entry->view, s->want_shape->rank, s->want_shape->dim);
}

/* What one search learnt holds for the same part of other layers, where values cannot tell. */
typedef struct {
    char   part[MR_NAME_LIMIT], words[MR_LAYOUT_WORDS];
    idx    elements;
    bool   plain;
} lesson;

typedef struct {
    lesson list[64];
    int    count;
} lessons;

static lesson *learnt(lessons *all, const char *part, idx elements) {
    for (int i = 0; i < all->count; i++)
        if (strcmp(all->list[i].part, part) == 0 && all->list[i].elements == elements)
            return &all->list[i];
    return NULL;
}

static void learn(lessons *all, const mr_layout_search *s, const char *words, bool plain) {
    const idx elements = mr_count(s->source_shape->rank, s->source_shape->dim);
    if (all->count == 64 || learnt(all, s->part, elements) != NULL) return;
    lesson *l = &all->list[all->count++];
    snprintf(l->part, sizeof l->part, "%s", s->part);
    snprintf(l->words, sizeof l->words, "%s", words);
    l->elements = elements;
    l->plain = plain;
}

/* Orders are named by nouns; the places in a fused tensor are sentences already. */
static const char *verb(const char *words) {
    return strncmp(words, "is ", 3) == 0 ? "" : "is in another order: ";
}

/* No order brings the values near: another layer's order, or what the shape alone says. */
static void without_values(mr_layout_search *s, mr_mapping_entry *entry, lessons *all) {
    const idx elements = mr_count(s->source_shape->rank, s->source_shape->dim);
    const lesson *l = learnt(all, s->part, elements);
    const bool nested = only_reshaped(s->source_shape, s->want_shape);
    if (l == NULL && nested) reshape(s, entry);
    if (l != NULL ? l->plain : nested) return;
    s->wanted = l != NULL ? l->words : NULL;
    s->by_shape = l == NULL;
    mr_layout_orders(s);
    if (s->fits != 1) return;
    mr_layout_apply(s, entry, &s->best.view);
    char words[MR_LAYOUT_WORDS + 64];
    snprintf(words, sizeof words, "%s%s (told by %s)", verb(s->best.words), s->best.words,
             l != NULL ? "another layer" : "its shape alone");
    mr_layout_note(s, MR_LAYOUT_UNCLEAR, words, -1, -1);
}

/* Heads that lie apart in what attention gives, but not in its queries: no port does that, a wrong
 * choice of kv heads looks like it. */
static bool contradicted(const mr_layout_search *s, lessons *all) {
    static const char *const queries[] = {"q", "q_rope"}, *const results[] = {"scores", "probs",
                                                                              "attention"};
    bool result = false, plain = false;
    for (int i = 0; i < 3; i++) result = result || strcmp(s->part, results[i]) == 0;
    for (int i = 0; i < all->count; i++)
        for (int k = 0; k < 2; k++)
            plain = plain || (strcmp(all->list[i].part, queries[k]) == 0 &&
                              strstr(all->list[i].words, "far apart") == NULL);
    return result && plain && strstr(s->best.words, "far apart") != NULL;
}

/* The best candidate against the tensor as it is and against the next best. */
static void settle(mr_layout_search *s, mr_mapping_entry *entry, double plain, lessons *all) {
    const double limit = APART * s->best.distance + 64 * s->unit;
    if (plain <= limit || contradicted(s, all)) {
        reshape(s, entry);
        if (plain <= limit) learn(all, s, "", true);
        return;
    }
    const double before = isfinite(plain) ? plain : -1;
    if (s->best.fault) {
        mr_layout_note(s, MR_LAYOUT_FAULT, s->best.words, before, s->best.distance);
        return;
    }
    char words[2 * MR_LAYOUT_WORDS + 48];
    const bool unclear = s->second.distance <= limit;
    snprintf(words, sizeof words, "%s%s%s%s", verb(s->best.words), s->best.words,
             unclear ? ", or " : "",
             unclear ? s->second.words : "");
    mr_layout_apply(s, entry, &s->best.view);
    learn(all, s, s->best.words, false);
    mr_layout_note(s, unclear ? MR_LAYOUT_UNCLEAR : MR_LAYOUT_FOUND, words, before,
                   s->best.distance);
}

/* The port has the tensor under this name: in which order? */
static void own_name(mr_layout_search *s, mr_mapping_entry *entry, lessons *all) {
    if (!mr_layout_source(s, &entry->view)) return;
    const bool count = mr_view_count(&entry->view) == s->count;
    const double plain = count ? mr_layout_distance(s->want, s->source, s->count)
                               : (double)INFINITY;
    if (plain <= 64 * s->unit) {
        reshape(s, entry);
        learn(all, s, "", true);
        return;
    }
    mr_layout_orders(s);
    mr_layout_experts(s);
    if (plain <= MR_LAYOUT_NEAR && plain < s->best.distance) s->best.distance = plain;
    if (s->best.distance <= MR_LAYOUT_NEAR) settle(s, entry, plain, all);
    else without_values(s, entry, all);
}

/* Nobody has the name: is it part of a tensor whose name means nothing? */
static void no_name(mr_layout_search *s) {
    mr_layout_try best = {.distance = MR_LAYOUT_NEAR};
    idx from = -1;
    for (idx i = 0; i < s->map->count; i++) {
        const mr_mapping_entry *e = &s->map->entry[i];
        idx layer;
        mr_layout_part(e->name, &layer);
        if (e->known || (layer >= 0 && layer != s->layer) ||
            mr_view_count(&e->view) < s->count || !mr_layout_source(s, &e->view)) continue;
        mr_layout_fused(s);
        mr_layout_experts(s);
        if (s->best.distance < best.distance) best = s->best, from = i;
    }
    if (from < 0) return;
    const mr_view whole = s->map->entry[from].view;
    s->source_shape = mr_trace_tensor(s->map->port, whole.source);
    if (mr_mapping_add(s->map, s->want_shape->name, &whole, s->err) != MR_OK) return;
    mr_layout_apply(s, &s->map->entry[s->map->count - 1], &best.view);
    mr_layout_note(s, MR_LAYOUT_FOUND, best.words, -1, best.distance);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void read_declared(mr_layout_search *s) {
    mr_meta port = {0}, golden = {0};
    const bool own = mr_meta_read("", mr_trace_meta(s->map->port), &port, NULL) == MR_OK,
               ours = mr_meta_read("", mr_trace_meta(s->golden), &golden, NULL) == MR_OK;
    const bool golden_half = ours && golden.rope_layout == MR_HALF_SPLIT;
    s->half = own ? port.rope_layout == MR_HALF_SPLIT : golden_half;
    s->other = s->half != golden_half;
    mr_meta_free(&port);
    mr_meta_free(&golden);
}

mr_status mr_layouts_find(mr_mapping *map, mr_trace *golden, mr_layouts *out, mr_err *err) {
    mr_err inner = {0};
    mr_layout_search s = {.map = map, .golden = golden, .out = out, .err = &inner};
    lessons *all = mr_alloc(1, (idx)sizeof *all, &inner);
    *out = (mr_layouts){0};
    read_declared(&s);
    for (idx i = 0; i < map->sizes.L && inner.code == MR_OK; i++) {
        mr_layout_choices(&s, i);
        mr_layout_gate_up(&s, i);
    }
    for (idx i = 0; i < mr_trace_count(golden) && inner.code == MR_OK && all != NULL; i++) {
        const char *name = mr_trace_tensor(golden, i)->name;
        if (!mr_layout_golden(&s, name)) continue;
        const idx at = mr_mapping_find(map, name);
        if (at >= 0) own_name(&s, &map->entry[at], all);
        else no_name(&s);
    }
    mr_free(all);
    mr_free(s.want);
    mr_free(s.source);
    return inner.code != MR_OK ? mr_fail(err, inner.code, "%s", inner.text) : MR_OK;
}

void mr_layouts_free(mr_layouts *layouts) {
    mr_free(layouts->list);
    *layouts = (mr_layouts){0};
}
