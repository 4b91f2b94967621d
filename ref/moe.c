/* Sparse mixture of experts: the router's choice, and the sum of the chosen experts. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>
#include <string.h>

/* Larger logit first, equal logits to the lower expert; NaN counts as -inf. */
static real rank_value(real logit) { return isnan(logit) ? -(real)INFINITY : logit; }

static void top_k(int32_t *experts, const real *logits, idx E, idx K) {
    for (idx k = 0; k < K; k++) {
        idx best = -1;
        for (idx e = 0; e < E; e++) {
            bool taken = false;
            for (idx j = 0; j < k; j++) taken = taken || experts[j] == e;
            if (!taken && (best < 0 || rank_value(logits[e]) > rank_value(logits[best]))) best = e;
        }
        experts[k] = (int32_t)best;
    }
}

/* softmax over the K chosen logits; the largest comes first */
static void gate_paper(real *weights, const int32_t *experts, const real *logits, idx K) {
    const acc top = (acc)rank_value(logits[experts[0]]);
    acc sum = 0;
    for (idx k = 0; k < K; k++) sum += exp((acc)rank_value(logits[experts[k]]) - top);
    for (idx k = 0; k < K; k++)
        weights[k] = (real)(exp((acc)rank_value(logits[experts[k]]) - top) / sum);
}

/* softmax over all E, rounded to real as Hugging Face's float tensor is, then divided by the sum
 * of the chosen K */
static void gate_hf(real *weights, const int32_t *experts, const real *logits, idx E, idx K) {
    const acc top = (acc)rank_value(logits[experts[0]]);
    acc all = 0, chosen = 0;
    for (idx e = 0; e < E; e++) all += exp((acc)rank_value(logits[e]) - top);
    for (idx k = 0; k < K; k++) {
        weights[k] = (real)(exp((acc)rank_value(logits[experts[k]]) - top) / all);
        chosen += (acc)weights[k];
    }
    for (idx k = 0; k < K; k++) weights[k] = (real)((acc)weights[k] / (acc)(real)chosen);
}

/* (M1) S = the K largest of z = Wg x,  g_e = exp(z_e) / sum_{S} exp(z)
 *                                                                       Jiang et al. 2024, sec. 2.1
 * experts,weights: [T,K], larger logit first, ties to the lower expert  logits: [T,E]
 * MR_SOFTMAX_TOPK forms the same numbers in Hugging Face's order; only rounding differs. */
void FN(router)(int32_t *experts, real *weights, const real *logits, idx T, idx E, idx K,
                mr_router_order order) {
    for (idx t = 0; t < T; t++) {
        top_k(experts + t * K, logits + t * E, E, K);
        if (order == MR_TOPK_SOFTMAX)
            gate_paper(weights + t * K, experts + t * K, logits + t * E, K);
        else gate_hf(weights + t * K, experts + t * K, logits + t * E, E, K);
    }
}

/* (M2) y[c] = x[ token of copy c ]
 *                                       y: [n,d]  x: [T,d]  copy: [n], flat index token*K + slot */
void FN(moe_gather)(real *y, const real *x, const idx *copy, idx n, idx K, idx d) {
    PARALLEL_FOR(n * d)
    for (idx c = 0; c < n; c++) memcpy(y + c * d, x + copy[c] / K * d, (size_t)d * sizeof *y);
}

/* The slot that is summed after `last`: the next larger expert id, or simply the next slot; -1 at
 * the end. */
static idx next_slot(const int32_t *experts, idx K, idx last, mr_expert_order order) {
    if (order == MR_EXPERTS_SLOTS) return last + 1 < K ? last + 1 : -1;
    idx best = -1;
    for (idx k = 0; k < K; k++)
        if ((last < 0 || experts[k] > experts[last]) && (best < 0 || experts[k] < experts[best]))
            best = k;
    return best;
}

