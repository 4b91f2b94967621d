/* Checkpoints in several files: model.safetensors.index.json says which tensor is in which
 * shard. */
#ifndef MR_WEIGHTS_SHARDS_H
#define MR_WEIGHTS_SHARDS_H

#include "weights/tensors.h"

/* Opens all shards of an index. Their tensors are the index's, each in the shard it says, none
 * twice. */
mr_status mr_shards_open(const char *path, mr_tensors *out, mr_err *err);

/* One file without an index. */
mr_status mr_safetensors_open_one(const char *path, mr_tensors *out, mr_err *err);

#endif
