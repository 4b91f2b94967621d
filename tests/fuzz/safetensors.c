/* Fuzzing the safetensors header: what opens has tensors inside the file, and writing it and
 * opening it again gives the same tensors. */
#include "tests/fuzz/fuzz.h"

#include "weights/header.h"
#include "weights/safetensors.h"

static size_t bytes_of(const mr_tensor *t) {
    return (size_t)(mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype));
}

static void same(const mr_tensor *a, const mr_tensor *b) {
    FUZZ(strcmp(a->name, b->name) == 0 && a->dtype == b->dtype && a->rank == b->rank);
    for (int i = 0; i < a->rank; i++) FUZZ(a->dim[i] == b->dim[i]);
    FUZZ(memcmp(a->data, b->data, bytes_of(a)) == 0);
}

static void again(const mr_header *header) {
    mr_err err = {0};
    mr_tensors set;
    const char *path = fuzz_path("again.safetensors");
    FUZZ_OK(mr_safetensors_save(path, header->tensor, header->count, NULL, &err), &err);
    FUZZ_OK(mr_safetensors_open(path, &set, &err), &err);
    FUZZ(set.count == header->count);
    for (idx i = 0; i < set.count; i++) same(&header->tensor[i], &set.tensor[i]);
    mr_tensors_close(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_err err = {0};
    mr_header header;
    const mr_status status = mr_header_read("input", data, (idx)size, &header, &err);
    if (status != MR_OK) {
        FUZZ(header.count == 0 && header.tensor == NULL && header.names == NULL);
        fuzz_refused(status, &err);
        return 0;
    }
    for (idx i = 0; i < header.count; i++) {
        const mr_tensor *t = &header.tensor[i];
        const uint8_t *at = t->data;
        FUZZ(at >= data && at <= data + size && bytes_of(t) <= (size_t)(data + size - at));
        FUZZ(i == 0 || strcmp(header.tensor[i - 1].name, t->name) < 0);
    }
    again(&header);
    mr_header_free(&header);
    return 0;
}
