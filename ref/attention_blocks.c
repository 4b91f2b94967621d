/* Attention of the BLAS engine: (A2) and (A2') for a block of neighbouring queries of one head at a
 * time, as products of matrices. Keys that none of them sees are not touched; of the others each
 * row's softmax takes its own. Needs memory for one block of queries, whatever the prompt. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#include "ref/mask.h"

#ifdef MR_BLAS

#define TILE 256   /* exponentials formed at a time */
#define LANES 16   /* partial sums and maxima of a row */

/* A block of queries: how many, the keys [from,to) each sees, and those any of them sees. */
typedef struct {
    idx n, from[MR_ATTENTION_ROWS], to[MR_ATTENTION_ROWS], first, last;
} span;

/* Queries [start,start+n) of `count` new ones; both ends of what they see ascend. */
static void span_of(span *s, const FN(keys) *keys, mr_window_rule rule, idx window, idx start,
                    idx count) {
    s->n = count - start < MR_ATTENTION_ROWS ? count - start : MR_ATTENTION_ROWS;
    for (idx a = 0; a < s->n; a++)
        mr_mask_range(rule, window, keys->seen + start + a, keys->seen + count, &s->from[a],
                      &s->to[a]);
    s->first = s->from[0];
    s->last = s->to[s->n - 1];
}

/* Positions from p on, before `to`, whose rows follow one another in memory. */
static idx stretch(const FN(keys) *keys, idx p, idx to) {
    if (p >= keys->seen) return to - p;
    const idx slot = (idx)((keys->origin + p) % keys->slots);
    const idx end = to < keys->seen ? to : keys->seen;
    return end - p < keys->slots - slot ? end - p : keys->slots - slot;
}

/* S = Q K^T D^-1/2 */
static void block_scores(real *scores, idx stride, const real *q, const FN(keys) *keys,
                         const span *s, idx g, idx H, idx G, idx D) {
    const real scale = (real)(1 / sqrt((acc)D));
    for (idx p = s->first, m; p < s->last; p += m) {
        m = stretch(keys, p, s->last);
        FN(gemm)(false, true, s->n, m, D, scale, q, H * D,
                 FN(row_at)(keys, keys->ring_k, keys->new_k, p, G * D) + g * D, G * D, 0,
                 scores + p - s->first, stride);
    }
}

