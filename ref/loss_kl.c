/* How far the policy has gone from its reference, estimated from sampled tokens. */
#include "ref/losses.h"

#include <math.h>

/* exp(-d) - 1 + d. Near 0 its leading terms cancel; there the series sum of (-d)^n / n!, n >= 2. */
static double excess(double d) {
    if (fabs(d) > 0.5) return expm1(-d) + d;
    double sum = 0, term = -d;
    for (int n = 2; n < 20; n++) {
        term *= -d / n;
        sum += term;
    }
    return sum;
}

/* (Q1) k1 = delta (no bias)   k2 = delta^2 / 2 (low variance)   k3 = exp(-delta) - 1 + delta (both)
 *      delta = log p - log p_ref of a token drawn from the policy
 *      slopes by log p: 1, delta, 1 - exp(-delta)
 * J. Schulman 2020, "Approximating KL divergence"; k3 in TRL grpo_trainer.py. The slope is that of
 * the estimate itself; as a loss, k2's is the unbiased one. k3 overflows below delta = -709. */
mr_term mr_kl(mr_kl_kind kind, double delta) {
    switch (kind) {
        case MR_KL_K1: return (mr_term){delta, 1};
        case MR_KL_K2: return (mr_term){delta * delta / 2, delta};
        default: return (mr_term){excess(delta), -expm1(-delta)};
    }
}

/* (Q2) reward_t = -coefficient k(delta_t), + score at the last token
 * Ziegler et al. 2019 (arXiv 1909.08593), Eq. 2; Ouyang et al. 2022 (arXiv 2203.02155), Eq. 2.
 *                                                           reward,logp,ref_logp: [n]  n >= 1 */
void mr_kl_rewards(double *reward, const double *logp, const double *ref_logp, idx n,
                   mr_kl_kind kind, double coefficient, double score) {
    for (idx t = 0; t < n; t++)
        reward[t] = -coefficient * mr_kl(kind, logp[t] - ref_logp[t]).value;
    reward[n - 1] += score;
}
