/* Which files of a folder are the checkpoint. */
#ifndef MR_WEIGHTS_FOLDER_H
#define MR_WEIGHTS_FOLDER_H

#include "ref/base.h"

bool mr_path_is_folder(const char *path);
bool mr_path_exists(const char *path);

/* FOLDER/config.json or, without one, FOLDER/params.json; *both tells that both are there.
 * NULL with a message when there is neither. The caller frees. */
char *mr_folder_config(const char *folder, bool *both, mr_err *err);

/* The weights: *hf asks for model.safetensors, its index, then consolidated.safetensors, otherwise
 * the other way round; then the only *.safetensors file there is. NULL with a message. The caller
 * frees. */
char *mr_folder_weights(const char *folder, bool hf, mr_err *err);

#endif
