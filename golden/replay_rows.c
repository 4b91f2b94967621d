/* Tensors of which a port recorded some rows only, as logits under generate(): meta's `rows`. */
#include <string.h>

#include "golden/replay_meta.h"
#include "weights/header.h"
#include "weights/json.h"
#include "weights/text.h"

static mr_status read_part(const char *source, const char *name, const json_t *list, idx T,
                           mr_meta_part *part, mr_err *err) {
    part->count = (idx)json_array_size(list);
    part->name = mr_string_copy(name, err);
    if (part->name == NULL) return MR_BAD;
    part->row = mr_alloc(part->count, (idx)sizeof *part->row, err);
    if (part->row == NULL) return MR_BAD;
    for (idx i = 0; i < part->count; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        part->row[i] = mr_json_idx(value);
        const idx least = i > 0 ? part->row[i - 1] + 1 : 0;
        if (!json_is_integer(value) || part->row[i] < least || part->row[i] >= T)
            return mr_fail(err, MR_BAD,
                           "%s: meta: rows of %.100s: number %td is not a row of %td tokens after "
                           "the one before; record the trace again", source,
                           name, i, T);
    }
    return MR_OK;
}

mr_status mr_meta_read_rows(const char *source, const json_t *json, mr_meta *m, mr_err *err) {
    const json_t *rows = json_object_get(json, "rows");
    const idx n = (idx)json_object_size(rows);
    if (n == 0) return MR_OK;
    m->part = mr_alloc(n, sizeof *m->part, err);
    if (m->part == NULL) return MR_BAD;
    for (void *at = json_object_iter((json_t *)(uintptr_t)rows); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)rows, at))
        if (read_part(source, json_object_iter_key(at), json_object_iter_value(at), m->count,
                      &m->part[m->parts++], err) != MR_OK) return MR_BAD;
    return MR_OK;
}

const mr_meta_part *mr_meta_rows(const mr_meta *m, const char *name) {
    for (idx i = 0; i < m->parts; i++)
        if (strcmp(m->part[i].name, name) == 0) return &m->part[i];
    return NULL;
}

void mr_meta_free_rows(mr_meta *m) {
    for (idx i = 0; i < m->parts; i++) {
        mr_free(m->part[i].name);
        mr_free(m->part[i].row);
    }
    mr_free(m->part);
}
