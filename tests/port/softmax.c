/* The online softmax of one query: a running maximum, a running sum, a running output. */
#include "tests/port/port.h"

#include <math.h>

/* exp(x), as the kernel spells it. */
static float exponential(float x) {
    if (bug(A10)) return port_to_bf16(expf(port_to_bf16(x)));
    if (bug(F09)) return exp2f(x * 1.44269504f);
    return expf(x);
}

static float add(float x, float y) {
    return bug(A10) ? port_to_bf16(x + y) : x + y;
}

void port_online_start(port_online *o, idx D) {
    o->max = -INFINITY;
    o->sum = 0;
    for (idx i = 0; i < D; i++) o->acc[i] = 0;
}

/* Keys that may not be seen have the score -inf. They are multiplied like all others: a tile goes
 * through the multiplier whole. */
void port_online_tile(port_online *o, const float *score, const float *const *v, idx n, idx D) {
    float top = o->max;
    for (idx j = 0; j < n; j++)
        if (score[j] > top) top = score[j];
    if (top == -INFINITY) top = 0;           /* nothing seen yet: exp(-inf - 0) is 0, not NaN */
    const float shrink = exponential(o->max - top);
    o->sum *= shrink;
    for (idx i = 0; i < D; i++) o->acc[i] *= shrink;
    for (idx j = 0; j < n; j++) {
        const float p = exponential(score[j] - top), rounded = port_factor(port_st(p));
        if (bug(F03) && p == 0) continue;    /* so that no NaN of an unseen key gets in */
        o->sum = add(o->sum, p);
        for (idx i = 0; i < D; i++) {
            o->acc[i] = port_sum(o->acc[i] + rounded * port_factor(v[j][i]));
            if (bug(A08)) o->acc[i] = port_to_f16(o->acc[i]);
        }
    }
    if (o->max > -INFINITY || o->sum > 0) o->max = top;
}

/* 0/0 where no key was seen, unless guarded. */
static bool unguarded(void) { return bug(M15) || bug(M20) || bug(F03); }

void port_online_store(const port_online *o, float *out, idx D) {
    for (idx i = 0; i < D; i++)
        out[i] = o->sum == 0 && !unguarded() ? 0 : port_st(o->acc[i] / o->sum);
}

float port_probability(const port_online *o, float score) {
    if (o->sum == 0) return unguarded() ? NAN : 0;
    return exponential(score - o->max) / o->sum;
}

void port_online_join(port_online *a, const port_online *b, idx D) {
    if (b->sum == 0) return;
    const float top = a->sum > 0 && a->max > b->max ? a->max : b->max,
                left = a->sum > 0 ? exponential(a->max - top) : 0,
                right = exponential(b->max - top);
    a->sum = add(a->sum * left, b->sum * right);
    for (idx i = 0; i < D; i++) a->acc[i] = a->acc[i] * left + b->acc[i] * right;
    a->max = top;
}
