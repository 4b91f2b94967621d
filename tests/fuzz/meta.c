/* Fuzzing meta, the JSON text with which a trace says how it was recorded. */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

#include "golden/replay_meta.h"

/* The ids are those of the text. */
static void check_ids(const char *text, const mr_meta *meta) {
    json_t *json = json_loads(text, 0, NULL), *list, *id;
    size_t b, i;
    idx t = 0;
    json_array_foreach(json_object_get(json, "tokens"), b, list)
        json_array_foreach(list, i, id) {
            FUZZ(json_is_integer(id) && json_integer_value(id) == meta->tokens[t]);
            t++;
        }
    FUZZ(t == meta->count);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_err err = {0};
    mr_meta meta;
    char *text = mr_alloc((idx)size + 1, 1, &err);
    FUZZ(text != NULL);
    if (size > 0) memcpy(text, data, size);
    const mr_status status = mr_meta_read("input", text, &meta, &err);
    if (status != MR_OK) fuzz_refused(status, &err);
    else {
        idx count = 0;
        for (idx i = 0; i < meta.n_seqs; i++) {
            FUZZ(meta.length[i] >= 0 && meta.first[i] >= 0);
            count += meta.length[i];
        }
        FUZZ(count == meta.count);
        check_ids(text, &meta);
        for (idx i = 0; i < meta.parts; i++)
            for (idx k = 0; k < meta.part[i].count; k++)
                FUZZ(meta.part[i].row[k] >= 0 && meta.part[i].row[k] < meta.count);
        mr_meta_free(&meta);
    }
    mr_free(text);
    return 0;
}
