/* Error bounds of the model's operations, for any order of summation and any rounding in
 * between. */
#include "golden/replay_round.h"

#include <math.h>

#include "ref/half.h"

#define U32     0x1p-24
#define FUNCTION_ULPS 4.0   /* error of exp, rsqrt, sin, cos and division in units of `sum` */

/* Weights that nobody gave: every value is possible. */
static bool unknown(mr_bounded y, idx n, const mr_matrix *W) {
    for (idx i = 0; W->data == NULL && i < n; i++) {
        y.v[i] = 0;
        y.e[i] = y.s[i] = (double)INFINITY;
    }
    return W->data == NULL;
}

/* (V1) a copy; rounded when the table is wider than the storage (mr_embedding rounds v itself) */
void mr_bound_embedding(mr_bounded y, const int32_t *tokens, const mr_matrix *table, idx T,
                        const mr_arithmetic *a) {
    if (unknown(y, T * table->cols, table)) return;
    mr_embedding_f64(y.v, tokens, table, T, a->storage);
    const bool exact = a->storage != MR_STORE_WIDE || table->dtype != MR_F64;
    for (idx i = 0; i < T * table->cols; i++) {
        y.e[i] = y.s[i] = 0;
        if (!exact) mr_stored(y, i, 1, a);
    }
}

/* (V2) y = g x r, r = (mean x^2 + eps)^-1/2:
 * |dr|/r <= (sum |x| ex / d) r^2 + gamma_(d+2)/2 + function;  two stores: before and after g */
void mr_bound_rmsnorm(mr_bounded y, mr_bounded x, const mr_matrix *g, idx T, double eps,
                      const mr_arithmetic *a) {
    const idx d = g->cols;
    const double own = mr_gamma((double)d + 2, a->sum) / 2 + FUNCTION_ULPS * a->sum;
    const double random = MR_SIGMAS * sqrt((double)d) * a->sum / 2 + FUNCTION_ULPS * a->sum;
    const int32_t gain_row = 0;
    if (unknown(y, T * d, g)) return;
    for (idx t = 0; t < T; t++) {
        const mr_bounded row = mr_bounded_at(x, t * d), out = mr_bounded_at(y, t * d);
        double square = 0, cross = 0, noise = 0;
        for (idx i = 0; i < d; i++) {
            square += row.v[i] * row.v[i];
            cross += (fabs(row.v[i]) + row.e[i]) * row.e[i];
            noise += row.v[i] * row.v[i] * row.s[i] * row.s[i];
        }
        const double r = 1 / sqrt(square / (double)d + eps);
        const double relative = cross / (double)d * r * r + own;
        const double likely = sqrt(noise) / (double)d * r * r + random;
        mr_embedding_f64(out.v, &gain_row, g, 1, a->storage);   /* as the port stores g */
        for (idx i = 0; i < d; i++) {
            const double gain = fabs(out.v[i]) * r;
            out.v[i] *= r * row.v[i];
            out.e[i] = gain * row.e[i] * (1 + relative) + fabs(out.v[i]) * relative;
            out.s[i] = hypot(gain * row.s[i], fabs(out.v[i]) * likely);
            mr_stored(out, i, 2, a);
        }
    }
}

/* (V3) |dy_o| <= sum_i |W_oi| ( e_i + (gamma_n + 2 operand) (|x_i| + e_i) ), n = cols, then one
 * store */
