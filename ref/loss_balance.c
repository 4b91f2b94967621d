/* Load balancing of the router: the product of how often and how probably each expert is chosen. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

/* (Y1) chosen_e += number of choices of e,  probability_e += sum of p_e,  tokens += number
 *      p = softmax(logits) over all E; the first `slots` of K choices; tokens with mask 0 left out
 *                                      logits: [T,E]  experts: [T,K]  mask: [T], NULL: all count */
void FN(balance_add)(mr_balance *sums, const real *logits, const int32_t *experts,
                     const uint8_t *mask, idx T, idx E, idx K, idx slots) {
    for (idx t = 0; t < T; t++) {
        if (mask != NULL && mask[t] == 0) continue;
        const real *z = logits + t * E;
        const mr_log_sum sum = FN(log_sum_exp)(z, E);
        for (idx e = 0; e < E; e++)
            sums->probability[e] += exp((double)z[e] - sum.top - sum.rest);
        for (idx k = 0; k < slots; k++) sums->chosen[experts[t * K + k]] += 1;
        sums->tokens += 1;
    }
}

/* (Y2) L = E sum_e F_e P_e,  F_e = chosen_e / tokens,  P_e = probability_e / tokens
 * slots = 1, per layer: Fedus et al. 2021 (arXiv 2101.03961), Eq. 4-6, balanced at 1. slots = K,
 * all layers in one sum: transformers load_balancing_loss_func, balanced at K. slots = K, per
 * layer, times 1/K: the default here, balanced at 1; megablocks `moe.py`. */
double FN(balance_loss)(const mr_balance *sums, idx E) {
    double loss = 0;
    if (sums->tokens == 0) return 0;
    for (idx e = 0; e < E; e++)
        loss += sums->chosen[e] / sums->tokens * (sums->probability[e] / sums->tokens);
    return (double)E * loss;
}

/* dz_te += dloss E/tokens p_te ( F_e - sum_j F_j p_tj ), F a constant     dlogits,logits: [T,E] */
void FN(balance_backward)(real *dlogits, const real *logits, const mr_balance *sums,
                          const uint8_t *mask, idx T, idx E, double dloss) {
    const double n = sums->tokens;
    for (idx t = 0; t < T; t++) {
        if (mask != NULL && mask[t] == 0) continue;
        const real *z = logits + t * E;
        const mr_log_sum sum = FN(log_sum_exp)(z, E);
        double mean = 0;
        for (idx e = 0; e < E; e++)
            mean += sums->chosen[e] / n * exp((double)z[e] - sum.top - sum.rest);
        for (idx e = 0; e < E; e++) {
            const double p = exp((double)z[e] - sum.top - sum.rest);
            const double slope = (double)E / n * p * (sums->chosen[e] / n - mean);
            dlogits[t * E + e] = (real)((double)dlogits[t * E + e] + dloss * slope);
        }
    }
}
