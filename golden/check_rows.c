/* Operations that look at several rows or choose: attention with a ring cache, the cache's write,
 * the router, log-probabilities. */
#include "golden/check_parts.h"

#include <math.h>
#include <stdio.h>

#define EVERY_FILL (~0u)

/* ---- keys and values ------------------------------------------------------------------------- */

static bool in_ring(const part *p) { return p->is.name[0] == 'r'; }

/* A ring holds the last `slots` of the `seen` tokens; k and v follow them. */
int64_t mr_check_position(const mr_check *c, const part *p, idx row) {
    const int64_t seen = c->plan.seen, slots = c->plan.slots;
    if (!in_ring(p)) return seen + row;
    if (row >= seen) return -1;
    return seen - 1 - (seen - 1 - row) % slots;
}

static void ring_arrays(mr_check *c, part_use use) {
    const mr_check_plan *p = &c->plan;
    if (p->slots <= 0) return;
    mr_check_add(c, "ring_k", OF_KEY, use, p->slots, p->kv_heads, p->head_dim);
    mr_check_add(c, "ring_v", OF_VALUE, use, p->slots, p->kv_heads, p->head_dim);
}

/* What nobody wrote yet: NaN, or large numbers. */
static void empty_slots(mr_check *c) {
    const idx width = c->plan.kv_heads * c->plan.head_dim;
    for (int i = 0; i < c->parts; i++) {
        part *p = &c->part[i];
        for (idx k = 0; in_ring(p) && k < (idx)p->is.count; k++)
            if (mr_check_position(c, p, k / width) < 0)
                mr_check_set(p->dtype, p->is.data, k,
                             c->plan.finite_unused ? 10000 : (double)NAN);
    }
}

static void attention_arrays(mr_check *c) {
    const mr_check_plan *p = &c->plan;
    const int64_t held = p->seen < p->slots ? p->seen : p->slots;
    const int64_t needed = p->window > 0 && p->window - 1 < p->seen ? p->window - 1 : p->seen;
    if (p->kv_heads < 1 || p->heads % p->kv_heads != 0)
        mr_fail(&c->err, MR_USAGE, "attention: %lld heads do not share %lld kv heads evenly",
                (long long)p->heads, (long long)p->kv_heads);
    if (p->seen < 0 || p->window < 0 || held < needed)
        mr_fail(&c->err, MR_USAGE, "attention: the first query sees %lld cached keys, the ring "
                "holds %lld of %lld; set slots to that or more", (long long)needed,
                (long long)held, (long long)p->seen);
    mr_check_add(c, "q", OF_QUERY, IS_INPUT, p->tokens, p->heads, p->head_dim);
    mr_check_add(c, "k", OF_KEY, IS_INPUT, p->tokens, p->kv_heads, p->head_dim);
    mr_check_add(c, "v", OF_VALUE, IS_INPUT, p->tokens, p->kv_heads, p->head_dim);
    ring_arrays(c, IS_WORK);
    mr_check_add(c, "y", OF_ACTIVATION, IS_OUTPUT, p->tokens, p->heads, p->head_dim);
}

/* Rows of the ring and new rows one after the other: row of position p among them. */
static idx row_of(const mr_check *c, int64_t p) {
    return (idx)(p >= c->plan.seen ? c->plan.slots + p - c->plan.seen : p % c->plan.slots);
}

/* [slots + T, width] of ring_k and k, or ring_v and v. */
static bool join(mr_check *c, mr_bounded *all, const char *ring, const char *rows) {
    const part *old = mr_check_part(c, ring), *new_ = mr_check_part(c, rows);
    const idx before = old != NULL ? (idx)old->is.count : 0, n = before + (idx)new_->is.count;
    all->v = mr_alloc(n, 2 * sizeof(double), &c->err);
    if (all->v == NULL) return false;
    all->e = all->s = all->v + n;
    for (idx i = 0; i < n; i++) all->v[i] = i < before ? old->in.v[i] : new_->in.v[i - before];
    return true;
}

static void attend(mr_check *c, mr_bounded k, mr_bounded v, mr_bounded scores, idx *keys) {
    const mr_check_plan *p = &c->plan;
    const idx H = p->heads, G = p->kv_heads, D = p->head_dim;
    const mr_bounded q = mr_check_part(c, "q")->in, y = mr_check_part(c, "y")->want;
    for (idx row = 0; row < p->tokens * H; row++) {
        const int64_t own = p->seen + row / H;
        const int64_t from = p->window > 0 && own >= p->window ? own - p->window + 1 : 0;
        const idx head = row % H / (H / G) * D, n = (idx)(own - from + 1);
        for (idx j = 0; j < n; j++) keys[j] = row_of(c, from + j);
        mr_bound_scores(scores, mr_bounded_at(q, row * D), mr_bounded_at(k, head), keys, n, D,
                        G * D, 1 / sqrt((double)D), &c->a);
        mr_bound_softmax(scores, scores, n, &c->a);
        mr_bound_weighted_sum(mr_bounded_at(y, row * D), scores, mr_bounded_at(v, head), keys, n,
                              D, G * D, &c->a);
    }
}

