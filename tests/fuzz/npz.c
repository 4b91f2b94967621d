/* Fuzzing .npz archives: every member that can be read is what a second archive made of it has. */
#include "tests/fuzz/fuzz.h"

#include "golden/npz.h"

#define MOST ((idx)1 << 22)   /* bytes of a member that is unpacked here */

static void *contents(mr_npz *npz, idx i, idx *bytes) {
    mr_err err = {0};
    const mr_tensor *t = mr_npz_tensor(npz, i);
    *bytes = mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype);
    FUZZ(*bytes >= 0 && mr_npz_find(npz, t->name) == i);
    if (*bytes > MOST) return NULL;
    void *data = mr_alloc(*bytes, 1, &err);
    FUZZ(data != NULL);
    const mr_status status = mr_npz_read(npz, i, data, &err);
    if (status == MR_OK) return data;
    fuzz_refused(status, &err);
    mr_free(data);
    return NULL;
}

static void compare(mr_npz *npz, mr_npz *again, idx i) {
    idx bytes, others;
    const mr_tensor *t = mr_npz_tensor(npz, i);
    const idx other = mr_npz_find(again, t->name);
    if (other < 0) return;
    void *a = contents(npz, i, &bytes), *b = contents(again, other, &others);
    FUZZ(a != NULL && b != NULL && bytes == others && memcmp(a, b, (size_t)bytes) == 0);
    FUZZ(mr_npz_tensor(again, other)->dtype == t->dtype);
    FUZZ(mr_npz_tensor(again, other)->rank == t->rank);
    mr_free(a);
    mr_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_npz *npz, *again;
    mr_npz_writer *writer;
    mr_err err = {0};
    const char *path = fuzz_path("again.npz");
    const mr_status status = mr_npz_open(fuzz_file("input.npz", data, size), &npz, &err);
    if (status != MR_OK) {
        FUZZ(npz == NULL);
        fuzz_refused(status, &err);
        return 0;
    }
    FUZZ_OK(mr_npz_create(path, &writer, &err), &err);
    for (idx i = 0; i < mr_npz_count(npz); i++) {
        idx bytes;
        mr_tensor t = *mr_npz_tensor(npz, i);
        void *copy = contents(npz, i, &bytes);
        t.data = copy;
        if (copy != NULL) FUZZ_OK(mr_npz_add(writer, &t, &err), &err);
        mr_free(copy);
    }
    FUZZ_OK(mr_npz_finish(writer, &err), &err);
    FUZZ_OK(mr_npz_open(path, &again, &err), &err);
    for (idx i = 0; i < mr_npz_count(npz); i++) compare(npz, again, i);
    mr_npz_close(npz);
    mr_npz_close(again);
    return 0;
}
