/* Grouped-query attention: each query head reads the keys and values of its group's head. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define CHANNELS 64   /* channels of v summed at a time */

/* Row of key or value at position p of its sequence: from the ring while p < seen, else among the
 * new rows. */
static const real *row_at(const FN(keys) *keys, const real *ring, const real *rows, idx p,
                          idx width) {
    if (p >= keys->seen) return rows + (p - keys->seen) * width;
    return ring + (idx)((keys->origin + p) % keys->slots) * width;
}

/* s_j = (q . k_j) D^-1/2; the eager path of both upstreams rounds the product and the scaled
 * product */
static void row_scores(real *scores, const real *q, const FN(keys) *keys, idx g, idx from, idx to,
                       idx G, idx D, mr_storage inner) {
    const acc scale = 1 / sqrt((acc)D);
    for (idx j = from; j < to; j++) {
        const acc product = FN(dot)(q, row_at(keys, keys->ring_k, keys->new_k, j, G * D) + g * D,
                                    D);
        if (inner == MR_STORE_WIDE) scores[j - from] = (real)(product * scale);
        else
            scores[j - from] = FN(rd)(FN(rd)((real)product, inner) * (real)scale,
                                              inner);
    }
}

/* P_j = exp(s_j - max s) / sum_k exp(s_k - max s), formed in double, one rounding to real, one to
 * the storage type */
static void row_softmax(real *probs, const real *scores, idx n, mr_storage inner) {
    real top = scores[0];
    for (idx j = 1; j < n; j++) top = scores[j] > top ? scores[j] : top;
    acc sum = 0;
    for (idx j = 0; j < n; j++) sum += exp((acc)scores[j] - (acc)top);
    for (idx j = 0; j < n; j++)
        probs[j] = FN(rd)((real)(exp((acc)scores[j] - (acc)top) / sum), inner);
}

/* o = scale sum_j P_j v_j, ascending j, in double        ring,rows: of v, or of k in backward */
static void row_output(real *o, const real *probs, const FN(keys) *keys, const real *ring,
                       const real *rows, idx g, idx from, idx to, idx G, idx D, acc scale) {
    for (idx c0 = 0; c0 < D; c0 += CHANNELS) {
        const idx channels = D - c0 < CHANNELS ? D - c0 : CHANNELS;
        acc sum[CHANNELS] = {0};
        for (idx j = from; j < to; j++) {
            const real *v = row_at(keys, ring, rows, j, G * D) + g * D + c0;
            for (idx c = 0; c < channels; c++) sum[c] += (acc)probs[j - from] * (acc)v[c];
        }
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
    row_output(o, probs, keys, keys->ring_v, keys->new_v, g, from, to, G, D, 1);
    return true;
}

/* dP_j = do . v_j,  dS_j = P_j (dP_j - do . o) */
static void row_scores_backward(real *dscores, real *dprobs, const real *probs, const real *d_o,
                                const real *o, const FN(keys) *keys, idx g, idx from, idx to,
                                idx G, idx D) {
    const acc mean = FN(dot)(d_o, o, D);
    for (idx j = from; j < to; j++) {
        const acc slope = FN(dot)(d_o, keys->new_v + (j * G + g) * D, D);
        dprobs[j - from] = (real)slope;
        dscores[j - from] = (real)((acc)probs[j - from] * (slope - mean));
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
    row_output(dq, dscores, keys, keys->ring_k, keys->new_k, g, from, to, G, D, scale);
    for (idx j = from; j < to; j++) {
        const acc p = (acc)probs[j - from], s = scale * (acc)dscores[j - from];
        const idx at = (j * G + g) * D;
        for (idx c = 0; c < D; c++) {
            dk[at + c] = (real)((acc)dk[at + c] + s * (acc)q[c]);
            dv[at + c] = (real)((acc)dv[at + c] + p * (acc)d_o[c]);
        }
    }
}