static void attention_expect(mr_check *c) {
    const idx most = c->plan.seen + c->plan.tokens;
    mr_bounded k = {0}, v = {0}, scores;
    scores.v = mr_alloc(most, 3 * sizeof(double), &c->err);
    idx *keys = mr_alloc(most, sizeof *keys, &c->err);
    if (scores.v != NULL && keys != NULL && join(c, &k, "ring_k", "k") &&
        join(c, &v, "ring_v", "v")) {
        scores.e = scores.v + most, scores.s = scores.v + 2 * most;
        attend(c, k, v, scores, keys);
    }
    mr_free(scores.v);
    mr_free(keys);
    mr_free(k.v);
    mr_free(v.v);
}

static void cache_arrays(mr_check *c) {
    const mr_check_plan *p = &c->plan;
    if (p->slots < 1 || p->seen < 0)
        mr_fail(&c->err, MR_USAGE, "cache_write: slots must be 1 or more, seen 0 or more");
    mr_check_add(c, "k", OF_KEY, IS_INPUT, p->tokens, p->kv_heads, p->head_dim);
    mr_check_add(c, "v", OF_VALUE, IS_INPUT, p->tokens, p->kv_heads, p->head_dim);
    ring_arrays(c, IS_BOTH);
}

static void cache_expect(mr_check *c) {
    const mr_check_plan *p = &c->plan;
    const idx width = p->kv_heads * p->head_dim;
    static const char *const pairs[2][2] = {{"ring_k", "k"}, {"ring_v", "v"}};
    for (int i = 0; i < 2; i++) {
        const part *ring = mr_check_part(c, pairs[i][0]), *rows = mr_check_part(c, pairs[i][1]);
        for (idx n = 0; n < (idx)ring->is.count; n++) ring->want.v[n] = ring->in.v[n];
        for (idx n = 0; n < (idx)rows->is.count; n++)
            ring->want.v[(idx)((p->seen + n / width) % p->slots) * width + n % width] =
                rows->in.v[n];
    }
}

/* ---- router ---------------------------------------------------------------------------------- */

static void router_arrays(mr_check *c) {
    const idx T = c->plan.tokens, E = c->plan.experts, K = c->plan.chosen;
    if (K > E || K > 64)
        mr_fail(&c->err, MR_USAGE, "router: %td of %td experts cannot be chosen, at most 64", K, E);
    mr_check_add(c, "logits", OF_LOGIT, IS_INPUT, T, E, NO_DIM);
    mr_check_add(c, "experts", OF_INDEX, IS_OUTPUT, T, K, NO_DIM);
    mr_check_add(c, "weights", OF_SHARE, IS_OUTPUT, T, K, NO_DIM);
}

/* Is the choice K different experts of which none is below one that was left out? Ties may go
 * either way, and the order is free. */
static bool largest(const double *logits, const int32_t *chosen, idx E, idx K) {
    for (idx k = 0; k < K; k++) {
        if (chosen[k] < 0 || chosen[k] >= E) return false;
        for (idx j = 0; j < k; j++)
            if (chosen[j] == chosen[k]) return false;
    }
    for (idx e = 0; e < E; e++) {
        bool taken = false;
        for (idx k = 0; k < K; k++) taken = taken || chosen[k] == e;
        for (idx k = 0; k < K && !taken; k++)
            if (logits[e] > logits[chosen[k]]) return false;
    }
    return true;
}

