/* Reading weights: elements of a matrix in the file's own type, widened to `real`. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

static double element(const mr_matrix *W, idx offset) {
    uint16_t half;
    float    single;
    double   value;
    const unsigned char *at = (const unsigned char *)W->data + offset * mr_dtype_size(W->dtype);
    switch (W->dtype) {
    case MR_F64:  memcpy(&value, at, sizeof value);   return value;
    case MR_F32:  memcpy(&single, at, sizeof single); return (double)single;
    case MR_BF16: memcpy(&half, at, sizeof half);     return mr_bf16_to_double(half);
    default:      memcpy(&half, at, sizeof half);     return mr_half_to_double(half);
    }
}

static bool dtype_is_real(mr_dtype dtype) { return dtype == (MR_BITS == 64 ? MR_F64 : MR_F32); }

static bool needs_rounding(const mr_matrix *W, mr_storage storage) {
    return (storage == MR_STORE_BF16 && W->dtype != MR_BF16) ||
           (storage == MR_STORE_F16 && W->dtype != MR_F16);
}

bool FN(readable)(const mr_matrix *W, mr_storage storage) {
    return dtype_is_real(W->dtype) && W->col_stride == 1 && W->row_stride >= W->cols &&
           !needs_rounding(W, storage) && (uintptr_t)W->data % sizeof(real) == 0;
}

static void widen_bf16(real *out, const unsigned char *at, idx n) {
    for (idx i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, at + 2 * i, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;    /* bf16 is the upper half of a float */
        float single;
        memcpy(&single, &bits, sizeof single);
        out[i] = (real)single;
    }
}

void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage) {
    const idx offset = r * W->row_stride + start * W->col_stride;
    const unsigned char *at = (const unsigned char *)W->data + offset * mr_dtype_size(W->dtype);
    if (needs_rounding(W, storage))   /* from the file's own value: one rounding */
        for (idx i = 0; i < n; i++)
            out[i] = (real)mr_round(element(W, offset + i * W->col_stride), storage);
    else if (W->col_stride == 1 && dtype_is_real(W->dtype))
        memcpy(out, at, (size_t)n * sizeof *out);
    else if (W->col_stride == 1 && W->dtype == MR_BF16) widen_bf16(out, at, n);
    else
        for (idx i = 0; i < n; i++) out[i] = (real)element(W, offset + i * W->col_stride);
}

