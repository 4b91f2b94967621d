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
    PARALLEL_FOR(4 * T * d)
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

/* One token of (N1'), r = (mean_j x_j^2 + eps)^-1/2 and s = sum_j dy_j g_j x_j known. */
static void backward_row(real *dx, real *dg, const real *dy, const real *x, const mr_matrix *g,
                         acc r, acc s) {
    const idx d = g->cols;
    for (idx start = 0; start < d; start += BLOCK) {
        const idx n = d - start < BLOCK ? d - start : BLOCK;
        real gain[BLOCK];
        FN(widen)(gain, g, 0, start, n, MR_STORE_WIDE);
        for (idx i = 0; i < n; i++) {
            const acc dyi = (acc)dy[start + i], xi = (acc)x[start + i];
            const acc slope = r * (acc)gain[i] * dyi - xi * (r * r * r / (acc)d) * s;
            dx[start + i] = (real)((acc)dx[start + i] + slope);
            dg[start + i] = (real)((acc)dg[start + i] + dyi * xi * r);
        }
    }
}

/* (N1') dx_i += r g_i dy_i - x_i (r^3/d) sum_j dy_j g_j x_j,  dg_i += dy_i x_i r, ascending t
 *       r = (mean_j x_j^2 + eps)^-1/2
 * dx,dy,x: [T,d]  dg,g: [1,d]  dx adds, because x is also what the residual connection carries */
void FN(rmsnorm_backward)(real *dx, const mr_matrix *dg, const real *dy, const real *x,
                          const mr_matrix *g, idx T, double eps) {
    const idx d = g->cols;
    for (idx t = 0; t < T; t++) {
        const real *row = x + t * d, *slope = dy + t * d;
        const acc r = 1 / sqrt(FN(dot)(row, row, d) / (acc)d + eps);
        acc s = 0;
        for (idx start = 0; start < d; start += BLOCK) {
            const idx n = d - start < BLOCK ? d - start : BLOCK;
            real gain[BLOCK];
            FN(widen)(gain, g, 0, start, n, MR_STORE_WIDE);
            for (idx i = 0; i < n; i++)
                s += (acc)slope[start + i] * (acc)gain[i] * (acc)row[start + i];
        }
        backward_row(dx + t * d, FN(gradient_row)(dg, 0), slope, row, g, r, s);
    }
}
