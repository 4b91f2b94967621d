/* Policy gradients: which answers to make more probable, and by how much. */
#include "ref/losses.h"

#include <math.h>

/* (Q3) L = -(R - b) log p(answer)      slope -(R - b)
 * Williams 1992 (REINFORCE), Eq. 11; R includes the KL penalty, the sum of (Q2). R and b are
 * constants. */
mr_term mr_reinforce(double logp, double reward, double baseline) {
    return (mr_term){-(reward - baseline) * logp, -(reward - baseline)};
}

/* mean and standard deviation (n-1) of x; 0 for a single number */
static void moments(double *mean, double *deviation, const double *x, idx n) {
    double sum = 0, squares = 0;
    for (idx i = 0; i < n; i++) sum += x[i] / (double)n;
    for (idx i = 0; i < n; i++) squares += (x[i] - sum) * (x[i] - sum);
    *mean = sum;
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

/* (Q4) A_i = R_i - mean of the other k-1 rewards of its prompt
 *      normalised: (A - mean A) / (std A + 1e-4), over all prompts, std with n-1
 * Ahmadian et al. 2024 (arXiv 2402.14740), sec. 2.3; TRL rloo_trainer.py. advantage may be reward.
 *                                                          advantage,reward: [prompts*k]  k >= 1 */
void mr_rloo(double *advantage, const double *reward, idx prompts, idx k, bool normalise) {
    const idx n = prompts * k;
    for (idx p = 0; p < n; p += k) {
        double sum = 0;
        for (idx i = p; i < p + k; i++) sum += reward[i];
        for (idx i = p; i < p + k; i++)
            advantage[i] = k > 1 ? reward[i] - (sum - reward[i]) / (double)(k - 1) : 0;
    }
    if (!normalise) return;
    double mean, deviation;
    moments(&mean, &deviation, advantage, n);
    for (idx i = 0; i < n; i++) advantage[i] = (advantage[i] - mean) / (deviation + 1e-4);
}

/* (Q5) L = -min( rho A, clip(rho, 1-e, 1+e) A ),  rho = exp(log_ratio) = p_new / p_old
 *      slope by log p_new: -A rho; 0 where the clipped branch is the smaller one
 * Schulman et al. 2017 (arXiv 1707.06347), Eq. 7. A = 0 gives 0 for any ratio. */
mr_term mr_ppo_clip(double log_ratio, double advantage, double clip) {
    const double rho = exp(log_ratio);
    if (advantage == 0) return (mr_term){0, 0};
    if (advantage > 0 && rho > 1 + clip) return (mr_term){-(1 + clip) * advantage, 0};
    if (advantage < 0 && rho < 1 - clip) return (mr_term){-(1 - clip) * advantage, 0};
    return (mr_term){-advantage * rho, -advantage * rho};
}
