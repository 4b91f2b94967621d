/* Kernels that look at several rows or choose: attention (naive and tiled online softmax), cache,
 * router, log-probabilities; with faults to choose. */
#ifndef MR_TESTS_KERNELS_ROWS_H
#define MR_TESTS_KERNELS_ROWS_H

#include "tests/kernels/simple.h"

/* Key or value `position` of kv head g: element of ring or new rows. */
static inline float cached(const mr_check *c, const mr_check_plan *p, const char *ring,
                           const char *rows, int64_t position, int64_t g, int64_t i, fault f) {
    const int64_t width = p->kv_heads * p->head_dim, at = g * p->head_dim + i;
    if (position >= p->seen)
        return load(array_of(c, p, rows), (position - p->seen) * width + at);
    const int64_t slot = (position + (f == RING_OFF_BY_ONE)) % p->slots;
    return load(array_of(c, p, ring), slot * width + at);
}

/* One query row and head over keys [from, to), by tiles of 32 with a running maximum (how == 2),
 * or in three passes. */
static inline void attend(const mr_check *c, const mr_check_plan *p, variant v, int64_t row,
                          int64_t from, int64_t to) {
    const array q = array_of(c, p, "q"), y = array_of(c, p, "y");
    const int64_t H = p->heads, G = p->kv_heads, D = p->head_dim, n = to - from;
    const int64_t tile = v.how == 2 || v.fault == NOT_RESCALED ? 32 : n;
    const int64_t g = v.fault == HEADS_TILED ? row % H % G : row % H / (H / G);
    const float scale = v.fault == SCALE_WRONG ? 1 / sqrtf((float)(D * H)) : 1 / sqrtf((float)D);
    float *s = malloc((size_t)(tile + D) * sizeof *s), *o = s + tile, sum = 0;
    float top = v.fault == MAXIMUM_FROM_ZERO || v.fault == NO_MAXIMUM ? 0 : -INFINITY;
    memset(o, 0, (size_t)D * sizeof *o);
    for (int64_t j0 = from; j0 < to; j0 += tile) {
        const int64_t m = to - j0 < tile ? to - j0 : tile;
        if (v.fault == LAST_TILE_LEFT_OUT && m < 32 && n > 32) break;
        float before = top;
        for (int64_t j = 0; j < m; j++) {
            s[j] = 0;
            for (int64_t i = 0; i < D; i++)
                s[j] += load(q, row * D + i) * cached(c, p, "ring_k", "k", j0 + j, g, i, v.fault);
            s[j] *= scale;
            if (s[j] > top && v.fault != NO_MAXIMUM) top = s[j];
        }
        const float again = v.fault == NOT_RESCALED || top == before ? 1 : expf(before - top);
        sum *= again;
        for (int64_t i = 0; i < D; i++) o[i] *= again;
        for (int64_t j = 0; j < m; j++) {
            const float weight = expf(s[j] - top);
            sum += weight;
            for (int64_t i = 0; i < D; i++)
                o[i] += weight * cached(c, p, "ring_v", "v", j0 + j, g, i, v.fault);
        }
    }
    for (int64_t k = p->seen; v.fault == EMPTY_SLOTS_READ && k < p->slots; k++)
        o[0] += 0 * load(array_of(c, p, "ring_v"), k * G * D);
    for (int64_t i = 0; i < D; i++) store_as(y, row * D + i, o[i] / sum, v.fault);
    free(s);
}

static inline void attention(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const int64_t W = p->window == 0 || v.fault == NO_WINDOW
                          ? INT32_MAX
                          : p->window + (v.fault == WINDOW_PLUS_ONE) -
                                (v.fault == WINDOW_MINUS_ONE && p->window > 1);
    for (int64_t row = 0; row < p->tokens * p->heads; row++) {
        const int64_t t = row / p->heads, own = p->seen + t;
        const int64_t held = p->seen > p->slots ? p->seen - p->slots : 0;
        int64_t from = own >= W ? own - W + 1 : 0, to = own + 1;
        if (from < held) from = held;
        if (v.fault == CAUSAL_TOP_LEFT) to = t + 1 > from ? t + 1 : from + 1;
        attend(c, p, v, row, from, to);
    }
}

