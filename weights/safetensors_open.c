/* Opening safetensors: one mapped file becomes a set of tensors; an index names several. */
#include "weights/safetensors.h"

#include <string.h>

#include "weights/header.h"
#include "weights/shards.h"
#include "weights/text.h"

/* What one open file holds besides the sorted table. */
typedef struct {
    mr_map map;
    char  *names;
} mapped;

static void release_mapped(void *owner) {
    mapped *m = owner;
    if (m == NULL) return;
    mr_map_close(&m->map);
    mr_free(m->names);
    mr_free(m);
}

/* *out owns map and names from the start; one close undoes any part of it. */
mr_status mr_safetensors_open_one(const char *path, mr_tensors *out, mr_err *err) {
    mr_header header = {0};
    *out = (mr_tensors){0};
    mapped *m = mr_alloc(1, sizeof *m, err);
    if (m == NULL) return MR_BAD;
    *out = (mr_tensors){.owner = m, .release = release_mapped, .source = mr_string_copy(path, err)};

    mr_status status = out->source != NULL ? mr_map_open(&m->map, path, err) : MR_BAD;
    if (status == MR_OK) status = mr_header_read(path, m->map.data, m->map.bytes, &header, err);
    m->names = header.names;
    out->tensor = header.tensor;
    out->count = header.count;
    if (status != MR_OK) mr_tensors_close(out);
    return status;
}

/* An index is JSON by its name; no content is guessed at. */
mr_status mr_safetensors_open(const char *path, mr_tensors *out, mr_err *err) {
    size_t length = strlen(path);
    bool   index = length >= 5 && strcmp(path + length - 5, ".json") == 0;
    return index ? mr_shards_open(path, out, err) : mr_safetensors_open_one(path, out, err);
}
