/* Grouped-query attention: each query head reads the keys and values of its group's head. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define CHANNELS 64   /* channels of v summed at a time */
#define KEPT 1024     /* exponentials of a row that need not be formed twice */

/* s_j = (q . k_j) D^-1/2; the eager path of both upstreams rounds the product and the scaled
 * product */
static void row_scores(real *scores, const real *q, const FN(keys) *keys, idx g, idx from, idx to,
                       idx G, idx D, mr_storage inner) {
    const acc scale = 1 / sqrt((acc)D);
    for (idx j = from; j < to; j += MR_DOT_ROWS) {
        const idx n = to - j < MR_DOT_ROWS ? to - j : MR_DOT_ROWS;
        const void *k[MR_DOT_ROWS];
        acc product[MR_DOT_ROWS];
        for (idx a = 0; a < MR_DOT_ROWS; a++)
            k[a] = FN(row_at)(keys, keys->ring_k, keys->new_k, j + (a < n ? a : n - 1), G * D) +
                   g * D;
        FN(dot_rows)(product, k, q, D);
        for (idx a = 0; a < n; a++)
            if (inner == MR_STORE_WIDE) scores[j + a - from] = (real)(product[a] * scale);
            else
                scores[j + a - from] = FN(rd)(FN(rd)((real)product[a], inner) * (real)scale,
                                              inner);
    }
}

/* P_j = exp(s_j - max s) / sum_k exp(s_k - max s), formed in double, one rounding to real, one to
 * the storage type */
static void row_softmax(real *probs, const real *scores, idx n, mr_storage inner) {
    real top = scores[0];
    for (idx j = 1; j < n; j++) top = scores[j] > top ? scores[j] : top;
    acc sum = 0, kept[KEPT];
    for (idx j = 0; j < n; j++) {
        const acc e = exp((acc)scores[j] - (acc)top);
        if (j < KEPT) kept[j] = e;
        sum += e;
    }
    for (idx j = 0; j < n; j++) {
        const acc e = j < KEPT ? kept[j] : exp((acc)scores[j] - (acc)top);
        probs[j] = FN(rd)((real)(e / sum), inner);
    }
}

/* sum[c] += P_j v_jc, ascending j; inlined twice, once with constant bounds */
INLINE void add_values(acc *sum, const real *probs, const FN(keys) *keys, const real *ring,
                       const real *rows, idx from, idx to, idx width, idx at, idx channels) {
    for (idx j = from; j < to; j++) {
        const real *v = FN(row_at)(keys, ring, rows, j, width) + at;
        const acc p = (acc)probs[j - from];
        SIMD
        for (idx c = 0; c < channels; c++) sum[c] += p * (acc)v[c];
    }
}

/* o = scale sum_j P_j v_j, ascending j, in double        ring,rows: of v, or of k in backward */
CLONES static void FN(row_output)(real *o, const real *probs, const FN(keys) *keys,
                                  const real *ring, const real *rows, idx g, idx from, idx to,
                                  idx G, idx D, acc scale) {
    for (idx c0 = 0; c0 < D; c0 += CHANNELS) {
        const idx channels = D - c0 < CHANNELS ? D - c0 : CHANNELS, at = g * D + c0;
        acc sum[CHANNELS] = {0};
        if (channels == CHANNELS)
            add_values(sum, probs, keys, ring, rows, from, to, G * D, at, CHANNELS);
        else add_values(sum, probs, keys, ring, rows, from, to, G * D, at, channels);
        for (idx c = 0; c < channels; c++) o[c0 + c] = (real)(scale * sum[c]);
    }
}

/* (A2) o = sum_j P_j v_j,  P = softmax_j( (q . k_j) / sqrt(D) )
 *                                                  Vaswani 2017; GQA: Ainslie et al. 2023, sec. 2.2
 * o,q: [D]  scores,probs: [to-from], may be the same array  keys: ring [slots,G,D] and new rows
 * [s,G,D] The scale is head_dim^-1/2, never (dim/heads)^-1/2. Masked keys are skipped, not added
 * as
 * -inf. */
