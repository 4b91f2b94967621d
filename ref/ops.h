/* Every equation of the model, in reading order. Included once per precision (by ref/mr.h, or
 * after ref/real.h in the equations' own files), so each prototype exists as mr_NAME_f32 and
 * mr_NAME_f64; no include guard on purpose.
 *
 * Letters: T tokens, S keys, d dim, H heads, G kv heads, D head_dim, F hidden_dim, E experts, K
 * experts per token, V vocabulary, W window. Arrays are row-major; heads come before head_dim.
 * Arguments: outputs, inputs, weights, sizes, scalars. Equations never allocate, cannot fail, and
 * read and write only what they are given. Outputs must not overlap inputs unless said. Tags such
 * as (N1) are those of docs/MODEL.md.
 *
 * mr_storage: under bf16 or f16 emulation, weights are rounded when read, and an op rounds where
 * its source rounds *inside* the op. The rounding of an op's result is done by keep() in block.c,
 * at the place that shows it to a trace. */

/* ---- embedding.c ----------------------------------------------------------------------------- */

/* (E1) h[t,:] = table[tokens[t],:]
 *                                  h: [T,d]  table: [V,d]  tokens in [0,V), proved by the caller */
void FN(embedding)(real *h, const int32_t *tokens, const mr_matrix *table, idx T,
                   mr_storage storage);

/* (E1') dtable[tokens[t],:] += dh[t,:]                                  dtable: [V,d]  dh: [T,d] */
void FN(embedding_backward)(const mr_matrix *dtable, const real *dh, const int32_t *tokens, idx T);

/* ---- rmsnorm.c ------------------------------------------------------------------------------- */

/* (N1) y[t,i] = g[i] * rd(x[t,i] / sqrt(mean_j x[t,j]^2 + eps))
 *                                                               y,x: [T,d]  g: [1,d]  y may be x */
void FN(rmsnorm)(real *y, const real *x, const mr_matrix *g, idx T, double eps, mr_storage storage);

/* (N1') dx += the derivative by x, dg += by g              dx,dy,x: [T,d]  dg,g: [1,d] */
void FN(rmsnorm_backward)(real *dx, const mr_matrix *dg, const real *dy, const real *x,
                          const mr_matrix *g, idx T, double eps);

/* ---- linear.c -------------------------------------------------------------------------------- */

/* (L1) y[t,o] = sum_i W[o,i] x[t,i]
 *                                      y: [T,rows]  x: [T,cols]  scratch: [mr_linear_scratch(cols)]
 * plain: products in fixed order (16 lanes, then a tree), summed in double, one rounding; the same
 * bits for any T, thread count, compiler or optimisation level. blas: OpenBLAS, in the precision's
 * own type. */
void FN(linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage,
                mr_engine engine, real *scratch);

/* (L1') dx[t,i] += sum_o dy[t,o] W[o,i]
 *                                 dx: [T,cols]  dy: [T,rows]  scratch: [mr_linear_scratch(cols)] */
void FN(linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T, mr_engine engine,
                         real *scratch);

/* (L3) dW[o,i] += dy[t,o] x[t,i], plain: ascending t
 *                                               dW: [rows,cols]  dy: [T,rows]  x: [T,cols] */
void FN(linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T,
                                mr_engine engine);

/* ---- rope.c ---------------------------------------------------------------------------------- */

/* (R2) cos_[t,i], sin_[t,i] of the angle position[t] * theta^(-2i/D)      cos_,sin_: [T,D/2] */
void FN(rope_table)(real *cos_, real *sin_, const int64_t *position, idx T, idx D, double theta,
                    mr_rope_angles angles);

/* (R1) rotates the pairs of every head by their angle
 *                                               y,x: [T,heads,D]  cos_,sin_: [T,D/2]  y may be x */
void FN(rope)(real *y, const real *x, const real *cos_, const real *sin_, idx T, idx heads, idx D,
              mr_rope_layout layout, mr_storage storage, mr_convention convention);

/* (R1') dx: dy turned back            dx,dy: [T,heads,D]  cos_,sin_: [T,D/2]  dx may be dy */
void FN(rope_backward)(real *dx, const real *dy, const real *cos_, const real *sin_, idx T,
                       idx heads, idx D, mr_rope_layout layout);

/* (R3) reorders each head's D elements from one rotary layout to the other, in place
 *                                                                                 x: [T,heads,D] */
void FN(rope_relayout)(real *x, idx T, idx heads, idx D, mr_rope_layout from, mr_rope_layout to);

/* ---- attention.c ----------------------------------------------------------------------------- */

/* Keys and values of one sequence: the ring holds positions [seen - min(seen,slots), seen), the
 * new rows what follows. */
typedef struct {
    /* [slots,G,D], position p of the sequence in slot (origin+p) mod slots */
    const real *ring_k, *ring_v;
    const real *new_k, *new_v;     /* [s,G,D], positions seen .. seen+s-1 */
    idx         slots, seen;
    /* absolute position of the sequence's first token; 0 without a window */
    int64_t     origin;
} FN(keys);

