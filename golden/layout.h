/* Layouts: in which order a port keeps the elements of a tensor, told by comparing values with the
 * golden trace. A layout says nothing about right or wrong; the comparison goes on through it. */
#ifndef MR_GOLDEN_LAYOUT_H
#define MR_GOLDEN_LAYOUT_H

#include "golden/map.h"

typedef enum {
    MR_LAYOUT_FOUND,      /* the values are there, in this order; only this one fits */
    MR_LAYOUT_UNCLEAR,    /* other orders fit as well, or only the shape speaks for this one */
    MR_LAYOUT_FAULT       /* an order that a right program does not have */
} mr_layout_kind;

typedef struct {
    mr_layout_kind kind;
    char           tensor[MR_NAME_LIMIT], source[MR_NAME_LIMIT];   /* our name; the port's */
    char           text[400];     /* "is in another order: heads before tokens" */
    double         before, after; /* relative distance from the golden tensor; before: -1 if the
                                   * shapes differ */
} mr_layout_found;

typedef struct {
    mr_layout_found *list;
    idx        count, room, faults;
} mr_layouts;

/* Looks at every tensor of the golden trace and changes the map where the port has it in another
 * order, under a fused tensor, or exchanged with another. A tensor that matches as it is, or in no
 * known order, is left as it is. */
mr_status mr_layouts_find(mr_mapping *map, mr_trace *golden, mr_layouts *out, mr_err *err);
void      mr_layouts_free(mr_layouts *layouts);

/* The part of a name after "layers.N.", or the name; *layer is -1 without one. */
const char *mr_layout_part(const char *name, idx *layer);

#endif
