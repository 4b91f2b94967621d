/* Models made in memory: all native tensors of a configuration, filled by a formula. */
#ifndef MR_WEIGHTS_MAKE_H
#define MR_WEIGHTS_MAKE_H

#include "weights/names.h"

/* Fills one parameter, row-major, rows of wq and wk in native order. `name` is the native name. */
typedef void mr_fill(const void *user, mr_param param, const char *name, mr_dtype dtype,
                     void *data);

/* `source` names the maker in messages. */
mr_status mr_checkpoint_make(const mr_config *config, mr_dtype dtype, mr_fill *fill,
                             const void *user, const char *source, mr_checkpoint *out,
                             mr_err *err);

#endif
