/* Rows with few keys: every way in which a kernel may round their probabilities, one by one. */
#include "golden/replay_bound.h"

#include <math.h>

#include "ref/half.h"

#define WAYS (MR_FEW_KEYS + 2)   /* what a probability may be divided by before it is rounded */

/* One row of one head. */
typedef struct {
    idx    n, D;
    double exact[MR_FEW_KEYS];            /* probabilities as they are */
    double way[MR_FEW_KEYS][WAYS];        /* rounded, by what they were divided by */
    double v[MR_FEW_KEYS][MR_MAX_HEAD_DIM];
    double e[MR_MAX_HEAD_DIM];            /* all other errors of the sum */
    const double *found;
    mr_storage storage;
} row;

/* b/divisor in the storage type, times the divisor. False: its own error decides the rounding, or
 * it may be flushed to 0. */
static bool rounded(double *out, double b, double divisor, double error, const mr_arithmetic *a) {
    const double x = b / divisor, r = error + (8 + 4 * fabs(log(x))) * a->sum;
    const double low = mr_round(x * (1 - r), a->storage), high = mr_round(x * (1 + r), a->storage);
    *out = low * divisor;
    return x > 0x1p-14 && x < 0x1p15 && low == high;
}

/* A kernel divides by the exponential of any score it has seen (the maximum of one tile, or of all
 * so far), by the sum of all (1: normalised before), or not at all (the sum, in this measure). */
static bool list_ways(row *p, mr_bounded probs, double largest_score, const mr_arithmetic *a) {
    double top = 0, error = 0;
    for (idx j = 0; j < p->n; j++) {
        if (!(probs.v[j] > 0)) return false;
        top = fmax(top, probs.v[j]);
        error = fmax(error, 2 * probs.e[j] / probs.v[j]);
    }
    for (idx j = 0; j < p->n; j++) {
        p->exact[j] = probs.v[j];
        for (idx i = 0; i < p->n + 2; i++) {
            const double divisor = i < p->n   ? probs.v[i]
                                   : i == p->n ? 1
                                               : top / exp(largest_score);
            if (!rounded(&p->way[j][i], probs.v[j], divisor, error, a)) return false;
        }
    }
    return true;
}

/* Largest |found - o| / (what rounding o within its error can give) over the channels. */
static double misfit(const row *p, const double *probs, double sum, double *o, double *half) {
    double worst = 0;
    for (idx c = 0; c < p->D; c++) {
        double value = 0;
        for (idx j = 0; j < p->n; j++) value += probs[j] * p->v[j][c];
        value /= sum;
        const double up = mr_round(value + p->e[c], p->storage) - value,
                     down = value - mr_round(value - p->e[c], p->storage);
        o[c] = value;
        half[c] = fmax(up, down);
        const double error = fabs(p->found[c] - value);
        if (error > half[c]) worst = fmax(worst, error / half[c]);
    }
    return worst;
}

/* All assignments of ways to keys, and both sums: of what was rounded, or before it was. Keeps the
 * nearest to the port; returns its misfit, 0: one fits. */
static double nearest(const row *p, double *o, double *half) {
    double value[MR_MAX_HEAD_DIM], room[MR_MAX_HEAD_DIM];
    idx count = 1;
    double best = misfit(p, p->exact, 1, o, half);
    for (idx j = 0; j < p->n; j++) count *= p->n + 2;
    for (idx way = 0; way < 2 * count && best > 0; way++) {
        double probs[MR_FEW_KEYS], sum = 0;
        for (idx j = 0, rest = way / 2; j < p->n; j++, rest /= p->n + 2) {
            probs[j] = p->way[j][rest % (p->n + 2)];
            sum += probs[j];
        }
        const double worst = misfit(p, probs, way % 2 ? sum : 1, value, room);
        if (worst >= best) continue;
        best = worst;
        for (idx c = 0; c < p->D; c++) o[c] = value[c], half[c] = room[c];
    }
    return best;
}

/* (V10) o_c = rd( sum_j rd(b_j / m_j) m_j v_jc / sum ) for some legal m_j and sum */
void mr_bound_few(mr_bounded o, mr_bounded probs, double largest_score, mr_bounded v,
                  const idx *keys, idx n, idx D, idx width, const double *found,
                  const mr_arithmetic *a) {
    row p = {.n = n, .D = D, .found = found, .storage = a->storage};
    double value[MR_MAX_HEAD_DIM], room[MR_MAX_HEAD_DIM];
    mr_arithmetic kept = *a;
    kept.store = kept.tiny = 0;
    if (n < 2 || n > MR_FEW_KEYS || !list_ways(&p, probs, largest_score, a)) return;
    mr_bound_weighted_sum((mr_bounded){value, p.e, room}, probs, v, keys, n, D, width, &kept);
    for (idx c = 0; c < D; c++) {
        p.e[c] *= 4;   /* a matrix unit may truncate where it aligns its terms */
        if (!isfinite(value[c]) || !isfinite(found[c])) return;
        for (idx j = 0; j < n; j++) p.v[j][c] = v.v[keys[j] * width + c];
    }
    if (!(nearest(&p, value, room) > 0)) return;
    for (idx c = 0; c < D; c++)
        if (fabs(found[c] - value[c]) > room[c])
            o.v[c] = value[c], o.e[c] = o.s[c] = room[c];
}
