/* Losses on numbers in double: weights of token losses, preferences, policy gradient. One loss
 * per ref/loss_*.c; gradients are returned next to the values. Nothing here allocates. Losses on
 * logits exist per precision and are in ref/losses_ops.h. */
#ifndef MR_REF_LOSSES_H
#define MR_REF_LOSSES_H

#include "ref/base.h"

/* A value and its derivative with respect to the one number the loss depends on. */
typedef struct {
    double value, slope;
} mr_term;

/* log sum_v exp(z_v) = top + rest, top the largest z: kept apart, so that z - top - rest loses no
 * digits. FN(log_sum_exp) in ref/losses_ops.h forms it. */
typedef struct {
    double top, rest;
} mr_log_sum;

/* ---- logistic.c ------------------------------------------------------------------------------ */

double mr_sigmoid(double x);       /* (P1) */
double mr_log_sigmoid(double x);   /* (P2) */

/* ---- loss_rows.c: packed sequences, the rows of sequence b follow those of b-1 -------------- */

/* How token losses become one number; MICROBATCH: the mean over micro-batches of their means. */
typedef enum { MR_LOSS_TOKEN, MR_LOSS_SEQUENCE, MR_LOSS_MICROBATCH, MR_LOSS_SUM } mr_reduction;

/* (X4) targets[t] = tokens[t+1] where that token is scored, else -1; -1 in each sequence's last row
 *                targets,tokens: [rows]  scored: [rows], NULL: all tokens  length: [n_seqs] rows */
void mr_next_tokens(int32_t *targets, const int32_t *tokens, const uint8_t *scored,
                    const idx *length, idx n_seqs);

/* (X5) weight[t] of -log p(targets[t]) in the loss, so that dL/dlogp[t] = -weight[t]; 0 where the
 * target is negative. micro: sequences of each micro-batch, used by MICROBATCH only. The arrays
 * cover the whole optimiser step, whatever calls it is cut into.
 *                                                      weight,targets: [rows]  length: [n_seqs] */
void mr_loss_weights(double *weight, const int32_t *targets, const idx *length, idx n_seqs,
                     const idx *micro, mr_reduction reduction);

/* (X6) row of sequence b's last token, where the reward head is read; -1 when it has no token */
idx mr_score_row(const idx *length, idx b);

/* ---- loss_bradley_terry.c -------------------------------------------------------------------- */

/* A loss of one pair and its derivatives. */
typedef struct {
    double loss, d_chosen, d_rejected;
} mr_pair_loss;

/* (P3) of rewards r_w and r_l; margin 0 and centring 0 are the paper's */
mr_pair_loss mr_bradley_terry(double r_w, double r_l, double margin, double centring);

/* (P4) mean over all pairs of K answers ranked best first; dr[k] = dL/dr[k]     dr,r: [K] K >= 2 */
double mr_bradley_terry_ranked(double *dr, const double *r, idx K, double margin, double centring);

typedef struct {
    double accuracy, margin;      /* share of r_w > r_l (ties are wrong); mean r_w - r_l */
    double least, mean, most;     /* of all 2n rewards */
} mr_reward_metrics;

mr_reward_metrics mr_reward_summary(const double *chosen, const double *rejected, idx n); /* (P5) */

/* ---- loss_dpo.c ------------------------------------------------------------------------------ */

typedef enum {
    MR_DPO_SIGMOID,       /* the paper's */
    MR_DPO_CDPO,          /* label smoothing */
    MR_DPO_ROBUST,
    MR_DPO_HINGE,
    MR_DPO_IPO,           /* on averages per token, as TRL */
    MR_DPO_IPO_SUM,       /* on sums, as the IPO paper's equation and the DPO repository */
    MR_DPO_SIGMOID_NORM,  /* sigmoid on averages per token */
    MR_DPO_KINDS
} mr_dpo_kind;

const char *mr_dpo_name(mr_dpo_kind kind);   /* "sigmoid", "cdpo", "robust", "hinge", "ipo", ... */
bool        mr_dpo_parse(const char *name, mr_dpo_kind *kind);

