/* AdamW: the optimiser's step on flat arrays, and the loops of clipping. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define BLOCK 4096   /* parameters that a thread takes at a time */

/* What all parameters of a step share, rounded to `real`. */
typedef struct { real keep, b2, rest1, rest2, eps, rate, correction; } factors;

/* One block of (O1). */
CLONES static void FN(adamw_block)(real *theta, real *m, real *v, const real *grad, idx n,
                                   const factors *f) {
    SIMD
    for (idx i = 0; i < n; i++) {
        const real g = grad[i];
        theta[i] = theta[i] * f->keep;
        m[i] = m[i] + f->rest1 * (g - m[i]);
        v[i] = v[i] * f->b2 + f->rest2 * g * g;
        theta[i] = theta[i] +
                   f->rate * m[i] / ((real)sqrt((double)v[i]) / f->correction + f->eps);
    }
}

/* (O1) theta = theta (1 - lr wd)                                        when the parameter decays
 *      m = m + (1-b1) (g - m)        v = b2 v + (1-b2) g^2
 *      theta = theta - lr/(1 - b1^t) m / ( sqrt(v) / sqrt(1 - b2^t) + eps )
 * Loshchilov and Hutter 2017 (arXiv 1711.05101), Alg. 2, with PyTorch's order of operations
 * (torch/optim/adam.py, _single_tensor_adam), every operation rounded to `real`; the decay is
 * multiplied with the full learning rate, as PyTorch does.        theta,m,v,grad: [n]  step >= 1 */
void FN(adamw)(real *theta, real *m, real *v, const real *grad, idx n, const mr_adamw *options,
               double lr, bool decays, int64_t step) {
    const double t = (double)step;
    const factors f = {.keep = (real)(decays ? 1 - lr * options->decay : 1),
                       .b2 = (real)options->beta2,
                       .rest1 = (real)(1 - options->beta1),
                       .rest2 = (real)(1 - options->beta2),
                       .eps = (real)options->eps,
                       .rate = (real)(-lr / (1 - pow(options->beta1, t))),
                       .correction = (real)sqrt(1 - pow(options->beta2, t))};
    PARALLEL_FOR(8 * n)
    for (idx i = 0; i < n; i += BLOCK)
        FN(adamw_block)(theta + i, m + i, v + i, grad + i, n - i < BLOCK ? n - i : BLOCK, &f);
}

/* (O2) sum of g^2; the global norm is the root of the sum over all tensors, taken before clipping
 * Pascanu et al. 2012 (arXiv 1211.5063), sec. 3.2; torch clip_grad_norm_. In double, in order. */
double FN(squared_norm)(const real *x, idx n) {
    double sum = 0;
    for (idx i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* (O3) x = c x, with the c of (O5) */
void FN(scale)(real *x, idx n, double c) {
    PARALLEL_FOR(n)
    for (idx i = 0; i < n; i++) x[i] = x[i] * (real)c;
}
