/* Router z-loss: keeps the router's logits small. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

/* (Y7) sum over tokens of ( log sum_e exp z_e )^2; L = that over the number of tokens
 * Zoph et al. 2022 (arXiv 2202.08906), Eq. 5.          logits: [T,E]  mask: [T], NULL: all count */
double FN(router_z)(const real *logits, const uint8_t *mask, idx T, idx E) {
    double sum = 0;
    for (idx t = 0; t < T; t++) {
        if (mask != NULL && mask[t] == 0) continue;
        const mr_log_sum lse = FN(log_sum_exp)(logits + t * E, E);
        sum += (lse.top + lse.rest) * (lse.top + lse.rest);
    }
    return sum;
}

/* dz_te += dsum 2 lse_t p_te                                              dlogits,logits: [T,E] */
void FN(router_z_backward)(real *dlogits, const real *logits, const uint8_t *mask, idx T, idx E,
                           double dsum) {
    for (idx t = 0; t < T; t++) {
        if (mask != NULL && mask[t] == 0) continue;
        const mr_log_sum lse = FN(log_sum_exp)(logits + t * E, E);
        for (idx e = 0; e < E; e++) {
            const double p = exp((double)logits[t * E + e] - lse.top - lse.rest);
            real *dz = &dlogits[t * E + e];
            *dz = (real)((double)*dz + dsum * 2 * (lse.top + lse.rest) * p);
        }
    }
}