void mr_bound_linear(mr_bounded y, mr_bounded x, const mr_matrix *W, idx T, const mr_arithmetic *a,
                     double *room) {
    const idx n = W->cols;
    const double g = mr_gamma((double)n, a->sum) + 2 * a->operand + a->operand * a->operand;
    const double running = MR_SIGMAS * sqrt((double)n) * a->sum;
    const double random = running + MR_SIGMAS * a->operand;
    double *row = room, *z = room + n;
    if (unknown(y, T * W->rows, W)) return;
    mr_linear_f64(y.v, x.v, W, T, a->storage, MR_PLAIN_ENGINE, NULL);
    for (idx t = 0; t < T; t++) {
        for (idx i = 0; i < n; i++)
            z[i] = x.e[t * n + i] + g * (fabs(x.v[t * n + i]) + x.e[t * n + i]);
        for (int32_t o = 0; o < W->rows; o++) {
            const idx at = t * W->rows + o;
            double bound = 0, square = 0;
            mr_embedding_f64(row, &o, W, 1, a->storage);   /* one row, widened */
            for (idx i = 0; i < n; i++) {
                const double noise = row[i] * hypot(x.s[t * n + i], random * x.v[t * n + i]);
                bound += fabs(row[i]) * z[i];
                square += noise * noise;
            }
            y.e[at] = bound;
            y.s[at] = hypot(sqrt(square), running * y.v[at]);
            mr_stored(y, at, 1, a);
        }
    }
}

/* (V4) y_a = x_a c - x_b s. A correct float32 angle is off by at most a few units of its frequency
 * and one of its product; cos and sin may be stored, both products and the difference rounded. */
static void rope_pair(mr_bounded y, mr_bounded x, idx p, idx q, double c, double s, double off,
                      double rounding, const mr_arithmetic *a) {
    const double xa = fabs(x.v[p]) + x.e[p], xb = fabs(x.v[q]) + x.e[q];
    const double own = (xa + xb) * (off + 2 * rounding);
    const double va = x.v[p] * c - x.v[q] * s, vb = x.v[q] * c + x.v[p] * s;
    const double ea = x.e[p] * fabs(c) + x.e[q] * fabs(s) + own;
    const double eb = x.e[q] * fabs(c) + x.e[p] * fabs(s) + own;
    const double noise = hypot(hypot(x.s[p], x.s[q]), hypot(xa, xb) * (off + MR_STORES * rounding));
    y.v[p] = va, y.e[p] = ea, y.s[p] = noise;
    y.v[q] = vb, y.e[q] = eb, y.s[q] = noise;
    mr_stored(y, p, 1, a);
    mr_stored(y, q, 1, a);
}

/* Cosines and sines of one position. */
static void turn(double *c, double *s, int64_t position, idx D, double theta,
                 const mr_rotation *by) {
    mr_rope_table_f64(c, s, &position, 1, D, theta, by->angles);
    for (idx i = 0; i < D / 2 && by->frequencies != MR_STORE_WIDE; i++) {
        const double f = mr_round(pow(theta, -2.0 * (double)i / (double)D), by->frequencies);
        c[i] = cos((double)position * f);
        s[i] = sin((double)position * f);
    }
}

void mr_bound_rope(mr_bounded y, mr_bounded x, const int64_t *position, idx T, idx heads, idx D,
                   const mr_rotation *by, const mr_arithmetic *a) {
    const double rounding = a->inside > a->sum ? a->inside : a->sum;
    const idx step = by->layout == MR_INTERLEAVED ? 1 : D / 2;
    double c[MR_MAX_HEAD_DIM / 2], s[MR_MAX_HEAD_DIM / 2];
    for (idx t = 0; t < T; t++) {
        const bool late = by->table > 0 && position[t] >= by->table;
        const double theta = late ? by->table_theta : by->theta;
        turn(c, s, position[t], D, theta, by);
        for (idx i = 0; i < D / 2; i++) {
            const double angle = fabs((double)position[t]) *
                                 pow(theta, -2.0 * (double)i / (double)D);
            const double off = fmin(2, (i == 0 ? 1 : 10) * U32 * angle + 2 * U32 + rounding);
            for (idx h = 0; h < heads; h++) {
                const idx p = (t * heads + h) * D + (by->layout == MR_INTERLEAVED ? 2 * i : i);
                rope_pair(y, x, p, p + step, c[i], s[i], off, rounding, a);
            }
        }
    }
}

