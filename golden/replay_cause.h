/* Causes: which single fault of the reference makes it do what the port does. */
#ifndef MR_GOLDEN_REPLAY_CAUSE_H
#define MR_GOLDEN_REPLAY_CAUSE_H

#include "golden/replay_verify.h"

#define MR_MAX_CAUSES 8

/* Each proved fault reproduces every tensor of the port within its bound, with bounds that are not
 * much wider than those of the model as it is; the best fit comes first,
 * and faults that fit more than ten times worse by the statistical bound are left out. */
typedef struct {
    idx      tried, count;
    mr_fault proved[MR_MAX_CAUSES];
    double   fit[MR_MAX_CAUSES];      /* largest error / statistical bound of any tensor */
    bool     harmless;                /* the best is a convention that no output shows */
} mr_causes;

/* Tries every hypothesis that can act on the first faulty tensor. A cause is proved when the
 * verification of the port against the faulty reference has no fault left. */
mr_status mr_find_causes(const mr_model *model, const mr_meta *meta, mr_trace *port,
                         const mr_arithmetic *arithmetic, const mr_verification *found,
                         mr_causes *out, mr_err *err);

#endif
