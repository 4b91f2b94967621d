/* Coordinates of an element by the name and shape of its tensor: token, head, rotary pair, ... */
#include "golden/report.h"

#include <stdlib.h>
#include <string.h>

idx mr_name_layer(const char *name, const char **rest) {
    char *end;
    *rest = name;
    if (strncmp(name, "layers.", 7) != 0) return -1;
    const long layer = strtol(name + 7, &end, 10);
    if (end == name + 7 || *end != '.') return -1;
    *rest = end + 1;
    return (idx)layer;
}

/* Name without its layer; a gradient has the axes of its tensor. */
static const char *part_of(const mr_profile *p) {
    const char *rest;
    mr_name_layer(strncmp(p->name, "grad.", 5) == 0 ? p->name + 5 : p->name, &rest);
    return rest;
}

/* Tensors of rank 3 are [T,heads,D], but [H,T,S] where keys come into it. */
static bool of_keys(const mr_profile *p) {
    const char *rest = part_of(p);
    return p->rank == 3 && (strcmp(rest, "scores") == 0 || strcmp(rest, "probs") == 0);
}

static bool rotated(const mr_profile *p) {
    const char *rest = part_of(p);
    return strcmp(rest, "q") == 0 || strcmp(rest, "k") == 0 || strcmp(rest, "q_rope") == 0 ||
           strcmp(rest, "k_rope") == 0;
}

idx mr_coordinate(const mr_profile *p, mr_axis_kind axis, idx i, mr_rope_layout layout) {
    const idx last = p->rank > 0 ? p->dim[p->rank - 1] : 1, inner = i % last, outer = i / last;
    const bool keys = of_keys(p);
    if (p->rank == 2) return axis == MR_BY_ROW ? outer : axis == MR_BY_CHANNEL ? inner : -1;
    if (p->rank != 3) return p->rank == 1 && axis == MR_BY_CHANNEL ? inner : -1;
    switch (axis) {
    case MR_BY_ROW: return keys ? outer % p->dim[1] : outer / p->dim[1];
    case MR_BY_HEAD: return keys ? outer / p->dim[1] : outer % p->dim[1];
    case MR_BY_PAIR:
        if (!rotated(p)) return -1;
        return layout == MR_HALF_SPLIT ? inner % (last / 2) : inner / 2;
    case MR_BY_CHANNEL: return keys ? -1 : inner;
    case MR_BY_KEY: return keys ? inner : -1;
    default: return -1;
    }
}
