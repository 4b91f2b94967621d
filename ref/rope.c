/* Rotary position embedding: each pair of a head's channels turns by an angle proportional to the
 * token's position. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>
#include <string.h>

/* Inverse frequency of pair i: theta^(-2i/D). MR_ANGLES_F32 follows PyTorch: the exponent, the
 * power and its reciprocal are each rounded to float. */
static double frequency(idx i, idx D, double theta, mr_rope_angles angles) {
    if (angles == MR_ANGLES_EXACT) return pow(theta, -2.0 * (double)i / (double)D);
    const float exponent = (float)(2 * i) / (float)D;
    return (double)(1.0F / (float)pow(theta, (double)exponent));
}

/* (R2) angle = position * theta^(-2i/D)
 *                                       Su et al. 2021, Eq. 15; transformers MistralRotaryEmbedding
 * cos_,sin_: [T,D/2]  position: any, also beyond 2^24 (then float angles lose whole turns, as
 * PyTorch's do) MR_ANGLES_F32: the angle is one float product, its cosine is rounded to float; a
 * difference of 1 ulp in the frequency is 0.008 rad at position 131071, so which of the two is
 * used belongs into every golden file. */
void FN(rope_table)(real *cos_, real *sin_, const int64_t *position, idx T, idx D, double theta,
                    mr_rope_angles angles) {
    for (idx i = 0; i < D / 2; i++) {
        const double f = frequency(i, D, theta, angles);
        for (idx t = 0; t < T; t++) {
            const idx at = t * (D / 2) + i;
            if (angles == MR_ANGLES_EXACT) {
                cos_[at] = (real)cos((double)position[t] * f);
                sin_[at] = (real)sin((double)position[t] * f);
            } else {
                const double angle = (double)((float)position[t] * (float)f);
                cos_[at] = (real)(float)cos(angle);
                sin_[at] = (real)(float)sin(angle);
            }
        }
    }
}

/* Channel of member `half` (0 or 1) of pair i. */
static idx channel(idx i, idx half, idx D, mr_rope_layout layout) {
    return layout == MR_INTERLEAVED ? 2 * i + half : i + half * (D / 2);
}

/* (R1) y_a = x_a cos - x_b sin,  y_b = x_b cos + x_a sin  for the pair (a,b)
 *                                                                            Su et al. 2021, Eq. 34
 * y,x: [T,heads,D]  cos_,sin_: [T,D/2]  pairs (2i,2i+1) interleaved, (i,i+D/2) half-split. y may
 * be x.
 * Under 16-bit storage the hf convention rounds cos, sin and both products; native rounds the
 * result only (keep). */
void FN(rope)(real *y, const real *x, const real *cos_, const real *sin_, idx T, idx heads, idx D,
              mr_rope_layout layout, mr_storage storage, mr_convention convention) {
    const mr_storage inner = convention == MR_HF ? storage : MR_STORE_WIDE;
    PARALLEL_FOR(4 * T * heads * D)
    for (idx t = 0; t < T; t++)
        for (idx i = 0; i < D / 2; i++) {
            const real c = FN(rd)(cos_[t * (D / 2) + i], inner);
            const real s = FN(rd)(sin_[t * (D / 2) + i], inner);
            for (idx h = 0; h < heads; h++) {
                const idx a = (t * heads + h) * D + channel(i, 0, D, layout);
                const idx b = (t * heads + h) * D + channel(i, 1, D, layout);
                const real xa = x[a], xb = x[b];
                const real ac = xa * c, bs = xb * s, bc = xb * c, as = xa * s;
                y[a] = FN(rd)(ac, inner) - FN(rd)(bs, inner);
                y[b] = FN(rd)(bc, inner) + FN(rd)(as, inner);
            }
        }
}

/* (R1') dx_a = dy_a cos + dy_b sin,  dx_b = dy_b cos - dy_a sin: turned back by the same angle
 *                                           dx,dy: [T,heads,D]  cos_,sin_: [T,D/2]  dx may be dy */
void FN(rope_backward)(real *dx, const real *dy, const real *cos_, const real *sin_, idx T,
                       idx heads, idx D, mr_rope_layout layout) {
    PARALLEL_FOR(4 * T * heads * D)
    for (idx t = 0; t < T; t++)
        for (idx i = 0; i < D / 2; i++) {
            const real c = cos_[t * (D / 2) + i], s = sin_[t * (D / 2) + i];
            for (idx h = 0; h < heads; h++) {
                const idx a = (t * heads + h) * D + channel(i, 0, D, layout);
                const idx b = (t * heads + h) * D + channel(i, 1, D, layout);
                const real da = dy[a], db = dy[b];
                dx[a] = da * c + db * s;
                dx[b] = db * c - da * s;
            }
        }
}

/* (R3) out[channel(i, half, to)] = in[channel(i, half, from)] for every head
 * Hugging Face stores the rows of wq and wk half-split; un-permuting the projected vector instead
 * of the mapped weights gives the same numbers without a copy of the checkpoint. */
void FN(rope_relayout)(real *x, idx T, idx heads, idx D, mr_rope_layout from, mr_rope_layout to) {
    real old[MR_MAX_HEAD_DIM];
    if (from == to) return;
    for (idx head = 0; head < T * heads; head++) {
        real *row = x + head * D;
        memcpy(old, row, (size_t)D * sizeof *old);
        for (idx i = 0; i < D / 2; i++)
            for (idx half = 0; half < 2; half++)
                row[channel(i, half, D, to)] = old[channel(i, half, D, from)];
    }
}
