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

/* A 16-bit element as `real`, exactly. */
INLINE real FN(widened)(uint16_t half, mr_dtype dtype) {
    return (real)(dtype == MR_BF16 ? mr_bf16_to_float(half) : mr_half_to_float(half));
}

/* Element i of a row as the file has it, perhaps unaligned. */
INLINE real FN(stored)(const void *row, idx i, mr_dtype dtype) {
    uint16_t half;
    float    single;
    double   value;
    const unsigned char *at = row;
    switch (dtype) {
    case MR_F64:  memcpy(&value, at + 8 * i, sizeof value);   return (real)value;
    case MR_F32:  memcpy(&single, at + 4 * i, sizeof single); return (real)single;
    default:      memcpy(&half, at + 2 * i, sizeof half);     return FN(widened)(half, dtype);
    }
}

/* Elements W[r, start .. start+n) as `real`, rounded to the storage type when the file's type is
 * wider; whether W's rows can be read without that, element after element; and whether that can be
 * as `real` (widen.c). */
void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage);
bool FN(stored_in_order)(const mr_matrix *W, mr_storage storage);
bool FN(readable)(const mr_matrix *W, mr_storage storage);

/* c = scale op(a) op(b) + keep c by BLAS, where op turns rows to columns when asked to (linear.c)
 *                                        op(a): [m,k]  op(b): [k,n]  c: [m,n]  X_row: row stride */
void FN(gemm)(bool turn_a, bool turn_b, idx m, idx n, idx k, real scale, const real *a, idx a_row,
              const real *b, idx b_row, real keep, real *c, idx c_row);

/* (A2) of n new queries of head h for the BLAS engine, which rounds nothing inside, and (A2')
 * (attention_blocks.c). o,q,dq,d_o: [n,H,D]  dk,dv: [s,G,D]  scores,probs,dscores,dprobs:
 * [n,stride], or with stride 0 room for MR_ATTENTION_ROWS queries and the keys that they see; the
 * second of each pair may be the first. probs of backward: such room */
void FN(attention_blocks)(real *o, real *scores, real *probs, idx stride, const real *q,
                          const FN(keys) *keys, mr_window_rule rule, idx window, idx n, idx h,
                          idx H, idx G, idx D);
void FN(attention_blocks_backward)(real *dq, real *dk, real *dv, real *dscores, real *dprobs,
                                   idx stride, real *probs, const real *d_o, const real *o,
                                   const real *q, const FN(keys) *keys, mr_window_rule rule,
                                   idx window, idx n, idx h, idx H, idx G, idx D);

/* y[i] = e^y[i] for y <= 0: the C library's for the plain engine (exponential.c) */
void FN(exponentials)(acc *y, idx n, mr_engine engine);

/* Row of key or value at position p of its sequence: from the ring while p < seen, else among the
 * new rows. */
INLINE const real *FN(row_at)(const FN(keys) *keys, const real *ring, const real *rows, idx p,
                              idx width) {
    if (p >= keys->seen) return rows + (p - keys->seen) * width;
    return ring + (idx)((keys->origin + p) % keys->slots) * width;
}

/* (L2) sum_i a[i] b[i] in 16 partial sums, then a tree; and (L1), (L1'), (L3) of the plain engine
 * (products.c, products_backward.c). */
acc  FN(dot)(const real *a, const real *b, idx n);
void FN(dot_rows)(acc total[MR_DOT_ROWS], const void *const row[MR_DOT_ROWS], const real *x,
                  idx n);                                            /* four rows with one x */
void FN(plain_linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage);
void FN(plain_linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T);
void FN(plain_linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T);
