/* Cross-entropy of next tokens: how improbable the text is under the logits. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define TILE 512   /* exponentials formed at a time */

static mr_log_sum log_sum(const real *logits, idx V, mr_engine engine) {
    idx top = 0;
    double rest = 0;
    for (idx v = 1; v < V; v++)
        if (logits[v] > logits[top]) top = v;
    for (idx start = 0; start < V; start += TILE) {
        const idx n = V - start < TILE ? V - start : TILE;
        double e[TILE];
        for (idx i = 0; i < n; i++) e[i] = (double)logits[start + i] - (double)logits[top];
        FN(exponentials)(e, n, engine);
        for (idx i = 0; i < n; i++)
            if (start + i != top) rest += e[i];
    }
    return (mr_log_sum){(double)logits[top], log1p(rest)};
}

mr_log_sum FN(log_sum_exp)(const real *logits, idx V) {
    return log_sum(logits, V, MR_PLAIN_ENGINE);
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
                                  double dlogp, mr_engine engine) {
    const mr_log_sum sum = log_sum(logits, V, engine);
    const double here = (double)dlogits[target] - dlogp * expm1(log_p(logits, target, sum));
    for (idx start = 0; start < V; start += TILE) {
        const idx n = V - start < TILE ? V - start : TILE;
        double p[TILE];
        for (idx i = 0; i < n; i++) p[i] = log_p(logits, start + i, sum);
        FN(exponentials)(p, n, engine);
        for (idx i = 0; i < n; i++)
            dlogits[start + i] = (real)((double)dlogits[start + i] - dlogp * p[i]);
    }
    dlogits[target] = (real)here;
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
