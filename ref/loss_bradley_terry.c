/* Bradley-Terry: a reward model learns from pairs which of two answers is better. */
#include "ref/losses.h"

#include <math.h>

/* (P3) L = -log sigma(r_w - r_l - margin) + c (r_w + r_l)^2
 *      dL/dr_w = -s + 2c (r_w + r_l)   dL/dr_l = s + 2c (r_w + r_l)
 *      s = sigma(-(r_w - r_l - margin))
 * Bradley and Terry 1952; Ouyang et al. 2022 (arXiv 2203.02155), Eq. 1; margin: Touvron et al. 2023
 * (arXiv 2307.09288), Eq. 2; centring c: Eisenstein et al. 2023 (arXiv 2312.09244), sec. 2. Any
 * finite rewards. */
mr_pair_loss mr_bradley_terry(double r_w, double r_l, double margin, double centring) {
    const double x = r_w - r_l - margin, s = mr_sigmoid(-x), sum = r_w + r_l;
    return (mr_pair_loss){centring * sum * sum - mr_log_sigmoid(x), 2 * centring * sum - s,
                          2 * centring * sum + s};
}

/* (P4) L = 1/(K (K-1) / 2) sum over i < j of (P3) of r_i and r_j
 * Ouyang et al. 2022, sec. 3.5: all pairs of one prompt together.    dr,r: [K] best first K >= 2 */
double mr_bradley_terry_ranked(double *dr, const double *r, idx K, double margin, double centring) {
    const double pairs = (double)K * (double)(K - 1) / 2;
    double loss = 0;
    for (idx k = 0; k < K; k++) dr[k] = 0;
    for (idx i = 0; i < K; i++)
        for (idx j = i + 1; j < K; j++) {
            const mr_pair_loss pair = mr_bradley_terry(r[i], r[j], margin, centring);
            loss += pair.loss / pairs;
            dr[i] += pair.d_chosen / pairs;
            dr[j] += pair.d_rejected / pairs;
        }
    return loss;
}

/* (P5) accuracy = mean [r_w > r_l]   margin = mean (r_w - r_l)   and the range of all rewards
 * TRL reward_trainer.py. A tie is wrong.                            chosen,rejected: [n]  n >= 1 */
mr_reward_metrics mr_reward_summary(const double *chosen, const double *rejected, idx n) {
    mr_reward_metrics m = {0, 0, chosen[0], 0, chosen[0]};
    for (idx i = 0; i < n; i++) {
        m.accuracy += chosen[i] > rejected[i] ? 1 / (double)n : 0;
        m.margin += (chosen[i] - rejected[i]) / (double)n;
        m.mean += (chosen[i] + rejected[i]) / (2 * (double)n);
        m.least = fmin(m.least, fmin(chosen[i], rejected[i]));
        m.most = fmax(m.most, fmax(chosen[i], rejected[i]));
    }
    return m;
}
