/* Kernels of operations on rows, in float, as a port would write them; with faults to choose. They
 * share no code with ref/. */
#ifndef MR_TESTS_KERNELS_SIMPLE_H
#define MR_TESTS_KERNELS_SIMPLE_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "golden/check.h"
#include "tests/kernels/faults.h"

/* An array and its element type. */
typedef struct {
    const char *store;
    void       *data;
} array;

static inline array array_of(const mr_check *c, const mr_check_plan *p, const char *name) {
    return (array){p->store, mr_check_data(c, name)};
}

static inline float load(array a, int64_t i) {
    return (float)mr_check_load(a.store, a.data, (size_t)i);
}

static inline void store(array a, int64_t i, float x) {
    mr_check_store(a.store, a.data, (size_t)i, (double)x);
}

/* Cut off instead of rounded: what a shift by 16 bits does. */
static inline void store_as(array a, int64_t i, float x, fault f) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0xffff0000u;
    if (f == TRUNCATED) memcpy(&x, &bits, sizeof x);
    store(a, i, x);
}

static inline float to_bf16(float x) {
    uint16_t half;
    mr_check_store("bf16", &half, 0, (double)x);
    return (float)mr_check_load("bf16", &half, 0);
}

/* Rounded to this many of the 23 fraction bits; the range stays float's, as good scales make it. */
static inline float to_fraction(float x, int bits) {
    const uint32_t last = 1u << (23 - bits);
    uint32_t pattern;
    memcpy(&pattern, &x, sizeof pattern);
    pattern = (pattern + last / 2) & ~(last - 1);
    memcpy(&x, &pattern, sizeof x);
    return x;
}

/* sum of a_i b_i, in one of the orders that programs have */
static inline float dot(array a, int64_t at, array b, int64_t bt, int64_t n, variant v) {
    float sum = 0, lane[32] = {0};
    for (int64_t k = 0; k < n; k++) {
        const int64_t i = v.how == 1 ? n - 1 - k : k;
        float x = load(a, at + i), y = load(b, bt + i);
        if (v.fault == OPERANDS_TF32) x = to_fraction(x, 10), y = to_fraction(y, 10);
        if (v.fault == OPERANDS_FP8) x = to_fraction(x, 3), y = to_fraction(y, 3);
        if (v.how == 2) lane[i % 32] += x * y;
        else if (v.how == 3) sum = fmaf(x, y, sum);
        else sum += x * y;
        if (v.fault == SUM_IN_BF16) sum = to_bf16(sum);
    }
    for (int i = 0; i < 32; i++) sum += lane[i];
    return sum;
}

static inline int64_t written(int64_t n, fault f) {
    return f == LAST_TILE_LEFT_OUT && n >= 32 ? n / 32 * 32 : f == WRITES_PAST_END ? n + 1 : n;
}

static inline void rmsnorm(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const array x = array_of(c, p, "x"), g = array_of(c, p, "g"), y = array_of(c, p, "y");
    const int64_t d = p->width;
    const float eps = v.fault == EPS_1E6 ? 1e-6f : v.fault == EPS_MISSING ? 0 : (float)p->eps;
    for (int64_t t = 0; t < p->tokens; t++) {
        float square = dot(x, t * d, x, t * d, d, v), mean = 0;
        for (int64_t i = 0; i < d && v.fault == MEAN_SUBTRACTED; i++)
            mean += load(x, t * d + i) / (float)d;
        if (v.fault == SQUARES_IN_HALF && square > 65504) square = INFINITY;
        if (v.fault == READS_PAST_END) square += load(x, t * d + d) * load(x, t * d + d);
        float r = 1 / sqrtf(square / (float)d - mean * mean + eps);
        if (v.fault == EPS_OUTSIDE) r = 1 / (sqrtf(square / (float)d) + eps);
        for (int64_t i = 0; i < written(d, v.fault); i++) {
            const float gain = i < d ? load(g, i) : 1, in = i < d ? load(x, t * d + i) : 1;
            store_as(y, t * d + i, (in - mean) * r * (v.fault == GAIN_PLUS_ONE ? 1 + gain : gain),
                     v.fault);
        }
        if (v.fault == INPUT_CHANGED) store(x, t * d, 0);
    }
}

