/* Opening a model: configuration, tensors, and the binding of one to the other. */
#include "weights/checkpoint.h"

#include <errno.h>
#include <string.h>

#include "weights/folder.h"
#include "weights/safetensors.h"

/* hf: the configuration was config.json, so its usual companions are looked for first. */
static mr_status open_weights(const char *folder, bool hf, mr_tensors *set, mr_err *err) {
    char *path = mr_folder_weights(folder, hf, err);
    mr_status status = path != NULL ? mr_safetensors_open(path, set, err) : MR_BAD;
    mr_free(path);
    return status;
}

/* File names only choose files; what the tensors are called decides how they are read. */
mr_status mr_checkpoint_open(const char *folder, mr_checkpoint *out, mr_err *err) {
    mr_config  config;
    mr_tensors set = {0};
    char       warning[sizeof out->warning];
    bool       both;
    *out = (mr_checkpoint){0};
    errno = 0;
    if (!mr_path_is_folder(folder))
        return mr_fail(err, MR_BAD, "%s: expected the folder of a checkpoint, found %s", folder,
                       errno == 0 ? "a file" : errno == ENOENT ? "nothing" : strerror(errno));
    char *path = mr_folder_config(folder, &both, err);
    mr_status status = path != NULL ? MR_OK : MR_BAD;
    if (status == MR_OK) status = mr_config_read(folder, &config, warning, sizeof warning, err);
    if (status == MR_OK) {
        const size_t length = strlen(path), tail = sizeof "config.json" - 1;
        const bool   hf = length >= tail && strcmp(path + length - tail, "config.json") == 0;
        status = open_weights(folder, hf, &set, err);
    }
    if (status == MR_OK) status = mr_checkpoint_bind(&set, &config, out, err);
    if (status == MR_OK) memcpy(out->warning, warning, sizeof warning);
    mr_free(path);
    return status;
}
