/* A model without weights: what a trace's meta says of it. Operations that need no weights can be
 * re-run with it; every other one has no bound. */
#ifndef MR_GOLDEN_PATHS_MODEL_H
#define MR_GOLDEN_PATHS_MODEL_H

#include "golden/replay_verify.h"

/* The configuration in the meta of a trace. MR_MISSING when there is none. `source` opens
 * messages. */
mr_status mr_bare_model_open(const char *source, const char *meta, mr_model *out, mr_err *err);
void      mr_bare_model_close(mr_model *model);

#endif
