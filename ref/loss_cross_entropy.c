/* Cross-entropy of next tokens: how improbable the text is under the logits. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

mr_log_sum FN(log_sum_exp)(const real *logits, idx V) {
    idx top = 0;
    double rest = 0;
    for (idx v = 1; v < V; v++)
        if (logits[v] > logits[top]) top = v;
    for (idx v = 0; v < V; v++)
        if (v != top) rest += exp((double)logits[v] - (double)logits[top]);
    return (mr_log_sum){(double)logits[top], log1p(rest)};
}

/* log p(v), both terms of the sum subtracted one after the other */
static double log_p(const real *logits, idx v, mr_log_sum sum) {
    return (double)logits[v] - sum.top - sum.rest;
}

/* (X1) log p(target) = z_target - log sum_v exp(z_v), in double, the largest logit subtracted first
 *                                                                                    logits: [V] */
double FN(log_probability)(const real *logits, idx V, int32_t target) {
    return log_p(logits, target, FN(log_sum_exp)(logits, V));
}

/* (X3) dz[v] += dlogp ([v = target] - p_v)
 * 1 - p of a target that is nearly certain comes from expm1, which keeps its digits.
 *                                                                            dlogits,logits: [V] */
void FN(log_probability_backward)(real *dlogits, const real *logits, idx V, int32_t target,
                                  double dlogp) {
    const mr_log_sum sum = FN(log_sum_exp)(logits, V);
    for (idx v = 0; v < V; v++) {
        const double lp = log_p(logits, v, sum);
        dlogits[v] = (real)((double)dlogits[v] - dlogp * (v == target ? expm1(lp) : exp(lp)));
    }
}

/* (X2) L = -1/N sum over scored rows of log p(target)
 *                               logits: [T,V]  targets: [T], negative: not scored; N = 0 gives 0 */
double FN(cross_entropy)(const real *logits, const int32_t *targets, idx T, idx V) {
    double sum = 0;
    idx scored = 0;
    for (idx t = 0; t < T; t++)
        if (targets[t] >= 0) {
            sum -= FN(log_probability)(logits + t * V, V, targets[t]);
            scored++;
        }
    return scored > 0 ? sum / (double)scored : 0;
}
