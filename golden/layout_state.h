/* What recognition holds while it looks at one tensor. Private to golden/layout*.c. */
#ifndef MR_GOLDEN_LAYOUT_STATE_H
#define MR_GOLDEN_LAYOUT_STATE_H

#include "golden/layout.h"

#define MR_LAYOUT_WORDS 160
#define MR_LAYOUT_NEAR  0.0625   /* relative distance of equal tensors but for rounding */

typedef struct {
    mr_view view;
    double  distance;
    char    words[MR_LAYOUT_WORDS];
    bool    fault;
} mr_layout_try;

typedef struct {
    mr_mapping          *map;
    mr_trace        *golden;
    mr_layouts      *out;
    mr_err          *err;
    bool             half;         /* q and k of the port are declared half-split */
    bool             other;        /* ... and the golden trace has them in the other order */
    idx              at;           /* number of the golden tensor */
    const mr_tensor *want_shape;   /* its name and shape */
    const char      *part;
    idx              layer, count;
    double          *want;         /* [count] in the declared rotary order */
    mr_view          whole;        /* the source as it is */
    const mr_tensor *source_shape;
    double          *source;
    double           unit;         /* what the port's storage rounds by */
    /* candidates */
    mr_layout_try    best, second;
    bool             by_shape;     /* count candidates that fit the source's shape alone */
    const char      *wanted;       /* only the candidate with these words counts */
    idx              fits;
} mr_layout_search;

/* One candidate. The view's elements are compared with the golden tensor's. */
void mr_layout_consider(mr_layout_search *s, const mr_view *view, const char *words, bool fault);

/* Distance of n doubles: norm of the difference / norm, masked scores equal each other. */
double mr_layout_distance(const double *want, const double *got, idx n);

/* Candidates for a source that holds this tensor alone (layout_orders.c) or with others
 * (layout_fused.c), and for the rows of one expert. */
void mr_layout_orders(mr_layout_search *s);
void mr_layout_fused(mr_layout_search *s);
void mr_layout_experts(mr_layout_search *s);

/* layout_find.c: the candidate is a view of what the entry shows; together they are a view of the
 * source. */
void mr_layout_apply(mr_layout_search *s, mr_mapping_entry *entry, const mr_view *found);

/* layout_pairs.c: w1 and w3 under each other's names, or inside the computation; the K choices of
 * the router in another order. */
void mr_layout_gate_up(mr_layout_search *s, idx layer);
void mr_layout_choices(mr_layout_search *s, idx layer);

/* layout.c */
bool mr_layout_golden(mr_layout_search *s, const char *name);    /* loads want; false: absent */
bool mr_layout_source(mr_layout_search *s, const mr_view *view); /* loads source */
void mr_layout_note(mr_layout_search *s, mr_layout_kind kind, const char *words, double before,
                    double after);

#endif