/* The largest of n numbers. */
INLINE real largest(const real *x, idx n) {
    real lane[LANES], top = x[0];
    idx i = 0;
    for (idx l = 0; l < LANES; l++) lane[l] = x[0];
    for (; i + LANES <= n; i += LANES)
        SIMD
        for (idx l = 0; l < LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (idx l = 0; l < LANES; l++) top = lane[l] > top ? lane[l] : top;
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* P_j = exp(s_j - max s) / sum_k exp(s_k - max s)
 * probs,scores: [n], may be the same; n >= 1, as every token sees itself */
CLONES static void FN(block_softmax)(real *probs, const real *scores, idx n) {
    const acc top = (acc)largest(scores, n);
    acc lane[LANES] = {0}, sum = 0;
    for (idx start = 0; start < n; start += TILE) {
        const idx count = n - start < TILE ? n - start : TILE, whole = count / LANES * LANES;
        acc e[TILE];
        for (idx i = 0; i < count; i++) e[i] = (acc)scores[start + i] - top;
        FN(exponentials)(e, count, MR_BLAS_ENGINE);
        for (idx i = 0; i < whole; i += LANES)
            SIMD
            for (idx l = 0; l < LANES; l++) lane[l] += e[i + l];
        for (idx i = whole; i < count; i++) sum += e[i];
        for (idx i = 0; i < count; i++) probs[start + i] = (real)e[i];
    }
    for (idx l = 0; l < LANES; l++) sum += lane[l];
    for (idx i = 0; i < n; i++) probs[i] = (real)((acc)probs[i] * (1 / sum));
}

static void fill(real *x, idx n, real value) {
    for (idx i = 0; i < n; i++) x[i] = value;
}

/* Softmax of every row over its own keys; what it does not see is 0, and -inf among the scores. */
static void rows_softmax(real *probs, real *scores, idx stride, const span *s) {
    const idx all = s->last - s->first;
    for (idx a = 0; a < s->n; a++) {
        const idx begin = s->from[a] - s->first, end = s->to[a] - s->first;
        real *row = scores + a * stride, *p = probs + a * stride;
        if (row != p) {
            fill(row, begin, -(real)INFINITY);
            fill(row + end, all - end, -(real)INFINITY);
        }
        FN(block_softmax)(p + begin, row + begin, end - begin);
        fill(p, begin, 0);
        fill(p + end, all - end, 0);
    }
}

/* (A2) of n new queries of head h. With a stride, scores and probs are [n,stride] by position;
 * without one, and then both the same array, they are memory for one block. */
void FN(attention_blocks)(real *o, real *scores, real *probs, idx stride, const real *q,
                          const FN(keys) *keys, mr_window_rule rule, idx window, idx n, idx h,
                          idx H, idx G, idx D) {
    const idx g = h / (H / G);
    for (idx start = 0; start < n; start += MR_ATTENTION_ROWS) {
        span s;
        span_of(&s, keys, rule, window, start, n);
        const idx at = (start * H + h) * D, corner = stride > 0 ? start * stride + s.first : 0;
        const idx wide = stride > 0 ? stride : s.last - s.first;
        block_scores(scores + corner, wide, q + at, keys, &s, g, H, G, D);
        rows_softmax(probs + corner, scores + corner, wide, &s);
        for (idx p = s.first, m; p < s.last; p += m) {                              /* O = P V */
            m = stretch(keys, p, s.last);
            FN(gemm)(false, false, s.n, D, m, 1, probs + corner + p - s.first, wide,
                     FN(row_at)(keys, keys->ring_v, keys->new_v, p, G * D) + g * D, G * D,
                     p > s.first, o + at, H * D);
        }
    }
}

/* dS_j = P_j (dP_j - do . o) where a row sees, 0 elsewhere, in dP too */
static void rows_backward(real *dscores, real *dprobs, idx stride, const real *probs,
                          const real *d_o, const real *o, const span *s, idx H, idx D) {
    const idx all = s->last - s->first;
    for (idx a = 0; a < s->n; a++) {
        const idx begin = s->from[a] - s->first, end = s->to[a] - s->first;
        const real mean = (real)FN(dot)(d_o + a * H * D, o + a * H * D, D);
        const real *p = probs + a * all;
        real *ds = dscores + a * stride, *dp = dprobs + a * stride;
        fill(dp, begin, 0);
        fill(dp + end, all - end, 0);
        for (idx j = 0; j < all; j++) ds[j] = p[j] * (dp[j] - mean);
    }
}

/* (A2') of n queries of head h, without a ring. With a stride, dscores and dprobs are [n,stride] by
 * position; without one, and then both the same array, memory for one block, as probs is. */
void FN(attention_blocks_backward)(real *dq, real *dk, real *dv, real *dscores, real *dprobs,
                                   idx stride, real *probs, const real *d_o, const real *o,
                                   const real *q, const FN(keys) *keys, mr_window_rule rule,
                                   idx window, idx n, idx h, idx H, idx G, idx D) {
    const real scale = (real)(1 / sqrt((acc)D));
    for (idx start = 0; start < n; start += MR_ATTENTION_ROWS) {
        span s;
        span_of(&s, keys, rule, window, start, n);
        const idx m = s.last - s.first, wide = stride > 0 ? stride : m;
        const idx corner = stride > 0 ? start * stride + s.first : 0;
        const idx at = (start * H + h) * D, key = (s.first * G + h / (H / G)) * D;
        real *dP = dprobs + corner, *dS = dscores + corner;
        block_scores(probs, m, q + at, keys, &s, h / (H / G), H, G, D);
        rows_softmax(probs, probs, m, &s);
        FN(gemm)(false, true, s.n, m, D, 1, d_o + at, H * D, keys->new_v + key, G * D, 0, dP,
                 wide);                                                          /* dP = dO V^T */
        rows_backward(dS, dP, wide, probs, d_o + at, o + at, &s, H, D);
        FN(gemm)(false, false, s.n, D, m, scale, dS, wide, keys->new_k + key, G * D, 0, dq + at,
                 H * D);                                                     /* dQ = D^-1/2 dS K */
        FN(gemm)(true, false, m, D, s.n, scale, dS, wide, q + at, H * D, 1, dk + key,
                 G * D);                                                  /* dK += D^-1/2 dS^T Q */
        FN(gemm)(true, false, m, D, s.n, 1, probs, m, d_o + at, H * D, 1, dv + key,
                 G * D);                                                         /* dV += P^T dO */
    }
}

#endif