/* (V5) |ds| <= scale sum_c ( |q| e_k + e_q |k| + (gamma_(D+1) + 2 operand) |q| |k| ), two stores:
 * before and after the scale */
void mr_bound_scores(mr_bounded scores, mr_bounded q, mr_bounded k, const idx *keys, idx n, idx D,
                     idx width, double scale, const mr_arithmetic *a) {
    const double g = mr_gamma((double)D + 1, a->sum) + 2 * a->operand;
    const double running = MR_SIGMAS * sqrt((double)D) * a->sum;
    const double random = running + MR_SIGMAS * a->operand;
    for (idx j = 0; j < n; j++) {
        const mr_bounded row = mr_bounded_at(k, keys[j] * width);
        double v = 0, e = 0, square = 0;
        for (idx c = 0; c < D; c++) {
            const double aq = fabs(q.v[c]) + q.e[c], ak = fabs(row.v[c]) + row.e[c];
            const double noise = hypot(hypot(q.v[c] * row.s[c], q.s[c] * row.v[c]),
                                       random * q.v[c] * row.v[c]);
            v += q.v[c] * row.v[c];
            e += aq * row.e[c] + q.e[c] * fabs(row.v[c]) + g * aq * ak;
            square += noise * noise;
        }
        scores.v[j] = v * scale;
        scores.e[j] = e * scale;
        scores.s[j] = hypot(sqrt(square), running * v) * scale;
        mr_rounded(scores, j, 2, a->inside, a);
    }
}

/* (V6) p_j = exp(s_j - m)/sum: errors d of the scores make p_j at most exp(d_j + sum p d) times as
 * large, and at least exp(-d_j) / sum p exp(d) times;
 * each exponential is off by (|s_j - m| + function) units, the sum by gamma_n */
void mr_bound_softmax(mr_bounded probs, mr_bounded scores, idx n, const mr_arithmetic *a) {
    double top = scores.v[0], sum = 0, mean = 0, likely = 0, growth = 0;
    for (idx j = 1; j < n; j++) top = fmax(top, scores.v[j]);
    for (idx j = 0; j < n; j++) sum += exp(scores.v[j] - top);
    for (idx j = 0; j < n; j++) {
        const double own = (top - scores.v[j] + FUNCTION_ULPS) * a->sum;
        const double p = exp(scores.v[j] - top) / sum;
        probs.e[j] = scores.e[j] + own;
        probs.s[j] = hypot(scores.s[j], own);
        probs.v[j] = p;
        mean += p * probs.e[j];
        growth += p * expm1(probs.e[j]);
        likely += p * p * probs.s[j] * probs.s[j];
    }
    const double own = mr_gamma((double)n, a->sum) + FUNCTION_ULPS * a->sum;
    const double random = hypot(sqrt(likely), MR_SIGMAS * sqrt((double)n) * a->sum);
    for (idx j = 0; j < n; j++) {
        probs.e[j] = probs.v[j] * fmax(expm1(probs.e[j] + mean + own),
                                       -expm1(-(probs.e[j] + log1p(growth) + own)));
        probs.s[j] = probs.v[j] * expm1(probs.s[j] + random);
        mr_rounded(probs, j, 1, a->inside, a);
    }
}

/* (V7) |do| <= sum_j ( e_p |v| + p e_v + (gamma_n + 2 operand + store) p |v| ), then one store.
 * Online softmax rescales, and a matrix unit takes p in the storage type, not normalised yet and
 * whatever was recorded as probs. Statistically: what all p have in common (no more than the least
 * of their relative errors: the sum they are divided by; one rounding of equal numbers) moves o as
 * a whole, and v of equal tokens carry the same errors. */
