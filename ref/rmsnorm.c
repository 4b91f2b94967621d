/* Root mean square normalisation: each token divided by its own root mean square, then scaled per
 * channel. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define BLOCK 256   /* gains widened at a time */

/* (N1) y[t,i] = g[i] * rd(x[t,i] / sqrt(mean_j x[t,j]^2 + eps))
 *                                                 Zhang & Sennrich 2019, Eq. 4; mistral-src RMSNorm
 * y,x: [T,d]  g: [1,d], used as stored (not 1+g)  eps > 0, inside the root, added to the mean
 * square order: mean square in double; x * r; round; times g. y may be x. */
void FN(rmsnorm)(real *y, const real *x, const mr_matrix *g, idx T, double eps,
                 mr_storage storage) {
    const idx d = g->cols;
    for (idx t = 0; t < T; t++) {
        const real *row = x + t * d;
        const acc r = 1 / sqrt(FN(dot)(row, row, d) / (acc)d + eps);
        for (idx start = 0; start < d; start += BLOCK) {
            const idx n = d - start < BLOCK ? d - start : BLOCK;
            real gain[BLOCK];
            FN(widen)(gain, g, 0, start, n, storage);
            for (idx i = 0; i < n; i++) {
                const real normed = FN(rd)((real)((acc)row[start + i] * r), storage);
                y[t * d + start + i] = gain[i] * normed;
            }
        }
    }
}
