/* Error bounds of backward operations, in the manner of golden/replay_bound.c: for any order of
 * summation, and with every intermediate result possibly stored. */
#include <math.h>

#include "golden/replay_backward.h"
#include "golden/replay_round.h"

#define FUNCTION_ULPS 4.0

/* (V13) |ddW_oi| <= sum_t ( |dy| e_x + e_dy |x| + e_dy e_x + (gamma_T + 2 operand) |dy x| ), one
 * store */
void mr_bound_linear_weight(mr_bounded dW, mr_bounded dy, mr_bounded x, idx T, idx rows, idx cols,
                            const mr_arithmetic *a) {
    const double g = mr_gamma((double)T, a->sum) + 2 * a->operand + a->operand * a->operand;
    const double running = MR_SIGMAS * sqrt((double)T) * a->sum;
    const double random = running + MR_SIGMAS * a->operand;
    for (idx o = 0; o < rows; o++)
        for (idx i = 0; i < cols; i++) {
            double v = 0, e = 0, square = 0;
            for (idx t = 0; t < T; t++) {
                const idx p = t * rows + o, q = t * cols + i;
                const double ay = fabs(dy.v[p]) + dy.e[p], ax = fabs(x.v[q]) + x.e[q];
                v += dy.v[p] * x.v[q];
                e += ay * x.e[q] + dy.e[p] * fabs(x.v[q]) + g * ay * ax;
                square += pow(hypot(dy.v[p] * x.s[q], dy.s[p] * x.v[q]), 2) +
                          pow(random * dy.v[p] * x.v[q], 2);
            }
            dW.v[o * cols + i] = v;
            dW.e[o * cols + i] = e;
            dW.s[o * cols + i] = hypot(sqrt(square), running * v);
            mr_stored(dW, o * cols + i, 1, a);
        }
}

/* Root of one row, and how far a program's may be off, relative: (V2). */
static double root(mr_bounded x, idx d, double eps, const mr_arithmetic *a, double *off) {
    double square = 0, cross = 0;
    for (idx i = 0; i < d; i++) {
        square += x.v[i] * x.v[i];
        cross += (fabs(x.v[i]) + x.e[i]) * x.e[i];
    }
    const double r = 1 / sqrt(square / (double)d + eps);
    *off = cross / (double)d * r * r + mr_gamma((double)d + 2, a->sum) / 2 + FUNCTION_ULPS * a->sum;
    return r;
}

/* (V14) dx_i = r n_i - x_i (r^3/d) sum_j n_j x_j, n = g dy, which may be stored; so may both terms.
 * All of it scales with |n|, |x| and r. */
static void norm_row(mr_bounded dx, mr_bounded dy, mr_bounded x, const double *g, idx d, double r,
                     double off, const mr_arithmetic *a) {
    const double gamma = mr_gamma((double)d + 2, a->sum), one = a->store + 2 * a->sum;
    const double rounding = a->store + 8 * a->sum;
    double sum = 0, e = 0;
    for (idx j = 0; j < d; j++) {
        const double n = fabs(g[j] * dy.v[j]), en = fabs(g[j]) * dy.e[j] + one * n + a->tiny;
        sum += g[j] * dy.v[j] * x.v[j];
        e += n * x.e[j] + (en + (gamma + a->store) * n) * (fabs(x.v[j]) + x.e[j]);
    }
    const double cube = r * r * r / (double)d, wider = (1 + off) * (1 + off) * (1 + off) - 1;
    for (idx i = 0; i < d; i++) {
        const double n = g[i] * dy.v[i], first = r * n, second = x.v[i] * cube * sum;
        const double en = fabs(g[i]) * dy.e[i] + one * fabs(n) + a->tiny;
        const double far = cube * ((fabs(x.v[i]) + x.e[i]) * (e + wider * (fabs(sum) + e)) +
                                   x.e[i] * fabs(sum));
        const double near = r * (en + off * (fabs(n) + en));
        dx.v[i] = first - second;
        dx.e[i] = far + near + rounding * (fabs(first) + near + fabs(second) + far);
        dx.s[i] = dx.e[i];
        mr_stored(dx, i, 1, a);
    }
}

void mr_bound_rmsnorm_backward(mr_bounded dx, mr_bounded dg, mr_bounded dy, mr_bounded x,
                               const mr_matrix *g, idx T, double eps, const mr_arithmetic *a,
                               double *room) {
    const idx d = g->cols;
    const int32_t gain_row = 0;
    const double gamma = mr_gamma((double)T, a->sum) + 2 * a->store + 2 * a->sum;
    mr_embedding_f64(room, &gain_row, g, 1, a->storage);
    for (idx i = 0; dg.v != NULL && i < d; i++) dg.v[i] = dg.e[i] = dg.s[i] = 0;
    for (idx t = 0; t < T; t++) {
        const mr_bounded row = mr_bounded_at(x, t * d), slope = mr_bounded_at(dy, t * d);
        double off;
        const double r = root(row, d, eps, a, &off);
        norm_row(mr_bounded_at(dx, t * d), slope, row, room, d, r, off, a);
        for (idx i = 0; dg.v != NULL && i < d; i++) {   /* dg_i = sum_t dy_ti x_ti r_t */
            const double n = fabs(row.v[i]) * r, en = r * row.e[i] * (1 + off) + n * off;
            dg.v[i] += slope.v[i] * row.v[i] * r;
            dg.e[i] += fabs(slope.v[i]) * en + slope.e[i] * (n + en) +
                       gamma * (fabs(slope.v[i]) + slope.e[i]) * (n + en) + a->tiny;
        }
    }
    for (idx i = 0; dg.v != NULL && i < d; i++) {
        dg.s[i] = dg.e[i];
        mr_stored(dg, i, 1, a);
    }
}

/* (V15) dup = dact silu(z), dgate = dact u silu'(z), silu' = s + z s (1 - s), s = sigma(z);
 * |silu''| <= 1/2, |silu'| < 1.1; sigma is off by (|z| + function) units, 1 - s by one more */
void mr_bound_swiglu_backward(mr_bounded dgate, mr_bounded dup, mr_bounded dact, mr_bounded gate,
                              mr_bounded up, idx n, const mr_arithmetic *a) {
    for (idx i = 0; i < n; i++) {
        const double z = gate.v[i], u = up.v[i], dy = dact.v[i], s = 1 / (1 + exp(-z));
        const double silu = z * s, slope = s + z * s * (1 - s), az = fabs(z);
        const bool over = z < -88;   /* exp(-z) is inf in float: s may be 0 */
        const double unit = (az + 2 * FUNCTION_ULPS) * a->sum + over;
        const double e_silu = 1.1 * gate.e[i] + unit * fabs(silu) + a->store * fabs(silu) + a->tiny;
        const double e_slope = gate.e[i] / 2 + unit * (s + 2 * az * s * (1 - s)) +
                               2 * az * s * a->sum + a->tiny;
        const double ady = fabs(dy) + dact.e[i], au = fabs(u) + up.e[i];
        dup.v[i] = dy * silu;
        dup.e[i] = ady * e_silu + dact.e[i] * fabs(silu);
        dgate.v[i] = dy * u * slope;
        dgate.e[i] = ady * au * e_slope +
                     (ady * up.e[i] + dact.e[i] * fabs(u) + a->tiny) * fabs(slope) +
                     (3 * a->store + 3 * a->sum) * ady * au * (s + az * s * (1 - s));
        dup.s[i] = dup.e[i];
        dgate.s[i] = dgate.e[i];
        mr_stored(dup, i, 1, a);
        mr_stored(dgate, i, 1, a);
    }
}