static inline void linear(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const array x = array_of(c, p, "x"), W = array_of(c, p, "W"), y = array_of(c, p, "y");
    const int64_t d = p->width, n = p->outputs;
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t o = 0; o < written(n, v.fault); o++) {
            const int64_t row = v.fault == ROWS_MIXED_UP ? n - 1 - o : o < n ? o : 0;
            float sum = dot(x, t * d, W, row * d, d, v);
            if (v.fault == READS_PAST_END) sum += 0 * load(W, row * d + d);
            if (v.fault == NOT_INITIALISED) sum += load(y, t * n + o);
            store_as(y, t * n + o, sum, v.fault);
        }
}

static inline void rope(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const array x = array_of(c, p, "x"), y = array_of(c, p, "y");
    const int32_t *position = mr_check_data(c, "position");
    const int64_t D = p->head_dim;
    const bool half = (p->half_split != 0) != (v.fault == OTHER_PAIRS);
    const float theta = v.fault == THETA_1E4 ? 1e4f : (float)p->theta;
    for (int64_t row = 0; row < p->tokens * p->heads; row++)
        for (int64_t i = 0; i < D / 2; i++) {
            float f = 1 / powf(theta, 2 * (float)i / (float)D);
            if (v.fault == FREQUENCIES_BF16) f = to_bf16(f);
            const float angle = (float)(position[row / p->heads] + (v.fault == POSITION_PLUS_ONE)) *
                                f;
            const int64_t a = row * D + (half ? i : 2 * i), b = a + (half ? D / 2 : 1);
            const float u = load(x, a), w = load(x, b), cosine = cosf(angle), sine = sinf(angle);
            float ya = u * cosine - w * sine, yb = w * cosine + u * sine;
            if (v.how == 3) ya = fmaf(u, cosine, -(w * sine)), yb = fmaf(w, cosine, u * sine);
            if (v.fault == SUBNORMALS_FLUSHED && fabsf(ya) < 0x1p-126f) ya = 0;
            store_as(y, a, ya, v.fault);
            store_as(y, b, yb, v.fault);
        }
}

static inline void swiglu(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    array gate = array_of(c, p, "gate"), up = array_of(c, p, "up"), y = array_of(c, p, "y");
    if (v.fault == GATE_UP_SWAPPED) gate = array_of(c, p, "up"), up = array_of(c, p, "gate");
    const int64_t n = p->tokens * p->width;
    for (int64_t i = 0; i < written(n, v.fault); i++) {
        const float x = i < n ? load(gate, i) : 1, u = i < n ? load(up, i) : 1;
        float silu = v.how == 1 ? x * (1 / (1 + expf(-x))) : x / (1 + expf(-x));
        if (v.fault == EXP_OVERFLOWS) silu = x * expf(x) / (1 + expf(x));
        if (v.fault == SIGMOID_1702) silu = x / (1 + expf(-1.702f * x));
        store_as(y, i, silu * u, v.fault);
    }
}

static inline void embedding(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const array table = array_of(c, p, "table"), y = array_of(c, p, "y");
    const int32_t *tokens = mr_check_data(c, "tokens");
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t i = 0; i < written(p->width, v.fault); i++) {
            const int64_t token = (tokens[t] + (v.fault == TOKEN_PLUS_ONE)) % p->vocab;
            store_as(y, t * p->width + i, load(table, token * p->width + i), v.fault);
        }
}

static inline void moe_combine(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const array out = array_of(c, p, "out"), weights = array_of(c, p, "weights"),
                y = array_of(c, p, "y");
    const int32_t *place = mr_check_data(c, "place");
    const int64_t K = p->chosen, d = p->width;
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t i = 0; i < d; i++) {
            float sum = v.fault == NOT_INITIALISED ? load(y, t * d + i) : 0;
            for (int64_t n = 0; n < K; n++) {
                const int64_t k = t * K + (v.how == 1 ? K - 1 - n : n);
                const int64_t row = v.fault == PLACE_IGNORED ? k : place[k];
                const float w = v.fault == UNWEIGHTED ? 1 : load(weights, k);
                if (v.how == 3) sum = fmaf(w, load(out, row * d + i), sum);
                else sum += w * load(out, row * d + i);
                if (v.how == 2) store(y, t * d + i, sum), sum = load(y, t * d + i);
            }
            store_as(y, t * d + i, sum, v.fault);
        }
}

#endif