/* The weights belong to the kernel's own choice, if that is one. */
static void router_expect(mr_check *c) {
    const idx E = c->plan.experts, K = c->plan.chosen;
    const part *logits = mr_check_part(c, "logits");
    const int32_t *chosen = mr_check_index(c, "experts");
    mr_bounded experts = mr_check_part(c, "experts")->want,
               weights = mr_check_part(c, "weights")->want;
    for (idx t = 0; t < c->plan.tokens; t++) {
        const double *row = logits->in.v + t * E;
        const mr_bounded w = mr_bounded_at(weights, t * K);
        int32_t best[64];
        double  unused[64];
        mr_router_f64(best, unused, row, 1, E, K, MR_TOPK_SOFTMAX);
        const bool good = largest(row, chosen + t * K, E, K);
        for (idx k = 0; k < K; k++) {
            const int32_t expert = good ? chosen[t * K + k] : best[k];
            experts.v[t * K + k] = expert;
            w.v[k] = row[expert];
            w.e[k] = w.s[k] = 0;
        }
        mr_bound_softmax(w, w, K, &c->a);
        for (idx k = 0; k < K; k++) w.e[k] = good ? 2 * w.e[k] : 1e300;
        if (!good && c->note[0] == '\0')
            snprintf(c->note, sizeof c->note, "the experts chosen for token %td are not the %td "
                     "largest logits, or one is there twice", t, K);
    }
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

static void target_arrays(mr_check *c, idx results) {
    const idx T = c->plan.tokens, V = c->plan.vocab;
    mr_check_add(c, "logits", OF_LOGIT, IS_INPUT, T, V, NO_DIM);
    mr_check_add(c, "targets", OF_INDEX, IS_INPUT, T, NO_DIM, NO_DIM);
    mr_check_add(c, "y", OF_LOGIT, IS_OUTPUT, results, NO_DIM, NO_DIM);
}

static void log_probability_arrays(mr_check *c) { target_arrays(c, c->plan.tokens); }
static void cross_entropy_arrays(mr_check *c) { target_arrays(c, 1); }

/* The last id, the first, then any; for a mean every fourth is not scored, as by PyTorch's -100. */
static void draw_targets(mr_check *c, bool ignore) {
    const double V = (double)c->plan.vocab;
    int32_t *targets = mr_check_index(c, "targets");
    for (idx t = 0; t < c->plan.tokens; t++) {
        targets[t] = t == 0 ? (int32_t)(V - 1) : t == 1 ? 0
                                               : (int32_t)(V * mr_check_uniform(c, 77, t));
        if (ignore && t % 4 == 3) targets[t] = -100;
    }
}

static void log_probability_prepare(mr_check *c) { draw_targets(c, false); }
static void cross_entropy_prepare(mr_check *c) { draw_targets(c, true); }

/* log p = z_t - m - log S,  S = sum exp(z_j - m),  m = max z.  S is off by
 * sum p_j (|z_j - m| + 4) w from its exponentials and gamma_V from its sum, the logarithm by
 * 8 w (|log S| + 1); a program that forms m + log S first rounds at the size of m, so
 * 4 w (|z_t| + |m| + |z_t - m|) follow. */
static void log_probability(mr_bounded y, mr_bounded z, idx V, int32_t target,
                            const mr_arithmetic *a) {
    double m = z.v[target], sum = 0, weighted = 0;
    for (idx j = 0; j < V; j++) m = fmax(m, z.v[j]);
    for (idx j = 0; j < V; j++) {
        const double p = exp(z.v[j] - m);
        sum += p;
        weighted += p * (m - z.v[j] + 4);
    }
    const double total = log(fmax(sum, 1)); /* the largest term is 1 */
    const double own = z.v[target], n = (double)V * a->sum;
    y.v[0] = own - m - total;
    y.e[0] = weighted / sum * a->sum + (n < 0.5 ? n / (1 - n) : 2 * n) +
             8 * a->sum * (total + 1) + 4 * a->sum * (fabs(own) + fabs(m) + fabs(own - m));
    y.s[0] = y.e[0];
}

static void log_probability_expect(mr_check *c) {
    const idx V = c->plan.vocab;
    mr_bounded y = mr_check_part(c, "y")->want;
    for (idx t = 0; t < c->plan.tokens; t++)
        log_probability(mr_bounded_at(y, t),
                                 mr_bounded_at(mr_check_part(c, "logits")->in, t * V), V,
                                 (int32_t)mr_check_part(c, "targets")->in.v[t], &c->a);
}

/* The mean of n terms: their errors, and n + 1 roundings. */
static void cross_entropy_expect(mr_check *c) {
    const idx V = c->plan.vocab, T = c->plan.tokens;
    double v, e, s, sum = 0, error = 0, terms = 0, n = 0;
    const part *targets = mr_check_part(c, "targets");
    mr_bounded y = mr_check_part(c, "y")->want;
    for (idx t = 0; t < T; t++) {
        if (targets->in.v[t] < 0) continue;
        log_probability((mr_bounded){&v, &e, &s},
                                 mr_bounded_at(mr_check_part(c, "logits")->in, t * V), V,
                                 (int32_t)targets->in.v[t], &c->a);
        sum -= v, error += e, terms += fabs(v) + e, n++;
    }
    y.v[0] = sum / n;
    y.e[0] = (error + (n + 2) * c->a.sum * terms) / n;
}

const operation mr_check_rows[] = {
    {"attention", 0, attention_arrays, empty_slots, attention_expect},
    {"cache_write", EVERY_FILL, cache_arrays, empty_slots, cache_expect},
    {"router", 0, router_arrays, NULL, router_expect},
    {"log_probability", 0, log_probability_arrays, log_probability_prepare,
     log_probability_expect},
    {"cross_entropy", 0, cross_entropy_arrays, cross_entropy_prepare, cross_entropy_expect},
    {NULL, 0, NULL, NULL, NULL},
};
