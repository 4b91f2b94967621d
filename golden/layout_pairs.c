/* Two tensors at once: gate and up under each other's names or swapped in the computation, and the
 * router's choices in another order. */
#include <math.h>
#include <stdio.h>

#include "golden/layout_state.h"

/* Loads the golden tensor of the layer and the port's of `source`; false: one is missing or their
 * sizes differ. */
static bool load(mr_layout_search *s, idx layer, const char *want, const char *source) {
    char name[MR_NAME_LIMIT];
    snprintf(name, sizeof name, "layers.%td.%s", layer, source);
    const idx at = mr_mapping_find(s->map, name);
    snprintf(name, sizeof name, "layers.%td.%s", layer, want);
    return at >= 0 && mr_layout_golden(s, name) &&
           mr_layout_source(s, &s->map->entry[at].view) &&
           mr_view_count(&s->map->entry[at].view) == s->count;
}

static double distance(mr_layout_search *s, idx layer, const char *want, const char *source) {
    return load(s, layer, want, source) ? mr_layout_distance(s->want, s->source, s->count)
                                        : (double)INFINITY;
}

static double silu(double x) { return x / (1 + exp(-x)); }

/* How far the port's act is from silu(w3) * w1 of the golden trace. */
static double swapped_distance(mr_layout_search *s, idx layer) {
    if (!load(s, layer, "w1", "act")) return (double)INFINITY;
    double *gate = s->want, result = (double)INFINITY;
    s->want = NULL;   /* kept while w3 is loaded */
    if (load(s, layer, "w3", "act")) {
        for (idx i = 0; i < s->count; i++) gate[i] *= silu(s->want[i]);
        result = mr_layout_distance(gate, s->source, s->count);
    }
    mr_free(gate);
    return result;
}

static void exchange(mr_layout_search *s, idx layer) {
    char name[MR_NAME_LIMIT];
    snprintf(name, sizeof name, "layers.%td.w1", layer);
    const idx a = mr_mapping_find(s->map, name);
    snprintf(name, sizeof name, "layers.%td.w3", layer);
    const idx b = mr_mapping_find(s->map, name);
    const mr_view view = s->map->entry[a].view;
    s->map->entry[a].view = s->map->entry[b].view;
    s->map->entry[b].view = view;
}

/* Are the names exchanged, and nothing else, or is the computation? act tells, or what follows. */
void mr_layout_gate_up(mr_layout_search *s, idx layer) {
    const double plain = fmin(distance(s, layer, "w1", "w1"), distance(s, layer, "w3", "w3"));
    const double other = fmax(distance(s, layer, "w1", "w3"), distance(s, layer, "w3", "w1"));
    const double act = distance(s, layer, "act", "act"), swapped = swapped_distance(s, layer);
    double after = isfinite(act) ? act : distance(s, layer, "ffn_out", "ffn_out");
    if (!isfinite(after)) after = distance(s, layer, "h", "h");
    if (swapped <= MR_LAYOUT_NEAR && act > 8 * swapped + MR_LAYOUT_NEAR &&
        load(s, layer, "act", "act")) {
        mr_layout_note(s, MR_LAYOUT_FAULT, "is silu(w3 x) * w1 x: w1 and w3 are swapped inside the "
                       "computation", act, swapped);
    } else if (other <= MR_LAYOUT_NEAR && plain > 8 * other + MR_LAYOUT_NEAR) {
        const bool names = after <= MR_LAYOUT_NEAR;
        if (names) exchange(s, layer);
        if (load(s, layer, "w1", names ? "w1" : "w3"))
            mr_layout_note(s, names ? MR_LAYOUT_FOUND : MR_LAYOUT_UNCLEAR,
                           names ? "has the name of w3, and w3 that of w1"
                                 : "has the values of w3 and w3 those of w1; whether only the "
                                   "names are exchanged or the computation too, act would tell",
                           plain, other);
    }
}

/* ---- choices --------------------------------------------------------------------------------- */

/* Places of the port's row in the order of the golden one; false: the sets differ. */
static bool sort_row(const double *want, const double *got, idx K, idx base, idx *pick) {
    for (idx k = 0; k < K; k++) {
        idx found = -1;
        for (idx j = 0; j < K; j++)
            if (got[j] == want[k]) found = found < 0 ? j : -2;
        if (found < 0) return false;
        pick[k] = base + found;
    }
    return true;
}

/* Are the port's weights in the new order the golden ones, to eight roundings of its type or 1e-4?
 * Choices that differ because an earlier tensor does have other weights. */
static bool weights_follow(mr_layout_search *s, idx layer, const idx *pick) {
    if (!load(s, layer, "router_weights", "router_weights")) return false;
    double error = 0, norm = 0;
    for (idx i = 0; i < s->count; i++) {
        const double e = s->want[i] - s->source[pick[i]];
        error += e * e;
        norm += s->want[i] * s->want[i];
    }
    return error <= norm * (8 * s->unit) * (8 * s->unit) + 1e-8 * norm;
}

void mr_layout_choices(mr_layout_search *s, idx layer) {
    if (!load(s, layer, "router_experts", "router_experts") || s->want_shape->rank != 2) return;
    const idx K = s->want_shape->dim[1], rows = s->want_shape->dim[0];
    idx moved = 0, *pick = mr_mapping_block(s->map, s->count, s->err);
    for (idx t = 0; pick != NULL && t < rows; t++) {
        idx *row = pick + t * K;
        const bool same = sort_row(s->want + t * K, s->source + t * K, K, t * K, row);
        for (idx k = 0; k < K; k++) {
            if (!same) row[k] = t * K + k;
            moved += row[k] != t * K + k;
        }
    }
    if (pick == NULL || moved == 0 || !weights_follow(s, layer, pick)) return;
    if (!load(s, layer, "router_experts", "router_experts")) return;
    const mr_view order = {.scale = 1, .rank = 2, .dim = {rows, K}, .pick = pick};
    static const char *const parts[] = {"router_experts", "router_weights"};
    for (int i = 0; i < 2; i++) {
        char name[MR_NAME_LIMIT];
        snprintf(name, sizeof name, "layers.%td.%s", layer, parts[i]);
        mr_layout_apply(s, &s->map->entry[mr_mapping_find(s->map, name)], &order);
    }
    mr_layout_note(s, MR_LAYOUT_FOUND, "has the chosen experts of a token in another order",
                   mr_layout_distance(s->want, s->source, s->count), 0);
}
