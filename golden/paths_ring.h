/* The cache at the end of a run: which position every slot holds, by its values, and what it should
 * hold. Needs no weights. */
#ifndef MR_GOLDEN_PATHS_RING_H
#define MR_GOLDEN_PATHS_RING_H

#include "golden/replay_verify.h"

typedef enum {
    MR_RING_OTHER_POSITION,   /* its values are those of another position than cache_pos says */
    MR_RING_OTHER_SEQUENCE,   /* ... of another sequence */
    MR_RING_STALE,            /* ... of no row of this run */
    MR_RING_FOREIGN,          /* cache_pos names a position that the sequence does not have */
    MR_RING_TWICE,            /* two slots hold one position */
    MR_RING_MISSING           /* a position that the next token needs is in no slot */
} mr_ring_kind;

typedef struct {
    mr_ring_kind kind;
    idx          layer, sequence, slot;     /* slot within the sequence's, -1: none */
    int64_t      position;                  /* what cache_pos says, or what is missing */
    char         text[160];
} mr_ring_fault;

typedef struct {
    mr_ring_fault *list;
    idx            count, room;
    idx            layers, slots;           /* looked at, in use */
    idx            unclear;                 /* slots whose values fit several positions */
} mr_ring_report;

/* Checks every layer that has cache_k or cache_v, and k_rope or v. MR_OK also with faults;
 * MR_MISSING when no layer can be checked. config: its windows. */
mr_status mr_ring_check(const mr_config *config, const mr_meta *meta, mr_trace *port,
                        mr_ring_report *out, mr_err *err);
void      mr_ring_report_free(mr_ring_report *report);

#endif
