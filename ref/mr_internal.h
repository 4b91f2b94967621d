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

/* Elements W[r, start .. start+n) as `real`, rounded to the storage type when the file's type is
 * wider (linear.c). */
void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage);

/* sum_i a[i] b[i] in the order of (L2): 16 partial sums in double, then a tree (linear.c). */
acc FN(dot)(const real *a, const real *b, idx n);