/* (A2) scores, probs and output of one query row and head over the keys [from,to) of its sequence
 *      s_j = (q . k_j) D^-1/2,  P = softmax(s),  o = sum_j P_j v_j
 * o,q: [D]  scores,probs: [to-from] (may be the same array)  g: kv head. No key at all: o = 0,
 * result false. */
bool FN(attention_row)(real *o, real *scores, real *probs, const real *q, const FN(keys) *keys,
                       idx g, idx from, idx to, idx G, idx D, mr_storage storage,
                       mr_attention_rounding rounding);

/* (A2') derivatives of one query row and head by q (written), all k and v of its sequence (added)
 * dq,d_o,o,q: [D]  dk,dv: [s,G,D]  probs,dprobs,dscores: [to-from], probs is formed again, dprobs
 * may be dscores  keys: without a ring */
void FN(attention_row_backward)(real *dq, real *dk, real *dv, real *dscores, real *dprobs,
                                real *probs, const real *d_o, const real *o, const real *q,
                                const FN(keys) *keys, idx g, idx from, idx to, idx G, idx D);

/* ---- cache.c --------------------------------------------------------------------------------- */

/* (C1) writes the last min(s,slots) of s new rows to the ring: position p in slot p mod slots,
 * after they were attended.
 * ring_k,ring_v: [slots,G,D]  k,v: [s,G,D]  position: absolute position of the first new row
 * width = G*D */
void FN(cache_write)(real *ring_k, real *ring_v, const real *k, const real *v, idx s,
                     int64_t position, idx slots, idx width);

/* ---- swiglu.c -------------------------------------------------------------------------------- */

/* (F1) act = rd(silu(a)) * u,  silu(z) = z / (1 + exp(-z))      act,a,u: [n]; act may be a or u */
void FN(swiglu)(real *act, const real *a, const real *u, idx n, mr_storage storage,
                mr_engine engine);

/* (F1') derivatives by a and u                     da,du,dact,a,u: [n]; da or du may be dact */
void FN(swiglu_backward)(real *da, real *du, const real *dact, const real *a, const real *u,
                         idx n, mr_engine engine);

/* ---- moe.c ----------------------------------------------------------------------------------- */

/* (M1) the K largest logits of each token, larger first, ties to the lower expert, and their gate
 * weights
 * experts: [T,K]  weights: [T,K]  logits: [T,E]. NaN logits count as -inf. */
void FN(router)(int32_t *experts, real *weights, const real *logits, idx T, idx E, idx K,
                mr_router_order order);

/* (M3) y[t] = sum over chosen experts of w * FFN_e(x[t]), from the experts' outputs
 * y: [T,d]  out: [copies,d]  place: [T,K] row of out that holds slot k of token t, -1 when dropped
 * by a capacity limit */
void FN(moe_combine)(real *y, const real *out, const idx *place, const int32_t *experts,
                     const real *weights, idx T, idx K, idx d, mr_expert_order order,
                     mr_storage storage);

/* (M2) gathers rows: y[c] = x[copy[c] / K]
 *                                        y: [n,d]  x: [T,d]  copy: [n] flat index token*K + slot */
void FN(moe_gather)(real *y, const real *x, const idx *copy, idx n, idx K, idx d);

/* (M3') derivatives by the experts' outputs and the gate weights; dropped copies: dweights 0
 *                        dout,out: [copies,d]  dweights,weights: [T,K]  dy: [T,d]  place: [T,K] */
void FN(moe_combine_backward)(real *dout, real *dweights, const real *dy, const real *out,
                              const idx *place, const real *weights, idx T, idx K, idx d);

/* (M2') dx[t] += sum of its copies' derivatives, experts in the order of (M3)
 *                                           dx: [T,d]  dcopy: [copies,d]  place,experts: [T,K] */
void FN(moe_gather_backward)(real *dx, const real *dcopy, const idx *place, const int32_t *experts,
                             idx T, idx K, idx d, mr_expert_order order);

/* (M1') the derivative by the router's logits, 0 for experts not chosen
 *                                     dlogits: [T,E]  dweights,weights,experts: [T,K] */
void FN(router_backward)(real *dlogits, const real *dweights, const real *weights,
                         const int32_t *experts, idx T, idx E, idx K);

/* ---- loss_cross_entropy.c -------------------------------------------------------------------- */

/* (X1) log-probability of `target` under softmax(logits)      logits: [V] */
double FN(log_probability)(const real *logits, idx V, int32_t target);

/* (X2) mean of -log p over rows with target >= 0 (a negative target is not scored); 0 when none
 *                                                                                  logits: [T,V] */
double FN(cross_entropy)(const real *logits, const int32_t *targets, idx T, idx V);

/* ---- losses on logits, optimiser ------------------------------------------------------------- */

#include "ref/losses_ops.h"
