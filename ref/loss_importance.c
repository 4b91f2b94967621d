/* Importance of the experts: the gate weight that each of them gets over a batch. */
#include "ref/real.h"
#include "ref/mr_internal.h"

/* (Y3) I_e = sum over tokens of G_e, G the gate weights of (M1); the loss is (Y4) of I
 * Shazeer et al. 2017 (arXiv 1701.06538), Eq. 6.         importance: [E]  experts,weights: [T,K] */
void FN(importance_add)(double *importance, const int32_t *experts, const real *weights, idx T,
                        idx K) {
    for (idx c = 0; c < T * K; c++) importance[experts[c]] += (double)weights[c];
}

/* dz_te += g_te ( dI_e - sum_{j in S} g_tj dI_j ) for e in S; other logits get nothing
 *                                                               dlogits: [T,E]  dimportance: [E] */
void FN(importance_backward)(real *dlogits, const int32_t *experts, const real *weights,
                             const double *dimportance, idx T, idx E, idx K) {
    for (idx t = 0; t < T; t++) {
        const int32_t *s = experts + t * K;
        const real *g = weights + t * K;
        double mean = 0;
        for (idx k = 0; k < K; k++) mean += (double)g[k] * dimportance[s[k]];
        for (idx k = 0; k < K; k++) {
            real *dz = &dlogits[t * E + s[k]];
            *dz = (real)((double)*dz + (double)g[k] * (dimportance[s[k]] - mean));
        }
    }
}
