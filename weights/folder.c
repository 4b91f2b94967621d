/* The files of a checkpoint folder: the usual names first, then whatever single file fits. */
#define _POSIX_C_SOURCE 200809L

#include "weights/folder.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/text.h"

bool mr_path_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* What can not be looked at may be there: a writer must not take its place. */
bool mr_path_exists(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* FOLDER/NAME if it exists; NULL otherwise, and *status MR_BAD when that can not be told. */
static char *existing(const char *folder, const char *name, mr_status *status, mr_err *err) {
    struct stat about;
    char *path = mr_string_path(folder, name, err);
    if (path == NULL) *status = MR_BAD;
    if (path == NULL || stat(path, &about) == 0) return path;
    if (errno != ENOENT && errno != ENOTDIR)
        *status = mr_fail(err, MR_BAD, "%s: cannot read: %s", path, strerror(errno));
    mr_free(path);
    return NULL;
}

char *mr_folder_config(const char *folder, bool *both, mr_err *err) {
    mr_status status = MR_OK;
    char *hf = existing(folder, "config.json", &status, err);
    char *native = existing(folder, "params.json", &status, err);
    *both = hf != NULL && native != NULL;
    if (status == MR_OK && hf == NULL && native == NULL)
        mr_fail(err, MR_BAD, "%s: neither config.json nor params.json is there; expected the "
                "folder of a checkpoint", folder);
    char *chosen = status != MR_OK ? NULL : hf != NULL ? hf : native;
    if (hf != chosen)     mr_free(hf);
    if (native != chosen) mr_free(native);
    return chosen;
}

static bool ends_with(const char *name, const char *ending) {
    const size_t length = strlen(name), tail = strlen(ending);
    return length > tail && strcmp(name + length - tail, ending) == 0;
}

/* What a look through the folder finds when the usual names are absent. */
typedef struct {
    int  safetensors, pickles;
    char one[256];          /* the latest *.safetensors name */
    char pickle[256];
} listing;

/* Names too long for a message are left out of it. */
static void note(char *to, size_t size, const char *name) {
    const size_t length = strlen(name);
    if (length < size) memcpy(to, name, length + 1);
}

static mr_status list(const char *folder, listing *found, mr_err *err) {
    *found = (listing){0};
    DIR *dir = opendir(folder);
    if (dir == NULL) return mr_fail(err, MR_BAD, "%s: cannot open: %s", folder, strerror(errno));
    errno = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (ends_with(e->d_name, ".safetensors")) {
            found->safetensors++;
            note(found->one, sizeof found->one, e->d_name);
        } else if (ends_with(e->d_name, ".pth") || ends_with(e->d_name, ".pt") ||
                   ends_with(e->d_name, ".bin")) {
            found->pickles++;
            note(found->pickle, sizeof found->pickle, e->d_name);
        }
    }
    const int reason = errno;   /* only a failure sets it */
    closedir(dir);
    return reason == 0 ? MR_OK
                       : mr_fail(err, MR_BAD, "%s: cannot list: %s", folder, strerror(reason));
}

/* One file is no guess; several without an index are. Pickles are named with the way out of
 * them. */
static char *only_file(const char *folder, mr_err *err) {
    listing found;
    if (list(folder, &found, err)) return NULL;
    if (found.safetensors == 1 && found.one[0] != '\0')
        return mr_string_path(folder, found.one, err);
    if (found.safetensors > 1)
        mr_fail(err, MR_BAD, "%s: %d *.safetensors files and no model.safetensors.index.json; "
                "expected one file or an index", folder, found.safetensors);
    else if (found.pickles > 0)
        mr_fail(err, MR_BAD, "%s: %s is a pickle, which is a program and is never run here; "
                "convert it once in Python with safetensors.torch.save_file(torch.load(\"%s\", "
                "weights_only=True), \"consolidated.safetensors\")", folder, found.pickle,
                found.pickle);
    else
        mr_fail(err, MR_BAD, "%s: no *.safetensors file is there; expected model.safetensors or "
                "consolidated.safetensors", folder);
    return NULL;
}

/* Whole file before index, as Transformers has it. */
char *mr_folder_weights(const char *folder, bool hf, mr_err *err) {
    static const char *const names[2][3] = {
        {"consolidated.safetensors", "model.safetensors", "model.safetensors.index.json"},
        {"model.safetensors", "model.safetensors.index.json", "consolidated.safetensors"}};
    mr_status status = MR_OK;
    for (int i = 0; i < 3; i++) {
        char *path = existing(folder, names[hf ? 1 : 0][i], &status, err);
        if (path != NULL || status != MR_OK) return path;
    }
    return only_file(folder, err);
}