typedef struct {
    mr_dpo_kind kind;
    double      beta;             /* > 0 */
    double      smoothing;        /* [0,0.5), used by CDPO and ROBUST */
    bool        reference_free;   /* the reference's difference counts as 0 */
} mr_dpo_options;

/* MR_USAGE with a message when an option is outside its domain. */
mr_status mr_dpo_check(const mr_dpo_options *options, mr_err *err);

/* Log-probabilities of the answers (sums over scored tokens) and their numbers of scored tokens. */
typedef struct {
    double chosen, rejected, ref_chosen, ref_rejected;
    idx    n_chosen, n_rejected;
} mr_dpo_pair;

typedef struct {
    double loss, d_chosen, d_rejected;         /* derivatives by the policy's two sums */
    double reward_chosen, reward_rejected;     /* implicit rewards */
} mr_dpo_result;

/* (P6) */
mr_dpo_result mr_dpo(const mr_dpo_pair *pair, const mr_dpo_options *options);

typedef struct {
    double loss, reward_chosen, reward_rejected;   /* means */
    double accuracy, margin;                       /* strict: ties are wrong */
} mr_dpo_metrics;

mr_dpo_metrics mr_dpo_summary(const mr_dpo_result *result, idx n);   /* (P7) */

/* ---- loss_kl.c ------------------------------------------------------------------------------- */

typedef enum { MR_KL_K1, MR_KL_K2, MR_KL_K3 } mr_kl_kind;

/* (Q1) estimate of KL(policy || reference) from one sampled token; slope by the policy's log p
 *                                                       delta = log p(policy) - log p(reference) */
mr_term mr_kl(mr_kl_kind kind, double delta);

/* (Q2) reward[t] = -coefficient k(delta_t), the score added at the last token; their sum is what
 * REINFORCE and RLOO use. A constant: no gradient flows through it.
 *                                  reward: [n]  logp,ref_logp: [n] of the sampled tokens  n >= 1 */
void mr_kl_rewards(double *reward, const double *logp, const double *ref_logp, idx n,
                   mr_kl_kind kind, double coefficient, double score);

/* ---- loss_policy.c --------------------------------------------------------------------------- */

/* (Q3) REINFORCE: -(R - b) log p of a whole answer; slope by its log p, and so by each token's */
mr_term mr_reinforce(double logp, double reward, double baseline);

/* (Q4) RLOO advantages of k answers to each prompt, prompt after prompt; normalise: over all of
 * them, as TRL. k = 1 gives 0.                                     advantage,reward: [prompts*k] */
void mr_rloo(double *advantage, const double *reward, idx prompts, idx k, bool normalise);

/* (Q5) PPO's clipped term of one ratio exp(log_ratio): a token's, or a whole answer's (RLOO). slope
 * by the new log p, and so by each token's in the second case.                          clip > 0 */
mr_term mr_ppo_clip(double log_ratio, double advantage, double clip);

/* ---- loss_value.c ---------------------------------------------------------------------------- */

/* (Q6) generalised advantage estimates and returns; the value after the end is 0
 *                                                            advantage,returns,reward,value: [n] */
void mr_gae(double *advantage, double *returns, const double *reward, const double *value, idx n,
            double gamma, double lambda);

/* (Q7) mean 0 and variance 1 (n-1 in the divisor), in place; a single number becomes 0 */
void mr_whiten(double *x, idx n);

/* (Q8) clipped value loss of one token; slope by value */
mr_term mr_value_loss(double value, double old_value, double returns, double clip);

/* ---- sums of the router losses (ref/losses_ops.h) ------------------------------------------- */

/* Sums of (Y1) over the tokens of one layer, or of all layers (pooled). The caller clears them. */
typedef struct {
    double *chosen;        /* [E] how often an expert was chosen */
    double *probability;   /* [E] sum of its router probabilities */
    double  tokens;        /* how many tokens were counted */
} mr_balance;

/* ---- loss_cv.c ------------------------------------------------------------------------------- */

double mr_cv_squared(const double *x, idx E);   /* (Y4); 0 when the mean is 0 */

/* dx[e] = dloss * d(Y4)/dx[e]                                                        dx,x: [E] */
void mr_cv_squared_backward(double *dx, const double *x, idx E, double dloss);

#endif
