/* Root mean square normalisation: each token divided by its own root mean square, then scaled per
 * channel. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define BLOCK 256      /* gains widened at a time */
#define TOKENS 512     /* tokens of backward whose r is kept */
#define CHANNELS 32    /* channels whose gains a thread takes at a time */

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

/* dx of one token of (N1'); its r is returned. */
CLONES static acc FN(slope_row)(real *dx, const real *dy, const real *x, const mr_matrix *g,
                                double eps) {
    const idx d = g->cols;
    const acc r = 1 / sqrt(FN(dot)(x, x, d) / (acc)d + eps);
    real gain[BLOCK];
    acc s = 0;
    for (idx start = 0; start < d; start += BLOCK) {
        const idx n = d - start < BLOCK ? d - start : BLOCK;
        FN(widen)(gain, g, 0, start, n, MR_STORE_WIDE);
        for (idx i = 0; i < n; i++) s += (acc)dy[start + i] * (acc)gain[i] * (acc)x[start + i];
    }
    for (idx start = 0; start < d; start += BLOCK) {
        const idx n = d - start < BLOCK ? d - start : BLOCK;
        FN(widen)(gain, g, 0, start, n, MR_STORE_WIDE);
        for (idx i = start; i < start + n; i++) {
            const acc slope = r * (acc)gain[i - start] * (acc)dy[i] -
                              (acc)x[i] * (r * r * r / (acc)d) * s;
            dx[i] = (real)((acc)dx[i] + slope);
        }
    }
    return r;
}

/* dg_i += dy_i x_i r of n tokens, ascending, for `channels` neighbouring channels */
CLONES static void FN(slope_gains)(real *dg, const real *dy, const real *x, const acc *r, idx n,
                                   idx d, idx channels) {
    for (idx t = 0; t < n; t++)
        SIMD
        for (idx i = 0; i < channels; i++)
            dg[i] = (real)((acc)dg[i] + (acc)dy[t * d + i] * (acc)x[t * d + i] * r[t]);
}

/* (N1') dx_i += r g_i dy_i - x_i (r^3/d) sum_j dy_j g_j x_j,  dg_i += dy_i x_i r, ascending t
 *       r = (mean_j x_j^2 + eps)^-1/2
 * dx,dy,x: [T,d]  dg,g: [1,d]  dx adds, because x is also what the residual connection carries */
void FN(rmsnorm_backward)(real *dx, const mr_matrix *dg, const real *dy, const real *x,
                          const mr_matrix *g, idx T, double eps) {
    const idx d = g->cols;
    real *gains = FN(gradient_row)(dg, 0);
    for (idx start = 0; start < T; start += TOKENS) {
        const idx n = T - start < TOKENS ? T - start : TOKENS;
        const real *slopes = dy + start * d, *rows = x + start * d;
        acc r[TOKENS];
        PARALLEL_FOR(8 * n * d)
        for (idx t = 0; t < n; t++)
            r[t] = FN(slope_row)(dx + (start + t) * d, slopes + t * d, rows + t * d, g, eps);
        PARALLEL_FOR(4 * n * d)
        for (idx i = 0; i < d; i += CHANNELS)
            FN(slope_gains)(gains + i, slopes + i, rows + i, r, n, d,
                            d - i < CHANNELS ? d - i : CHANNELS);
    }
}
