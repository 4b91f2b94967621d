/* safetensors files: u64 header length, JSON header, data. Format: docs/FORMATS.md (from the
 * format's own README). */
#ifndef MR_WEIGHTS_SAFETENSORS_H
#define MR_WEIGHTS_SAFETENSORS_H

#include "weights/tensors.h"

/* Maps one .safetensors file, or all shards named by a model.safetensors.index.json; tensor data
 * stay in the map. Every rule of the format is checked before anything is used: MR_BAD with file,
 * tensor, expected, found. */
mr_status mr_safetensors_open(const char *path, mr_tensors *out, mr_err *err);

/* Writes `count` tensors and the metadata pairs (key, value, key, value, NULL; or NULL) to `path`:
 * complete in a temporary file, fsync, rename, so that an older file survives any failure. Names
 * must be unique. */
mr_status mr_safetensors_save(const char *path, const mr_tensor *tensor, idx count,
                              const char *const *metadata, mr_err *err);

#endif
