/* What the equation files share besides their public prototypes. Include after ref/real.h; nobody
 * outside ref/ does. */
#include <stdbool.h>
#include <stdint.h>

#include "ref/half.h"
#include "ref/model.h"
#include "ref/run.h"
#include "ref/ops.h"

/* rd(x): x rounded to the storage type. */
static inline real FN(rd)(real x, mr_storage storage) {
    return storage == MR_STORE_WIDE ? x : (real)mr_round((double)x, storage);
}

/* Row r of a gradient: a matrix of mr_params_like, whose memory is the caller's to write. */
static inline real *FN(gradient_row)(const mr_matrix *W, idx r) {
    return (real *)W->data + r * W->row_stride;
}

#define MR_DOT_ROWS 4
#define REAL_TYPE (MR_BITS == 64 ? MR_F64 : MR_F32)

/* Element i of a row as the file has it, perhaps unaligned. */
INLINE real FN(stored)(const void *row, idx i, mr_dtype dtype) {
    uint16_t half;
    float    single;
    double   value;
    const unsigned char *at = row;
    switch (dtype) {
    case MR_F64:  memcpy(&value, at + 8 * i, sizeof value);   return (real)value;
    case MR_F32:  memcpy(&single, at + 4 * i, sizeof single); return (real)single;
    case MR_BF16: memcpy(&half, at + 2 * i, sizeof half);     return (real)mr_bf16_to_float(half);
    default:      memcpy(&half, at + 2 * i, sizeof half);     return (real)mr_half_to_float(half);
    }
}

/* Elements W[r, start .. start+n) as `real`, rounded to the storage type when the file's type is
 * wider; whether W's rows can be read without that, element after element; and whether that can be
 * as `real` (widen.c). */
void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage);
bool FN(stored_in_order)(const mr_matrix *W, mr_storage storage);
bool FN(readable)(const mr_matrix *W, mr_storage storage);

/* (L2) sum_i a[i] b[i] in 16 partial sums, then a tree; and (L1), (L1'), (L3) of the plain engine
 * (products.c). */
acc  FN(dot)(const real *a, const real *b, idx n);
void FN(dot_rows)(acc total[MR_DOT_ROWS], const void *const row[MR_DOT_ROWS], mr_dtype dtype,
                  idx ahead, const real *x, idx n);   /* four rows with one x, as they are stored */
void FN(plain_linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage);
void FN(plain_linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T);
void FN(plain_linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T);