bool FN(attention_row)(real *o, real *scores, real *probs, const real *q, const FN(keys) *keys,
                       idx g, idx from, idx to, idx G, idx D, mr_storage storage,
                       mr_attention_rounding rounding) {
    const mr_storage inner = rounding == MR_ATTENTION_EAGER ? storage : MR_STORE_WIDE;
    if (from >= to) {
        for (idx c = 0; c < D; c++) o[c] = 0;
        return false;
    }
    row_scores(scores, q, keys, g, from, to, G, D, inner);
    row_softmax(probs, scores, to - from, inner);
    FN(row_output)(o, probs, keys, keys->ring_v, keys->new_v, g, from, to, G, D, 1);
    return true;
}

/* dP_j = do . v_j,  dS_j = P_j (dP_j - do . o) */
static void row_scores_backward(real *dscores, real *dprobs, const real *probs, const real *d_o,
                                const real *o, const FN(keys) *keys, idx g, idx from, idx to,
                                idx G, idx D) {
    const acc mean = FN(dot)(d_o, o, D);
    for (idx j = from; j < to; j += MR_DOT_ROWS) {
        const idx n = to - j < MR_DOT_ROWS ? to - j : MR_DOT_ROWS;
        const void *v[MR_DOT_ROWS];
        acc slope[MR_DOT_ROWS];
        for (idx a = 0; a < MR_DOT_ROWS; a++)
            v[a] = keys->new_v + ((j + (a < n ? a : n - 1)) * G + g) * D;
        FN(dot_rows)(slope, v, d_o, D);
        for (idx a = 0; a < n; a++) {
            const idx at = j + a - from;
            dprobs[at] = (real)slope[a];
            dscores[at] = (real)((acc)probs[at] * (slope[a] - mean));
        }
    }
}

/* dk_j += dS_j D^-1/2 q,  dv_j += P_j do                        dk,dv,q,d_o: [D] */
CLONES static void FN(add_key_slopes)(real *dk, real *dv, const real *q, const real *d_o, acc s,
                                      acc p, idx D) {
    SIMD
    for (idx c = 0; c < D; c++) {
        dk[c] = (real)((acc)dk[c] + s * (acc)q[c]);
        dv[c] = (real)((acc)dv[c] + p * (acc)d_o[c]);
    }
}

/* (A2') dP_j = do . v_j,  dS_j = P_j (dP_j - do . o)
 *       dq = D^-1/2 sum_j dS_j k_j,  dk_j += D^-1/2 dS_j q,  dv_j += P_j do
 * One query row and head; P is formed again, so that nothing of size T^2 is kept. Masked keys get
 * nothing.
 * dq,d_o,o,q: [D]  dk,dv: [s,G,D], all heads' rows of the sequence  probs,dprobs,dscores:
 * [to-from], dprobs may be dscores  keys: without a ring */
void FN(attention_row_backward)(real *dq, real *dk, real *dv, real *dscores, real *dprobs,
                                real *probs, const real *d_o, const real *o, const real *q,
                                const FN(keys) *keys, idx g, idx from, idx to, idx G, idx D) {
    const acc scale = 1 / sqrt((acc)D);
    for (idx c = 0; c < D; c++) dq[c] = 0;
    if (from >= to) return;
    row_scores(probs, q, keys, g, from, to, G, D, MR_STORE_WIDE);
    row_softmax(probs, probs, to - from, MR_STORE_WIDE);
    row_scores_backward(dscores, dprobs, probs, d_o, o, keys, g, from, to, G, D);
    FN(row_output)(dq, dscores, keys, keys->ring_k, keys->new_k, g, from, to, G, D, scale);
    for (idx j = from; j < to; j++) {
        const acc p = (acc)probs[j - from], s = scale * (acc)dscores[j - from];
        const idx at = (j * G + g) * D;
        FN(add_key_slopes)(dk + at, dv + at, q, d_o, s, p, D);
    }
}
