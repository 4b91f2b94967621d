/* Finding and reading a tokenizer file, in plain C: no folder listing, only names to try.
 *
 * C99 has neither folders nor file sizes. Both are avoided rather than fetched from the operating
 * system: a path is a folder if a file of a known name opens below it, and a file is read until it
 * ends. Every open stream is closed and every path freed by the function that asked for it. */
#include "tokenizer/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/tokenizer.h"
#include "weights/input.h"

/* The names under which models of this family are published, Mistral's own formats. "m1" marks the
 * variant for models with images; the text part is the same. */
static const char *const names[] = {
    "tokenizer.model.v1",   "tokenizer.model.v2",   "tokenizer.model.v3",   "tokenizer.model.v7",
    "tokenizer.model.v1m1", "tokenizer.model.v2m1", "tokenizer.model.v3m1", "tokenizer.model.v7m1",
    "tokenizer.model",      "tekken.json",
};
enum { NAMES = sizeof names / sizeof names[0], PLAIN = NAMES - 2 /* the name without a version */ };

void mr_tokenizer_file_free(mr_tokenizer_file *file) {
    mr_free(file->path);
    mr_free(file->bytes);
    *file = (mr_tokenizer_file){0};
}

/* "folder/name", or a copy of "folder" when name is empty. NULL when memory is short. */
static char *joined(const char *folder, const char *name, mr_err *err) {
    idx length = (idx)strlen(folder), extra = (idx)strlen(name) + 2, room; /* slash and NUL */
    if (!mr_add(length, extra, &room)) room = MR_IDX_MAX;
    char *path = mr_alloc(room, 1, err);
    if (path == NULL) return NULL;
    bool slash = extra > 2 && length > 0 && folder[length - 1] != '/';
    memcpy(path, folder, (size_t)length);
    if (slash) path[length++] = '/';
    memcpy(path + length, name, (size_t)extra - 1);
    return path;
}

/* Opens folder/name if it is there. MR_OK with *stream NULL when it is not: absence is no failure
 * here. On success the caller owns *stream and *path. */
static mr_status try_name(const char *folder, const char *name, FILE **stream, char **path,
                          mr_err *err) {
    *stream = NULL;
    *path = joined(folder, name, err);
    if (*path == NULL) return MR_BAD;
    *stream = mr_input_open(*path);
    if (*stream != NULL) return MR_OK;
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    if (!absent) mr_fail(err, MR_BAD, "%s: cannot open: %s", *path, strerror(errno));
    mr_free(*path);
    *path = NULL;
    return absent ? MR_OK : MR_BAD;
}

/* The tokenizer inside a folder. `path` may as well be a file: then no name below it exists and
 * *stream stays NULL. Repositories on the hub often carry the same vocabulary twice, as
 * tokenizer.model and as tokenizer.model.v3: the second name is the better one, for it tells the
 * version. Two versions, or a tokenizer.model and a tekken.json, are two vocabularies, and guessing
 * would be wrong half of the time. */
static mr_status find_in_folder(const char *folder, FILE **stream, char **path, mr_err *err) {
    mr_status status = MR_OK;
    const char *first = NULL;
    *stream = NULL;
    *path = NULL;
    for (int i = 0; i < NAMES && status == MR_OK; i++) {
        FILE *other;
        char *name;
        if (i == PLAIN && first != NULL) continue;
        status = try_name(folder, names[i], &other, &name, err);
        if (other == NULL) continue; /* also after a failure: the loop condition ends it */
        if (first != NULL) { /* the first one stays open: the caller closes it */
            fclose(other);
            status = mr_fail(err, MR_BAD, "%s: has both %s and %s; give the path of the one to use",
                             folder, first, names[i]);
            mr_free(name);
        } else {
            first = names[i];
            *stream = other;
            *path = name;
        }
    }
    if (status == MR_OK && first == NULL)
        status = try_name(folder, "tokenizer.json", stream, path, err);
    return status;
}

bool mr_tokenizer_there(const char *path) {
    FILE *stream;
    char *name;
    const mr_status status = find_in_folder(path, &stream, &name, NULL);
    if (stream != NULL) fclose(stream);
    mr_free(name);
    return status != MR_OK || stream != NULL;
}

/* Reads to the end. Grows as bytes arrive instead of asking for the size first: that also works
 * for pipes, and a size that was asked for could be out of date. */
static mr_status read_all(FILE *stream, mr_tokenizer_file *file, mr_err *err) {
    idx room = 0;
    for (;;) {
        if (file->size == room) {
            if (room > MR_TOKENIZER_FILE_MAX)
                return mr_fail(err, MR_BAD, "%s: larger than %td MiB, which no tokenizer is; "
                               "check that this is the right file", file->path,
                               MR_TOKENIZER_FILE_MAX >> 20);
            /* The limit is checked before memory is asked for, at every step.
             * The last step allows one byte more than the limit, to see that there is one. */
            room = room == 0 ? (idx)1 << 14 : 2 * room;
            if (room > MR_TOKENIZER_FILE_MAX) room = MR_TOKENIZER_FILE_MAX + 1;
            char *bytes = mr_resize(file->bytes, room, 1, err);
            if (bytes == NULL) return MR_BAD;
            file->bytes = bytes;
        }
        size_t got = mr_input_read(file->bytes + file->size, (size_t)(room - file->size), stream);
        if (got == 0) break; /* the end, or an error, told apart below */
        file->size += (idx)got;
    }
    /* Opening a folder succeeds on many systems, reading it does not. */
    if (ferror(stream))
        return mr_fail(err, MR_BAD, "%s: cannot be read as a file (%s); a folder must hold a "
                       "tokenizer.model, tokenizer.model.vN, tekken.json or tokenizer.json",
                       file->path, strerror(errno));
    return MR_OK;
}

/* The one door in and out: whatever happens, the stream is closed, and on failure nothing is left
 * in *file. */
mr_status mr_tokenizer_file_read(const char *path, mr_tokenizer_file *file, mr_err *err) {
    FILE *stream = NULL;
    *file = (mr_tokenizer_file){0};
    mr_status status = find_in_folder(path, &stream, &file->path, err);
    if (status == MR_OK && stream == NULL) { /* not a folder with a tokenizer: a file, then */
        status = try_name(path, "", &stream, &file->path, err);
        if (status == MR_OK && stream == NULL)
            status = mr_fail(err, MR_BAD, "%s: cannot open (%s); expected a tokenizer file, or a "
                             "folder with tokenizer.model, tokenizer.model.vN, tekken.json or "
                             "tokenizer.json", path, strerror(errno));
    }
    if (status == MR_OK) status = read_all(stream, file, err);
    if (stream != NULL) fclose(stream);
    if (status != MR_OK) mr_tokenizer_file_free(file);
    return status;
}
