/* Reading weights: elements of a matrix in the file's own type, widened to `real`. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

/* In double, because an f64 file may be rounded to 16 bits: once. */
static double element(const mr_matrix *W, idx offset) {
    double value;
    const unsigned char *at = (const unsigned char *)W->data + offset * mr_dtype_size(W->dtype);
    if (W->dtype != MR_F64) return (double)FN(stored)(at, 0, W->dtype);
    memcpy(&value, at, sizeof value);
    return value;
}

static bool needs_rounding(const mr_matrix *W, mr_storage storage) {
    return (storage == MR_STORE_BF16 && W->dtype != MR_BF16) ||
           (storage == MR_STORE_F16 && W->dtype != MR_F16);
}

bool FN(stored_in_order)(const mr_matrix *W, mr_storage storage) {
    return W->col_stride == 1 && !needs_rounding(W, storage);
}

bool FN(readable)(const mr_matrix *W, mr_storage storage) {
    return W->dtype == REAL_TYPE && FN(stored_in_order)(W, storage) &&
           W->row_stride >= W->cols && (uintptr_t)W->data % sizeof(real) == 0;
}

/* One loop per type, or it would not become vectors. */
CLONES static void FN(widen_row)(real *out, const unsigned char *at, mr_dtype dtype, idx n) {
    if (dtype == MR_BF16)
        for (idx i = 0; i < n; i++) out[i] = FN(stored)(at, i, MR_BF16);
    else if (dtype == MR_F16)
        for (idx i = 0; i < n; i++) out[i] = FN(stored)(at, i, MR_F16);
    else if (dtype == MR_F32)
        for (idx i = 0; i < n; i++) out[i] = FN(stored)(at, i, MR_F32);
    else
        for (idx i = 0; i < n; i++) out[i] = FN(stored)(at, i, MR_F64);
}

void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage) {
    const idx offset = r * W->row_stride + start * W->col_stride;
    const unsigned char *at = (const unsigned char *)W->data + offset * mr_dtype_size(W->dtype);
    if (needs_rounding(W, storage))   /* from the file's own value: one rounding */
        for (idx i = 0; i < n; i++)
            out[i] = (real)mr_round(element(W, offset + i * W->col_stride), storage);
    else if (W->col_stride == 1) FN(widen_row)(out, at, W->dtype, n);
    else
        for (idx i = 0; i < n; i++) out[i] = (real)element(W, offset + i * W->col_stride);
}

