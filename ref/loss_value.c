/* The value side of PPO: advantages and returns of tokens, and the value head's loss. */
#include "ref/losses.h"

#include <math.h>

/* (Q6) delta_t = reward_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lambda A_{t+1},
 *      return_t = A_t + V_t,  V after the end 0
 * Schulman et al. 2015 (arXiv 1506.02438), Eq. 16.         advantage,returns,reward,value: [n] */
void mr_gae(double *advantage, double *returns, const double *reward, const double *value, idx n,
            double gamma, double lambda) {
    double next_value = 0, next_advantage = 0;
    for (idx t = n - 1; t >= 0; t--) {
        const double delta = reward[t] + gamma * next_value - value[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = value[t];
        advantage[t] = next_advantage;
        returns[t] = next_advantage + value[t];
    }
}

/* (Q7) x = (x - mean) / sqrt(var + 1e-8), var with n-1
 * Ziegler et al. 2019's code, `whiten`; TRL masked_whiten. In place; n = 1 gives 0.       x: [n] */
void mr_whiten(double *x, idx n) {
    double mean = 0, squares = 0;
    for (idx i = 0; i < n; i++) mean += x[i] / (double)n;
    for (idx i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    const double variance = n > 1 ? squares / (double)(n - 1) : 0;
    for (idx i = 0; i < n; i++) x[i] = (x[i] - mean) / sqrt(variance + 1e-8);
}

/* (Q8) L = max( (V - R)^2, (Vc - R)^2 ) / 2,  Vc = V clipped to V_old -+ clip
 *      slope V - R; 0 where the clipped branch is the larger one
 * openai/baselines ppo2; TRL ppo_trainer.py. clip >= 0. */
mr_term mr_value_loss(double value, double old_value, double returns, double clip) {
    const double clipped = fmin(fmax(value, old_value - clip), old_value + clip);
    const double free_error = value - returns, clipped_error = clipped - returns;
    if (fabs(clipped_error) > fabs(free_error))
        return (mr_term){clipped_error * clipped_error / 2, 0};
    return (mr_term){free_error * free_error / 2, free_error};
}
