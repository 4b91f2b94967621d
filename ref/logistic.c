/* The logistic function, which all preference losses are made of; no overflow for any x. */
#include "ref/losses.h"

#include <math.h>

/* (P1) sigma(x) = 1 / (1 + exp(-x)) */
double mr_sigmoid(double x) {
    if (x >= 0) return 1 / (1 + exp(-x));
    const double e = exp(x);
    return e / (1 + e);
}

/* (P2) log sigma(x) = min(x,0) - log(1 + exp(-|x|))
 * The plain log(sigma(x)) is -inf from x = -745 on and 0 from x = 37 on. */
double mr_log_sigmoid(double x) { return fmin(x, 0) - log1p(exp(-fabs(x))); }
