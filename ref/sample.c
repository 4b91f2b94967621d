/* Sampling: which token follows, given the logits. Ties go to the lower id everywhere. */
#include "ref/sample.h"

#include <math.h>

mr_rng mr_rng_seed(uint64_t seed) { return (mr_rng){seed}; }

uint64_t mr_rng_next(mr_rng *rng) {
    uint64_t z = rng->state += 0x9E3779B97F4A7C15;      /* Steele, Lea & Flood 2014 (splitmix64) */
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

double mr_rng_uniform(mr_rng *rng) { return (double)(mr_rng_next(rng) >> 11) * 0x1p-53; }

static double value(double logit) { return isnan(logit) ? -(double)INFINITY : logit; }

/* (S1) argmax, first maximum
 *                                                   mistral-inference generate.py, temperature 0 */
int32_t mr_argmax(const double *logits, idx V) {
    idx best = 0;
    for (idx v = 1; v < V; v++)
        if (value(logits[v]) > value(logits[best])) best = v;
    return (int32_t)best;
}

static bool before(const double *p, int32_t a, int32_t b) {
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

/* Moves order[at] down a heap whose top is the least probable of n: half of heapsort, so the order
 * is total and stable. */
static void sift(int32_t *order, idx at, idx n, const double *p) {
    const int32_t moved = order[at];
    for (idx child = 2 * at + 1; child < n; at = child, child = 2 * at + 1) {
        if (child + 1 < n && before(p, order[child], order[child + 1])) child++;
        if (!before(p, moved, order[child])) break;
        order[at] = order[child];
    }
    order[at] = moved;
}

/* Sorts ids by falling probability, equal ones by rising id. */
static void sort(int32_t *order, const double *p, idx n) {
    for (idx v = 0; v < n; v++) order[v] = (int32_t)v;
    for (idx at = n / 2; at > 0; at--) sift(order, at - 1, n, p);
    for (idx end = n - 1; end > 0; end--) {
        const int32_t last = order[0];
        order[0] = order[end];
        order[end] = last;
        sift(order, 0, end, p);
    }
}

static void softmax(double *p, const double *logits, idx V, double temperature) {
    const double top = logits[mr_argmax(logits, V)];
    double sum = 0;
    for (idx v = 0; v < V; v++) {
        p[v] = isnan(logits[v]) ? 0 : exp((logits[v] - top) / temperature);
        sum += p[v];
    }
    for (idx v = 0; v < V; v++) p[v] /= sum;
}

/* (S2) p = softmax(z / temperature); keep top_k; drop an entry when the sum before it already
 * exceeds top_p; renormalise
 *                                                                     mistral-inference
 * generate.py, sample_top_p */
int32_t mr_sample(const double *logits, idx V, const mr_sampling *how, mr_rng *rng, double *probs,
                  int32_t *order) {
    if (!(how->temperature > 0)) return mr_argmax(logits, V);
    softmax(probs, logits, V, how->temperature);
    sort(order, probs, V);
    const idx most = how->top_k > 0 && how->top_k < V ? how->top_k : V;
    idx kept = 0;
    double sum = 0;
    while (kept < most && (kept == 0 || sum <= how->top_p)) sum += probs[order[kept++]];
    double left = mr_rng_uniform(rng) * sum;
    for (idx n = 0; n + 1 < kept; n++) {
        left -= probs[order[n]];
        if (left < 0) return order[n];
    }
    return order[kept - 1];
}
