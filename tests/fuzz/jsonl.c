/* Fuzzing JSON Lines: objects until the end or the first line that is none. */
#include "tests/fuzz/fuzz.h"

#include "weights/jsonl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_err err = {0};
    mr_jsonl lines;
    json_t *object = NULL;
    size_t most = 1;
    for (size_t i = 0; i < size; i++) most += data[i] == '\n';
    FUZZ_OK(mr_jsonl_open(&lines, fuzz_file("input.jsonl", data, size), &err), &err);
    mr_status status;
    while ((status = mr_jsonl_next(&lines, &object, &err)) == MR_OK && object != NULL) {
        FUZZ(json_is_object(object));
        FUZZ(lines.line >= 1 && (size_t)lines.line <= most);
        json_decref(object);
    }
    FUZZ(object == NULL);
    if (status != MR_OK) fuzz_refused(status, &err);
    mr_jsonl_close(&lines);
    return 0;
}
