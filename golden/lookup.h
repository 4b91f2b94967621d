/* Names: a set of them with a number each, searched in constant time, and their endings. */
#ifndef MR_GOLDEN_LOOKUP_H
#define MR_GOLDEN_LOOKUP_H

#include "ref/base.h"

typedef struct {
    const char *name;    /* borrowed; NULL: a free slot */
    idx         value;
} mr_lookup_slot;

/* Open addressing, at most half full. {0} is the empty set. */
typedef struct {
    idx      count, slots;   /* slots: 0 or a power of two */
    mr_lookup_slot *slot;
} mr_lookup;

/* The number given with the name, -1 when it is not in the set. */
idx mr_lookup_find(const mr_lookup *names, const char *name);

/* Adds a name that is not in the set. The text must stay where it is as long as the set. */
mr_status mr_lookup_add(mr_lookup *names, const char *name, idx value, mr_err *err);

/* True when the text ends so; .npz, .cache_k and other endings of names carry meaning. */
bool mr_ends_with(const char *text, const char *ending);

void mr_lookup_free(mr_lookup *names);   /* {0} afterwards */

#endif
