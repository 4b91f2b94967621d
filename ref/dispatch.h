/* Which copy of which token goes to which expert: integers only, the same for both precisions. */
#ifndef MR_REF_DISPATCH_H
#define MR_REF_DISPATCH_H

#include "ref/config.h"

/* How the rows are fed to the experts. Both give the same bits in the plain engine. */
typedef enum {
    MR_DISPATCH_GROUPED,  /* all rows of one expert at once (MegaBlocks "grouped") */
    MR_DISPATCH_NAIVE     /* token by token, slot by slot */
} mr_dispatch;

/* Copies per expert that a capacity factor allows, 0: no limit.  (M5) floor(factor * K * T / E) */
idx mr_capacity(double factor, idx T, idx E, idx K);

/* (M4) stable sort of the T*K copies (flat index token*K + slot) by expert.
 * copy: [T*K] the sorted copies  place: [T*K] where each copy went, -1 when dropped  bin: [E+1]
 * expert e owns copy[bin[e]..bin[e+1]) capacity > 0 keeps the first `capacity` copies of each
 * expert, ranked token-major or slot-major. */
void mr_dispatch_sort(idx *copy, idx *place, idx *bin, const int32_t *experts, idx T, idx E, idx K,
                      idx capacity, mr_capacity_rank rank);

#endif
