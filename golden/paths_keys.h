/* Which keys every row really saw, told from q_rope, k_rope, v and the attention output alone. */
#ifndef MR_GOLDEN_PATHS_KEYS_H
#define MR_GOLDEN_PATHS_KEYS_H

#include "golden/replay_verify.h"

typedef enum {
    MR_SEEN_RULE,        /* what the mask says reproduces the row */
    MR_SEEN_RANGE,       /* a run of neighbouring keys does, the mask's keys do not */
    MR_SEEN_SOLVED,      /* keys solved for, then proved: no run does */
    MR_SEEN_UNKNOWN      /* no set of keys was found */
} mr_keys_kind;

typedef struct {
    mr_keys_kind kind;
    idx          row;            /* of the run */
    idx          count;          /* keys of the first set that fits */
    bool         last;           /* they are the last ones up to the row itself */
    idx          fits;           /* sets of the kind that fit: more than 1 cannot be told apart */
    char         rule[96], keys[160];   /* in words: "places 3 to 7", of the row's sequence */
} mr_keys_row;

typedef struct {
    mr_keys_row *row;            /* of rows that are not MR_SEEN_RULE */
    idx          count, rows, layer;
    char         summary[480];   /* "rows 5 to 12 see the last 6 keys instead of 5", or "" */
} mr_keys_seen;

/* Looks at one layer of the port. MR_MISSING when it lacks one of the four tensors. Rows of runs
 * longer than 512 tokens are compared with the rule and with windows only. */
mr_status mr_keys_look(const mr_config *config, const mr_meta *meta, mr_trace *port,
                       const mr_arithmetic *arithmetic, idx layer, mr_keys_seen *out, mr_err *err);
void      mr_keys_free(mr_keys_seen *seen);

#endif