void mr_bound_weighted_sum(mr_bounded o, mr_bounded probs, mr_bounded v, const idx *keys, idx n,
                           idx D, idx width, const mr_arithmetic *a) {
    const double g = mr_gamma(2 * (double)n + 4, a->sum) + 2 * a->operand + a->store;
    const double running = MR_SIGMAS * sqrt((double)n) * a->sum;
    const double random = running + MR_SIGMAS * a->operand + MR_STORES * a->store;
    double common = n > 0 ? (double)INFINITY : 0;
    for (idx j = 0; j < n; j++)
        if (probs.v[j] > 0) common = fmin(common, probs.s[j] / probs.v[j]);
    for (idx c = 0; c < D; c++) {
        double value = 0, e = 0, square = 0, carried = 0;
        for (idx j = 0; j < n; j++) {
            const idx at = keys[j] * width + c;
            const double p = probs.v[j], ep = probs.e[j];
            const double noise = hypot(probs.s[j], random * p) * v.v[at];
            value += p * v.v[at];
            carried += p * v.s[at];
            e += ep * (fabs(v.v[at]) + v.e[at]) + p * v.e[at] +
                 (g * (p + ep) + a->tiny) * (fabs(v.v[at]) + v.e[at]);
            square += noise * noise;
        }
        o.v[c] = value;
        o.e[c] = e;
        o.s[c] = hypot(sqrt(square), hypot(common + a->store, running) * value) + carried;
        mr_stored(o, c, 1, a);
    }
}

/* (V8) one store; silu has slope below 1.1, its exponential is off by (|x| + function) units */
void mr_bound_add(mr_bounded y, mr_bounded x, mr_bounded z, idx n, const mr_arithmetic *a) {
    for (idx i = 0; i < n; i++) {
        const double e = x.e[i] + z.e[i], s = hypot(x.s[i], z.s[i]);
        y.v[i] = x.v[i] + z.v[i];
        y.e[i] = e;
        y.s[i] = s;
        mr_stored(y, i, 1, a);
    }
}

void mr_bound_swiglu(mr_bounded y, mr_bounded gate, mr_bounded up, idx n, const mr_arithmetic *a) {
    for (idx i = 0; i < n; i++) {
        const double x = gate.v[i], u = up.v[i], silu = x / (1 + exp(-x));
        const bool over = x < -88;   /* exp(-x) is inf in float: silu may be 0 */
        const double own = ((fabs(x) + 2 * FUNCTION_ULPS) * a->sum + over) * fabs(silu);
        const double e = 1.1 * gate.e[i] + own + a->store * fabs(silu) + a->tiny;
        y.v[i] = silu * u;
        y.e[i] = e * (fabs(u) + up.e[i]) + fabs(silu) * up.e[i];
        y.s[i] = hypot(u * hypot(1.1 * gate.s[i], own + MR_STORES * a->store * fabs(silu)),
                       silu * up.s[i]);
        mr_stored(y, i, 1, a);
    }
}

/* (V9) K products and K additions, each possibly stored */
void mr_bound_combine(mr_bounded y, mr_bounded weights, const mr_bounded *out, idx K, idx d,
                      const mr_arithmetic *a) {
    const double rounding = ((double)K + 1) * (a->store + a->sum);
    for (idx i = 0; i < d; i++) {
        double v = 0, e = 0, square = 0, terms = 0;
        for (idx k = 0; k < K; k++) {
            const double w = weights.v[k], o = out[k].v[i];
            v += w * o;
            e += weights.e[k] * (fabs(o) + out[k].e[i]) + fabs(w) * out[k].e[i];
            terms += fabs(w * o);
            square += weights.s[k] * weights.s[k] * o * o + w * w * out[k].s[i] * out[k].s[i];
        }
        y.v[i] = v;
        y.e[i] = e + rounding * (terms + e) + (double)K * a->tiny;
        y.s[i] = sqrt(square) + MR_STORES * sqrt((double)K + 1) * a->store * terms;
        mr_stored(y, i, 1, a);
    }
}
