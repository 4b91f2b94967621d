/* Losses on logits and the optimiser's loops: prototypes per precision, included by ref/ops.h; no
 * include guard on purpose. Gradients are added to what is there unless said otherwise. */
#include "ref/adamw.h"
#include "ref/losses.h"

/* ---- loss_cross_entropy.c -------------------------------------------------------------------- */

/* log sum_v exp(z_v) in double                                               logits: [V]  V >= 1 */
mr_log_sum FN(log_sum_exp)(const real *logits, idx V);

/* (X3) dz[v] += dlogp ([v = target] - softmax(z)[v]); log p(target)         dlogits,logits: [V] */
double FN(log_probability_backward)(real *dlogits, const real *logits, idx V, int32_t target,
                                    double dlogp, mr_engine engine);

/* *loss += (X5), dlogits += its derivative unless NULL
 *                  dlogits,logits: [T,V]  targets,weight: [T], a negative target is not scored */
void FN(token_losses)(double *loss, real *dlogits, const real *logits, const int32_t *targets,
                      const double *weight, idx T, idx V, mr_engine engine);

/* ---- loss_kl_exact.c ------------------------------------------------------------------------- */

/* (Q9) KL(policy || reference) of one row of logits                        logits,reference: [V] */
double FN(kl_exact)(const real *logits, const real *reference, idx V);

/* dlogits[v] += dkl d(Q9)/dlogits[v]; the reference gets no gradient */
void FN(kl_exact_backward)(real *dlogits, const real *logits, const real *reference, idx V,
                           double dkl);

/* ---- loss_balance.c -------------------------------------------------------------------------- */

/* (Y1) adds T tokens to the sums: their first `slots` choices, and softmax(logits)
 * logits: [T,E]  experts: [T,K] of (M1)  1 <= slots <= K  mask: [T], 0 is padding; NULL: none is */
void FN(balance_add)(mr_balance *sums, const real *logits, const int32_t *experts,
                     const uint8_t *mask, idx T, idx E, idx K, idx slots);

double FN(balance_loss)(const mr_balance *sums, idx E);   /* (Y2); 0 when no token was counted */

/* dlogits += dloss d(Y2)/dlogits for the tokens of one earlier balance_add, all sums complete; the
 * choices count as constants                                              dlogits,logits: [T,E] */
void FN(balance_backward)(real *dlogits, const real *logits, const mr_balance *sums,
                          const uint8_t *mask, idx T, idx E, double dloss);

/* ---- loss_importance.c ----------------------------------------------------------------------- */

/* (Y3) importance[e] += sum of the gate weights of e; the loss is (Y4) of the complete sums
 *                                                importance: [E]  experts,weights: [T,K] of (M1) */
void FN(importance_add)(double *importance, const int32_t *experts, const real *weights, idx T,
                        idx K);

/* dlogits += through the gate, from dimportance[e] = dL/dimportance[e]          dlogits: [T,E] */
void FN(importance_backward)(real *dlogits, const int32_t *experts, const real *weights,
                             const double *dimportance, idx T, idx E, idx K);

/* ---- loss_load.c ----------------------------------------------------------------------------- */

/* (Y5) noisy[i] = clean[i] + normal[i] softplus(spread[i]): what the router then chooses from
 *                                                                noisy,clean,spread,normal: [n] */
void FN(noisy_logits)(real *noisy, const real *clean, const real *spread, const real *normal,
                      idx n);

/* dclean += dnoisy, dspread += dnoisy normal sigma(spread)                      all arrays: [n] */
void FN(noisy_logits_backward)(real *dclean, real *dspread, const real *dnoisy, const real *spread,
                               const real *normal, idx n);

/* (Y6) load[e] += sum over T tokens of the probability that e is among the K largest when its own
 * noise is drawn again; the loss is (Y4) of the complete sums
 *                                                         load: [E]  clean,spread,noisy: [T,E] */
void FN(load_add)(double *load, const real *clean, const real *spread, const real *noisy, idx T,
                  idx E, idx K);

/* dclean, dspread += from dload[e] = dL/dload[e], through e's own values and through the threshold
 *                                                                         all but dload: [T,E] */
void FN(load_backward)(real *dclean, real *dspread, const real *clean, const real *spread,
                       const real *normal, const real *noisy, const double *dload, idx T, idx E,
                       idx K);

/* ---- loss_router_z.c ------------------------------------------------------------------------- */

/* (Y7) sum over T tokens of (log sum_e exp z_e)^2; the loss divides by the number of tokens
 *                                                   logits: [T,E]  mask: [T] or NULL, as in (Y1) */
double FN(router_z)(const real *logits, const uint8_t *mask, idx T, idx E);

/* dlogits += dsum d(Y7)/dlogits */
void FN(router_z_backward)(real *dlogits, const real *logits, const uint8_t *mask, idx T, idx E,
                           double dsum);

/* ---- adamw.c --------------------------------------------------------------------------------- */

/* (O1) one step of n parameters; m and v start at 0, step at 1; grad is used as it is (scaled by
 * FN(scale) before, when clipped)                                        theta,m,v,grad: [n] */
void FN(adamw)(real *theta, real *m, real *v, const real *grad, idx n, const mr_adamw *options,
               double lr, bool decays, int64_t step);

/* (O2) sum of squares in double, in the order of the elements: the global norm is the root of the
 * sum over all tensors */
double FN(squared_norm)(const real *x, idx n);

/* (O3) x[i] = c x[i] */
void FN(scale)(real *x, idx n, double c);
