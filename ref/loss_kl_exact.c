/* KL divergence of two rows of logits: what the estimators of (Q1) estimate. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

/* log p_v - log q_v, for p and q of these logits; p_v = 0 contributes nothing, whatever q_v is */
static double log_ratio(const real *logits, const real *reference, idx v, mr_log_sum p,
                        mr_log_sum q) {
    return ((double)logits[v] - p.top - p.rest) - ((double)reference[v] - q.top - q.rest);
}

/* (Q9) KL(p || q) = sum_v p_v (log p_v - log q_v),  p = softmax(logits),  q = softmax(reference)
 * Definition (Kullback and Leibler 1951).                                  logits,reference: [V] */
double FN(kl_exact)(const real *logits, const real *reference, idx V) {
    const mr_log_sum p = FN(log_sum_exp)(logits, V), q = FN(log_sum_exp)(reference, V);
    double sum = 0;
    for (idx v = 0; v < V; v++) {
        const double p_v = exp((double)logits[v] - p.top - p.rest);
        if (p_v > 0) sum += p_v * log_ratio(logits, reference, v, p, q);
    }
    return sum;
}

/* dz_v += dkl p_v (log p_v - log q_v - KL)                                 dlogits: [V] */
void FN(kl_exact_backward)(real *dlogits, const real *logits, const real *reference, idx V,
                           double dkl) {
    const mr_log_sum p = FN(log_sum_exp)(logits, V), q = FN(log_sum_exp)(reference, V);
    const double kl = FN(kl_exact)(logits, reference, V);
    for (idx v = 0; v < V; v++) {
        const double p_v = exp((double)logits[v] - p.top - p.rest);
        const double slope = p_v > 0 ? p_v * (log_ratio(logits, reference, v, p, q) - kl) : 0;
        dlogits[v] = (real)((double)dlogits[v] + dkl * slope);
    }
}
