/* What the equation files share besides their public prototypes. Include after ref/real.h; nobody
 * outside ref/ does. */
#include <stdbool.h>
#include <stdint.h>

#include "ref/half.h"
#include "ref/model.h"
#include "ref/run.h"
#include "ref/ops.h"

/* rd(x): x rounded to the storage type. */
static inline real FN(rd)(real x, mr_storage storage) { return (real)mr_round((double)x, storage); }

/* Row r of a gradient: a matrix of mr_params_like, whose memory is the caller's to write. */
static inline real *FN(gradient_row)(const mr_matrix *W, idx r) {
    return (real *)W->data + r * W->row_stride;
}

/* Elements W[r, start .. start+n) as `real`, rounded to the storage type when the file's type is
 * wider; and whether W can be read as rows of `real` without that (widen.c). */
void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage);
bool FN(readable)(const mr_matrix *W, mr_storage storage);

/* (L2) sum_i a[i] b[i] in 16 partial sums, then a tree; and (L1), (L1'), (L3) of the plain engine
 * (products.c). */
acc  FN(dot)(const real *a, const real *b, idx n);
void FN(plain_linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage);
void FN(plain_linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T);
void FN(plain_linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T);
