/* Cross-entropy of next tokens: how improbable the text is under the logits. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

/* (X1) log p(target) = z_target - log sum_v exp(z_v), in double, the largest logit subtracted first
 *                                                                                    logits: [V] */
double FN(log_probability)(const real *logits, idx V, int32_t target) {
    double top = (double)logits[0], sum = 0;
    for (idx v = 1; v < V; v++) top = (double)logits[v] > top ? (double)logits[v] : top;
    for (idx v = 0; v < V; v++) sum += exp((double)logits[v] - top);
    return (double)logits[target] - top - log(sum);
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