/* (M3) y[t] = sum_{e in S} g_e FFN_e(x[t])
 *                                  Jiang et al. 2024, sec. 2.1; mistral-src moe.py MoeLayer.forward
 * y: [T,d]  out: [copies,d]  place: [T,K] row of `out`, -1 when a capacity limit dropped the copy
 * order: y = rd(y + rd(g_e out_e)), experts ascending by default: for K >= 3 the order is part of
 * the equation. */
void FN(moe_combine)(real *y, const real *out, const idx *place, const int32_t *experts,
                     const real *weights, idx T, idx K, idx d, mr_expert_order order,
                     mr_storage storage) {
    PARALLEL_FOR(T * K * d)
    for (idx t = 0; t < T; t++) {
        for (idx i = 0; i < d; i++) y[t * d + i] = 0;
        for (idx k = next_slot(experts + t * K, K, -1, order); k >= 0;
             k = next_slot(experts + t * K, K, k, order)) {
            if (place[t * K + k] < 0) continue;
            const real g = weights[t * K + k], *row = out + place[t * K + k] * d;
            for (idx i = 0; i < d; i++) {
                const real part = FN(rd)(g * row[i], storage);
                y[t * d + i] = FN(rd)(y[t * d + i] + part, storage);
            }
        }
    }
}

/* (M3') dout[c] = g_e dy[t],  dg_e = dy[t] . out[c]  for copy c of token t at expert e
 * A dropped copy gives nothing: dg = 0.
 *                         dout,out: [copies,d]  dweights,weights: [T,K]  dy: [T,d]  place: [T,K] */
void FN(moe_combine_backward)(real *dout, real *dweights, const real *dy, const real *out,
                              const idx *place, const real *weights, idx T, idx K, idx d) {
    PARALLEL_FOR(T * K * d)
    for (idx n = 0; n < T * K; n++) {
        const real *slope = dy + n / K * d;
        dweights[n] = 0;
        if (place[n] < 0) continue;
        real *row = dout + place[n] * d;
        for (idx i = 0; i < d; i++) row[i] = weights[n] * slope[i];
        dweights[n] = (real)FN(dot)(slope, out + place[n] * d, d);
    }
}

/* (M2') dx[t] += sum over the copies c of token t of dcopy[c], experts in the order of (M3)
 *                                            dx: [T,d]  dcopy: [copies,d]  place,experts: [T,K] */
void FN(moe_gather_backward)(real *dx, const real *dcopy, const idx *place, const int32_t *experts,
                             idx T, idx K, idx d, mr_expert_order order) {
    PARALLEL_FOR(T * K * d)
    for (idx t = 0; t < T; t++)
        for (idx k = next_slot(experts + t * K, K, -1, order); k >= 0;
             k = next_slot(experts + t * K, K, k, order)) {
            if (place[t * K + k] < 0) continue;
            const real *row = dcopy + place[t * K + k] * d;
            for (idx i = 0; i < d; i++) dx[t * d + i] += row[i];
        }
}

/* (M1') dz_e = g_e ( dg_e - sum_{S} g_j dg_j )  for e in S, 0 for the others
 * Both router orders: the denominator over all experts cancels. No gradient goes through the
 * choice itself, and with K = 1 none at all: the gate is the constant 1.
 *                                   dlogits: [T,E]  dweights,weights: [T,K]  experts: [T,K] */
void FN(router_backward)(real *dlogits, const real *dweights, const real *weights,
                         const int32_t *experts, idx T, idx E, idx K) {
    for (idx t = 0; t < T; t++) {
        const real *g = weights + t * K, *dg = dweights + t * K;
        acc mean = 0;
        for (idx e = 0; e < E; e++) dlogits[t * E + e] = 0;
        for (idx k = 0; k < K; k++) mean += (acc)g[k] * (acc)dg[k];
        for (idx k = 0; k < K; k++)
            dlogits[t * E + experts[t * K + k]] = (real)((acc)g[k] * ((acc)dg[k] - mean));
    }
}
