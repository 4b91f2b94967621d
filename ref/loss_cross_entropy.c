/* Cross-entropy of next tokens: how improbable the text is under the logits. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define COST 32    /* two exponentials, in operations */
#define TILE 512   /* exponentials formed at a time */
#define ROWS 64    /* rows that are added up at a time */

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
 *                                                  dlogits,logits: [V]; returned: log p(target) */
double FN(log_probability_backward)(real *dlogits, const real *logits, idx V, int32_t target,
                                  double dlogp, mr_engine engine) {
    const mr_log_sum sum = log_sum(logits, V, engine);
    const double value = log_p(logits, target, sum);
    const double here = (double)dlogits[target] - dlogp * expm1(value);
    for (idx start = 0; start < V; start += TILE) {
        const idx n = V - start < TILE ? V - start : TILE;
        double p[TILE];
        for (idx i = 0; i < n; i++) p[i] = log_p(logits, start + i, sum);
        FN(exponentials)(p, n, engine);
        for (idx i = 0; i < n; i++)
            dlogits[start + i] = (real)((double)dlogits[start + i] - dlogp * p[i]);
    }
    dlogits[target] = (real)here;
    return value;
}

/* Adds (X5) to *loss, ascending t, and unless dlogits is NULL its derivative to dlogits, by (X3)
 *           dlogits,logits: [T,V]  targets,weight: [T], a negative target is not scored */
void FN(token_losses)(double *loss, real *dlogits, const real *logits, const int32_t *targets,
                      const double *weight, idx T, idx V, mr_engine engine) {
    for (idx start = 0; start < T; start += ROWS) {
        const idx end = T - start < ROWS ? T : start + ROWS;
        double value[ROWS];
        PARALLEL_FOR(COST * (end - start) * V)
        for (idx t = start; t < end; t++) {
            const real *row = logits + t * V;
            if (targets[t] < 0) continue;
            value[t - start] = dlogits == NULL
                                   ? FN(log_probability)(row, V, targets[t])
                                   : FN(log_probability_backward)(dlogits + t * V, row, V,
                                                                  targets[t], -weight[t], engine);
        }
        for (idx t = start; t < end; t++)
            if (targets[t] >= 0) *loss -= weight[t] * value[t - start];
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
