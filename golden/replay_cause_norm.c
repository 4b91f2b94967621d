/* Norm and residual as a fault has them; without one, the plain operations. */
#include "golden/replay_state.h"

#include <math.h>
#include <string.h>

#include "ref/half.h"

void mr_walk_round(mr_bounded x, idx n, mr_storage storage) {
    for (idx i = 0; i < n; i++) {
        const double v = x.v[i], low = mr_round(v - x.e[i], storage),
                     high = mr_round(v + x.e[i], storage),
                     less = mr_round(v - x.s[i], storage), more = mr_round(v + x.s[i], storage);
        x.v[i] = mr_round(v, storage);
        x.e[i] = fmax(high - x.v[i], x.v[i] - low);
        x.s[i] = fmax(more - x.v[i], x.v[i] - less);
    }
}

/* Rows that start `offset` elements into x, or that lose their mean. */
static void fetch(mr_walk *w, mr_bounded to, idx t, idx d) {
    const idx wrap = w->fault->norm_wrap, from = wrap > 0 ? t * d % wrap : t * d;
    const size_t size = (size_t)d * sizeof(double);
    memcpy(to.v + t * d, w->x.v + from, size);
    memcpy(to.e + t * d, w->x.e + from, size);
    memcpy(to.s + t * d, w->x.s + from, size);
    if (!w->fault->layer_norm) return;
    double mean = 0, error = 0, noise = 0;
    for (idx i = t * d; i < t * d + d; i++) {
        mean += to.v[i] / (double)d;
        error += (to.e[i] + (double)d * w->a->sum * fabs(to.v[i])) / (double)d;
        noise += to.s[i] * to.s[i];
    }
    for (idx i = t * d; i < t * d + d; i++) {
        to.v[i] -= mean;
        to.e[i] += error;
        to.s[i] = hypot(to.s[i], sqrt(noise) / (double)d + error);
    }
}

/* sqrt(m + eps) / (sqrt(m) + eps) for the mean square m of a row */
static double outside(const double *x, idx d, double eps) {
    double square = 0;
    for (idx i = 0; i < d; i++) square += x[i] * x[i];
    square /= (double)d;
    return sqrt(square + eps) / (sqrt(square) + eps);
}

static void scale(mr_bounded x, idx n, double factor) {
    for (idx i = 0; i < n; i++) {
        x.v[i] *= factor;
        x.e[i] *= fabs(factor);
        x.s[i] *= fabs(factor);
    }
}

/* (1 + g) in place of g: y + y/g */
static void offset_gain(mr_walk *w, const mr_matrix *g) {
    double *gain = w->room;
    const idx d = g->cols;
    const int32_t row = 0;
    if (g->data == NULL) return;
    mr_embedding_f64(gain, &row, g, 1, w->a->storage);
    for (idx t = 0; t < w->T; t++)
        for (idx i = 0; i < d; i++)
            if (gain[i] != 0)
                scale(mr_bounded_at(w->normed, t * d + i), 1, (1 + gain[i]) / gain[i]);
}

void mr_walk_norm(mr_walk *w, const mr_matrix *g) {
    const mr_fault *f = w->fault;
    const idx d = w->c->dim, T = w->T;
    const double eps = w->c->norm_eps;
    const bool moved = f->norm_wrap > 0 || f->layer_norm;
    const mr_bounded x = moved ? w->out_row : w->x;   /* free between blocks */
    for (idx t = 0; moved && t < T; t++) fetch(w, x, t, d);
    mr_bound_rmsnorm(w->normed, x, g, T, eps, w->a);
    if (f->norm_twice) {
        memcpy(w->out_row.v, w->normed.v, (size_t)(T * d) * sizeof(double));
        memcpy(w->out_row.e, w->normed.e, (size_t)(T * d) * sizeof(double));
        memcpy(w->out_row.s, w->normed.s, (size_t)(T * d) * sizeof(double));
        mr_bound_rmsnorm(w->normed, w->out_row, g, T, eps, w->a);
    }
    for (idx t = 0; f->epsilon_outside && t < T; t++)
        scale(mr_bounded_at(w->normed, t * d), d, outside(x.v + t * d, d, eps));
    if (f->unit_offset) offset_gain(w, g);
}

void mr_walk_residual(mr_walk *w, const mr_matrix *next) {
    const idx d = w->c->dim, T = w->T;
    const int32_t row = 0;
    for (idx t = 0; w->fault->residual_is_gain && next->data != NULL && t < T; t++) {
        mr_embedding_f64(w->x.v + t * d, &row, next, 1, w->a->storage);
        memset(w->x.e + t * d, 0, (size_t)d * sizeof(double));
        memset(w->x.s + t * d, 0, (size_t)d * sizeof(double));
    }
    mr_bound_add(w->x, w->x, w->out_row, T * d, w->a);
}
