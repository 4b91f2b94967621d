/* Fuzzing the header of a .npy array: what is accepted, written and read again is the same. */
#include "tests/fuzz/fuzz.h"

#include "golden/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_err err = {0};
    mr_tensor t = {0}, again = {0};
    idx length = 0;
    if (size < MR_NPY_FIRST) return 0;
    mr_status status = mr_npy_length(data, "input", &length, &err);
    if (status == MR_OK && length > (idx)size) return 0;   /* the caller reads that much or fails */
    if (status == MR_OK) status = mr_npy_parse(data, length, "input", &t, &err);
    if (status != MR_OK) {
        fuzz_refused(status, &err);
        return 0;
    }
    unsigned char header[MR_NPY_FORMAT];
    idx bytes;
    FUZZ(mr_mul(mr_count(t.rank, t.dim), mr_dtype_size(t.dtype), &bytes));
    const idx written = mr_npy_format(&t, header);
    FUZZ_OK(mr_npy_length(header, "again", &length, &err), &err);
    FUZZ(length == written);
    FUZZ_OK(mr_npy_parse(header, length, "again", &again, &err), &err);
    FUZZ(again.dtype == t.dtype && again.rank == t.rank);
    for (int i = 0; i < t.rank; i++) FUZZ(t.dim[i] == again.dim[i]);
    return 0;
}
