/* The squared coefficient of variation: how uneven E numbers are. Importance and load losses. */
#include "ref/losses.h"

static double mean_of(const double *x, idx E) {
    double sum = 0;
    for (idx e = 0; e < E; e++) sum += x[e];
    return sum / (double)E;
}

static double variance_of(const double *x, idx E, double mean) {
    double sum = 0;
    for (idx e = 0; e < E; e++) sum += (x[e] - mean) * (x[e] - mean);
    return sum / (double)E;
}

/* (Y4) CV^2 = var(x) / mean(x)^2, the variance of the E numbers themselves (divisor E)
 * Shazeer et al. 2017 (arXiv 1701.06538), Eq. 7. Mean 0 gives 0.                          x: [E] */
double mr_cv_squared(const double *x, idx E) {
    const double mean = mean_of(x, E);
    return mean == 0 ? 0 : variance_of(x, E, mean) / (mean * mean);
}

/* dx_e = dloss ( 2 (x_e - mean) / (E mean^2) - 2 var / (E mean^3) ) */
void mr_cv_squared_backward(double *dx, const double *x, idx E, double dloss) {
    const double mean = mean_of(x, E), variance = variance_of(x, E, mean);
    for (idx e = 0; e < E; e++)
        dx[e] = mean == 0 ? 0
                          : dloss * 2 * (x[e] - mean - variance / mean) / ((double)E * mean * mean);
}