static inline void cache_write(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const int64_t width = p->kv_heads * p->head_dim;
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t i = 0; i < width; i++) {
            const int64_t slot = (p->seen + t + (v.fault == SLOT_PLUS_ONE)) % p->slots;
            if (v.fault == FIRST_ROWS_KEPT && t >= p->slots) continue;
            store_as(array_of(c, p, "ring_k"), slot * width + i,
                     load(array_of(c, p, "k"), t * width + i), v.fault);
            store_as(array_of(c, p, "ring_v"), slot * width + i,
                     load(array_of(c, p, "v"), t * width + i), v.fault);
        }
}

static inline void router(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const array logits = array_of(c, p, "logits"), weights = {"f32", mr_check_data(c, "weights")};
    int32_t *experts = mr_check_data(c, "experts");
    const int64_t E = p->experts, K = p->chosen;
    for (int64_t t = 0; t < p->tokens; t++) {
        float last = INFINITY, sum = 0, all = 0, top = 0;
        int32_t before = v.how == 1 ? (int32_t)E : -1;
        for (int64_t k = 0; k < K; k++) {
            int32_t best = 0;
            float value = v.fault == BEST_FROM_ZERO ? 0 : -INFINITY;
            for (int64_t n = 0; n < E; n++) {
                const int32_t e = (int32_t)(v.how == 1 ? E - 1 - n : n);   /* the last of equals */
                const float z = load(logits, t * E + e);
                const bool later = v.how == 1 ? e < before : e > before;
                const bool left = z < last || (z == last && later);
                if ((left || v.fault == TIE_TAKEN_TWICE) && z <= last && z > value)
                    best = e, value = z;
            }
            experts[t * K + k] = best;
            last = v.fault == TIE_TAKEN_TWICE ? nextafterf(value, -INFINITY) : value;
            before = best;
            if (k == 0) top = value;
            sum += expf(load(logits, t * E + best) - top);
        }
        for (int64_t e = 0; e < E; e++) all += expf(load(logits, t * E + e) - top);
        for (int64_t k = 0; k < K; k++)
            store(weights, t * K + k, expf(load(logits, t * E + experts[t * K + k]) - top) /
                                          (v.fault == NOT_RENORMALISED ? all : sum));
    }
}

static inline float log_probability_of(const mr_check *c, const mr_check_plan *p, int64_t t,
                                       variant v) {
    const array logits = array_of(c, p, "logits");
    const int64_t V = p->vocab, target = ((const int32_t *)mr_check_data(c, "targets"))[t];
    float top = v.fault == MAXIMUM_FROM_ZERO || v.fault == NO_MAXIMUM ? 0 : -INFINITY, sum = 0;
    for (int64_t j = 0; j < V && v.fault != NO_MAXIMUM; j++)
        top = fmaxf(top, load(logits, t * V + j));
    for (int64_t k = 0; k < V; k++)
        sum += expf(load(logits, t * V + (v.how == 1 ? V - 1 - k : k)) - top);
    const float z = load(logits, t * V + target);
    if (v.fault == LOG_OF_UNDERFLOW) return logf(expf(z - top) / sum);
    return v.how == 2 ? z - (top + logf(sum)) : z - top - logf(sum);
}

static inline void log_probability(const mr_check *c, const mr_check_plan *p, void *user) {
    const array y = {"f32", mr_check_data(c, "y")};
    for (int64_t t = 0; t < p->tokens; t++)
        store(y, t, log_probability_of(c, p, t, *(const variant *)user));
}

static inline void cross_entropy(const mr_check *c, const mr_check_plan *p, void *user) {
    const variant v = *(const variant *)user;
    const int32_t *targets = mr_check_data(c, "targets");
    float sum = 0, n = 0;
    for (int64_t t = 0; t < p->tokens; t++) {
        if (targets[t] >= 0) sum -= log_probability_of(c, p, t, v);
        n += targets[t] >= 0 || v.fault == IGNORED_COUNTED ? 1.0f : 0.0f;
    }
    store((array){"f32", mr_check_data(c, "y")}, 0, sum / n);
}

#endif
