/* Sharded checkpoints: the index and the shards must tell the same story. */
#include "weights/shards.h"

#include <stdlib.h>
#include <string.h>

#include "weights/header.h"
#include "weights/json.h"
#include "weights/text.h"

/* The open shards, which own names and data of the merged set. */
typedef struct {
    idx         count;
    mr_tensors *set;
} shards;

/* The job: the index on one side, what is opened on the other. */
typedef struct {
    const char   *path;       /* of the index */
    const json_t *map;        /* tensor name -> file name */
    const json_t *metadata;   /* or NULL */
    const char  **file;       /* distinct file names, sorted, borrowed from `map` */
    idx           files;
    mr_err       *err;
} job;

/* Fine on what a failure left half made. */
static void release_shards(void *owner) {
    shards *s = owner;
    if (s == NULL) return;
    for (idx i = 0; i < s->count; i++) mr_tensors_close(&s->set[i]);
    mr_free(s->set);
    mr_free(s);
}

static int by_string(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A shard lies beside its index: an index from elsewhere must not make us open other people's
 * files. */
static bool plain_name(const char *name) {
    return name[0] != '\0' && strchr(name, '/') == NULL && strchr(name, '\\') == NULL &&
        strstr(name, "..") == NULL &&
           !mr_name_hostile(name);
}

/* Fills j->file with the distinct file names of the map. */
static mr_status collect_files(job *j) {
    const char *key;
    json_t     *value;
    idx         entries = (idx)json_object_size(j->map), n = 0;
    if (entries > MR_MAX_TENSORS)
        return mr_fail(j->err, MR_BAD, "%s: more than %td tensors", j->path, MR_MAX_TENSORS);
    j->file = mr_alloc(entries, sizeof *j->file, j->err);
    if (j->file == NULL) return MR_BAD;
    json_object_foreach((json_t *)j->map, key, value) {
        if (!json_is_string(value))
            return mr_fail(j->err, MR_BAD, "%s: weight_map: expected file names, found %s", j->path,
                           mr_json_kind(value));
        if (!plain_name(json_string_value(value)))
            return mr_fail(j->err, MR_BAD, "%s: weight_map names a file outside its folder; "
                           "expected plain file names without '/', '\\' and '..'", j->path);
        j->file[n++] = json_string_value(value);
    }
    qsort(j->file, (size_t)n, sizeof *j->file, by_string);
    for (idx i = 0; i < n; i++)
        if (i == 0 || strcmp(j->file[j->files - 1], j->file[i]) != 0)
            j->file[j->files++] = j->file[i];
    return MR_OK;
}

/* Opens file number i, whose tensors must all be placed there by the map. */
static mr_status open_shard(const job *j, idx i, mr_tensors *set) {
    const char *slash = strrchr(j->path, '/');
    idx         folder = slash != NULL ? slash + 1 - j->path : 0;
    mr_writer     path = {.err = j->err};
    mr_writer_bytes(&path, j->path, folder);
    mr_writer_bytes(&path, j->file[i], (idx)strlen(j->file[i]));
    mr_status status = path.status;
    if (status == MR_OK) status = mr_safetensors_open_one(path.data, set, j->err);
    for (idx t = 0; status == MR_OK && t < set->count; t++) {
        const char *place = json_string_value(json_object_get(j->map, set->tensor[t].name));
        if (place == NULL)
            status = mr_fail(j->err, MR_BAD, "%s: tensor '%.200s' of %s is not in the weight_map",
                             j->path, set->tensor[t].name, j->file[i]);
        else if (strcmp(place, j->file[i]) != 0)
            status = mr_fail(j->err, MR_BAD, "%s: tensor '%.200s' should be in %s, but is a "
                             "duplicate or misplaced in %s", j->path, set->tensor[t].name, place,
                             j->file[i]);
    }
    mr_writer_free(&path);
    return status;
}

/* One sorted table of all shards' tensors. No name can be there twice: each shard's names are
 * unique, and open_shard accepted each only where the map puts it. */
static mr_status merge(const job *j, const shards *s, mr_tensors *out) {
    idx total = 0, n = 0;
    for (idx i = 0; i < s->count; i++) total += s->set[i].count;   /* each is in the map */
    out->tensor = mr_alloc(total, sizeof *out->tensor, j->err);
    if (out->tensor == NULL) return MR_BAD;
    for (idx i = 0; i < s->count; i++)
        for (idx t = 0; t < s->set[i].count; t++) out->tensor[n++] = s->set[i].tensor[t];
    qsort(out->tensor, (size_t)n, sizeof *out->tensor, mr_tensor_by_name);
    out->count = n;
    return MR_OK;
}

/* Every entry of the map was found, and together they have the promised size. */
static mr_status check_complete(const job *j, const mr_tensors *set) {
    const char *key;
    json_t     *value;
    json_object_foreach((json_t *)j->map, key, value)
        if (mr_tensors_find(set, key) == NULL)
            return mr_fail(j->err, MR_BAD, "%s: tensor '%.200s' is missing from %s", j->path,
                           key, json_string_value(value));
    idx bytes = 0;
    for (idx i = 0; i < set->count; i++)
        bytes += mr_tensor_bytes(&set->tensor[i]);   /* all is mapped: it fits */
    const json_t *size = j->metadata != NULL ? json_object_get(j->metadata, "total_size") : NULL;
    if (size == NULL) return MR_OK;
    if (json_is_number(size) && json_number_value(size) == (double)bytes) return MR_OK;
    if (!json_is_number(size))
        return mr_fail(j->err, MR_BAD, "%s: metadata.total_size: expected a number, found %s",
                       j->path, mr_json_kind(size));
    return mr_fail(j->err, MR_BAD, "%s: metadata.total_size is %.0f, but the shards hold %td "
                   "bytes; fetch them again", j->path, json_number_value(size), bytes);
}

/* out->owner is set first, so that closing *out releases whatever was opened before a failure. */
static mr_status open_all(job *j, mr_tensors *out) {
    if (collect_files(j)) return MR_BAD;
    shards *s = mr_alloc(1, sizeof *s, j->err);
    if (s == NULL) return MR_BAD;
    out->owner = s;
    out->release = release_shards;
    out->source = mr_string_copy(j->path, j->err);
    s->set = mr_alloc(j->files, sizeof *s->set, j->err);
    if (out->source == NULL || s->set == NULL) return MR_BAD;
    for (; s->count < j->files; s->count++)
        if (open_shard(j, s->count, &s->set[s->count])) {
            mr_tensors_close(&s->set[s->count]);    /* not yet counted: release would not see it */
            return MR_BAD;
        }
    if (merge(j, s, out)) return MR_BAD;
    return check_complete(j, out);
}

/* The index is needed only while opening: the tensors point into the shards. */
mr_status mr_shards_open(const char *path, mr_tensors *out, mr_err *err) {
    json_t *root = NULL;
    job     j = {.path = path, .err = err};
    *out = (mr_tensors){0};
    mr_status status = mr_json_file(path, MR_JSON_HEADER_CAP, &root, err);
    if (status == MR_OK) {
        mr_json reader = {root, path, "", err, MR_OK};
        if (!json_is_object(root))
            status = mr_fail(err, MR_BAD, "%s: expected an object, found %s", path,
                             mr_json_kind(root));
        else if (mr_json_object(&reader, "weight_map", &j.map) != MR_JSON_FOUND)
            status = mr_fail(err, MR_BAD, "%s: weight_map is missing; expected a safetensors index",
                             path);
        else if (mr_json_object(&reader, "metadata", &j.metadata) == MR_JSON_WRONG)
            status = MR_BAD;
    }
    if (status == MR_OK) status = open_all(&j, out);
    if (status != MR_OK) mr_tensors_close(out);
    mr_free(j.file);
    json_decref(root);
    return status;
}
