/* Supervised batches, router losses and reward scores, with bugs (see tests/bugs_toy.h). */
#ifndef MR_TESTS_BUGS_BATCHES_H
#define MR_TESTS_BUGS_BATCHES_H

#include "tests/bugs_toy.h"

/* The sequences at `where`; prompt: scored from there on (NULL: nothing is, a reward is read). */
static inline void bug_read(bug_batch *b, const json_t *root, const char *where,
                            const double *prompt, bug which) {
    idx n;
    const double *id = golden_at(root, where, "sequences/ids", NULL);
    const double *length = golden_at(root, where, "sequences/length", &n);
    double most = 0;
    const bool only_rewards = which == BUG_P02 || which == BUG_D20 || which == BUG_D24;
    if (prompt != NULL && only_rewards) which = BUG_NONE;
    memset(b, 0, sizeof *b);
    for (idx s = 0; s < n; s++) most = fmax(most, length[s]);
    for (idx s = 0; s < n; s++, id += (idx)length[s - 1]) {
        const idx first = b->n, pad = (idx)(most - length[s]);
        const bool cut = which == BUG_D24 && length[s] > 1 && id[(idx)length[s] - 1] == BUG_EOS;
        for (idx t = 0; t < (idx)length[s] - cut; t++)
            bug_append(b, (int)id[t], prompt != NULL && ((double)t >= prompt[s]
                                                         || which == BUG_D07));
        for (idx t = 0; which == BUG_D20 && t < pad; t++) bug_append(b, BUG_PAD, 0);
        bug_close(b, first, pad, which);
    }
    bug_targets(b, which);
}

/* The two most probable of E experts. */
static inline void bug_top(int *top, const double *p, idx E) {
    top[0] = p[1] > p[0];
    top[1] = !top[0];
    for (int e = 2; e < (int)E; e++) {
        if (p[e] > p[top[0]]) top[1] = top[0], top[0] = e;
        else if (p[e] > p[top[1]]) top[1] = e;
    }
}

/* E sum_e f_e P_e over T rows of four logits, `stride` apart; dz[T,4] when given. */
static inline double bug_balance(double *dz, const double *z, idx T, idx stride,
                                 const double *mask, bug which) {
    enum { E = 4, MOST = 64 };
    double p[MOST * E], f[E] = {0}, P[E] = {0}, n = 0, top_mean = 0, loss = 0;
    if (which == BUG_E19) mask = NULL;
    for (idx t = 0; t < T; t++) {
        int top[2];
        bug_softmax(p + t * E, z + t * stride, E);
        bug_top(top, p + t * E, E);
        if (which == BUG_E20) bug_softmax(p + t * E, p + t * E, E);
        if (mask != NULL && mask[t] == 0) continue;
        n += 1;
        f[top[0]] += 1, f[top[1]] += 1;
        for (int e = 0; e < E; e++) P[e] += p[t * E + e];
        top_mean += 0.5;   /* the two gate weights add up to 1 */
    }
    for (int e = 0; e < E; e++)
        loss += E * f[e] / n * (which == BUG_E17 ? top_mean / n / E : P[e] / n);
    for (idx t = 0; dz != NULL && t < T; t++) {
        double mean = 0;
        for (int e = 0; e < E; e++) mean += f[e] / n * p[t * E + e];
        for (int e = 0; e < E; e++)
            dz[t * E + e] = (mask != NULL && mask[t] == 0) || which == BUG_E17
                                ? 0
                                : E / n * p[t * E + e] * (f[e] / n - mean);
    }
    return loss;
}

/* One kind of router loss of one set of logits: its value and gradient. */
static inline void bug_router_kind(const bug_run *r, const json_t *root, const char *set,
                                   const char *kind, bool pooled, bool masked) {
    enum { T = 10, LAYER = 40 };
    const double *z = golden_at(root, set, "logits", NULL), *m = golden(root, "mask", NULL);
    double mask[2 * T], dz[2 * LAYER], loss = 0;
    char path[96];
    memcpy(mask, m, T * sizeof *m);
    memcpy(mask + T, m, T * sizeof *m);
    const double *used = masked ? mask : NULL, factor = pooled ? 1 : 0.25;
    const bool one_sum = pooled || r->which == BUG_E18;
    if (one_sum) loss = bug_balance(dz, z, 2 * T, 4, used, r->which) * (pooled ? 1 : 0.5);
    for (int l = 0; l < 2 && !one_sum; l++)
        loss += factor * bug_balance(dz + l * LAYER, z + l * LAYER, T, 4, used, r->which);
    for (int i = 0; i < 2 * LAYER; i++) dz[i] *= one_sum && !pooled ? 0.5 : factor;
    snprintf(path, sizeof path, "%s/%s/loss", set, kind);
    r->emit(r->user, path, &loss, 1);
    snprintf(path, sizeof path, "%s/%s/gradient", set, kind);
    r->emit(r->user, path, dz, 2 * LAYER);
}

static inline void bug_router(const bug_run *r, const json_t *root) {
    static const char *const sets[] = {"a", "b"};
    for (int s = 0; s < 2; s++) {
        bug_router_kind(r, root, sets[s], "pooled", true, false);
        bug_router_kind(r, root, sets[s], "pooled_mask", true, true);
        bug_router_kind(r, root, sets[s], "layers", false, false);
        bug_router_kind(r, root, sets[s], "layers_mask", false, true);
    }
}

/* dz of the token mean, or of the mean of both micro-batches' means; returns the loss */
static inline double bug_token_loss(double *dz, const double *z, const bug_batch *b, bug which) {
    double logp[BUG_ROWS], n[2] = {0}, loss = 0;
    bug_log_probs(logp, z, b, which);
    for (idx t = 0; t < b->n; t++) n[b->seq[t] >= 2] += b->target[t] >= 0;
    for (idx t = 0; t < b->n; t++) {
        const double divisor = which == BUG_D19 ? 2 * n[b->seq[t] >= 2] : n[0] + n[1];
        double p[BUG_V];
        bug_softmax(p, z + t * BUG_V, BUG_V);
        loss -= logp[t] / divisor;
        for (idx v = 0; v < BUG_V; v++)
            dz[t * BUG_V + v] = b->target[t] < 0
                                    ? 0
                                    : (p[v] - (double)(v == (idx)b->target[t])) / divisor;
    }
    return loss;
}

/* Token loss, plus the balance loss of each micro-batch; four logits of a row are its router's. */
static inline void bug_supervised(const bug_run *r, const json_t *root) {
    bug_batch b;
    bug_toy toy, d;
    double z[BUG_ROWS * BUG_V], dz[BUG_ROWS * BUG_V], da[BUG_ROWS * 4], aux[2];
    bug_read_toy(&toy, root, "supervised", "");
    bug_read(&b, root, "supervised", golden(root, "supervised/prompt", NULL), r->which);
    bug_logits(z, &toy, &b, r->which);
    const double loss = bug_token_loss(dz, z, &b, r->which);
    double total = loss, weight = r->which == BUG_E21 ? 0 : r->which == BUG_E22 ? 0.0025 : 0.005;
    for (idx m = 0, first = 0, end = 0; m < 2; m++, first = end) {
        while (end < b.n && b.seq[end] < 2 * (m + 1)) end++;
        aux[m] = bug_balance(da, z + first * BUG_V, end - first, BUG_V, NULL, r->which);
        total += weight * aux[m];
        for (idx i = 0; i < (end - first) * 4; i++)
            dz[(first + i / 4) * BUG_V + i % 4] += weight * da[i];
    }
    for (idx i = 0; r->which == BUG_D17 && i < b.n * BUG_V; i++) dz[i] = 0;
    bug_gradient(&d, dz, &b, r->which);
    r->emit(r->user, "supervised/positions", b.position, b.n);
    r->emit(r->user, "supervised/targets", b.target, b.n);
    r->emit(r->user, "supervised/logits", z, b.n * BUG_V);
    r->emit(r->user, "supervised/loss", &loss, 1);
    r->emit(r->user, "supervised/aux", aux, 2);
    r->emit(r->user, "supervised/total", &total, 1);
    r->emit(r->user, "supervised/total_gradient", d.table, BUG_V * BUG_V);
}

/* The row that is scored, of rows [first,end). */
static inline idx bug_score_row(const bug_batch *b, idx first, idx end, bug which) {
    for (idx t = first; which == BUG_D21 && t < end; t++)
        if (b->id[t] == BUG_EOS) return t > first ? t - 1 : end - 1;
    return end - 1;
}

static inline void bug_rewards(const bug_run *r, const json_t *root) {
    bug_batch b;
    bug_toy toy;
    double z[BUG_ROWS * BUG_V], value[BUG_ROWS] = {0}, score[8];
    const double *head = golden(root, "rewards/head", NULL);
    bug_read_toy(&toy, root, "rewards", "");
    bug_read(&b, root, "rewards", NULL, r->which);
    bug_logits(z, &toy, &b, r->which);
    for (idx t = 0; t < b.n; t++)
        for (idx v = 0; v < BUG_V; v++) value[t] += z[t * BUG_V + v] * head[v];
    for (idx s = 0, first = 0, end; s < b.n_seqs; s++, first = end) {
        end = first + (idx)b.length[s];
        score[s] = value[bug_score_row(&b, first, end, r->which)];
        if (r->which != BUG_D23) continue;
        score[s] = 0;
        for (idx t = first; t < end; t++) score[s] += value[t] / b.length[s];
    }
    r->emit(r->user, "rewards/positions", b.position, b.n);
    r->emit(r->user, "rewards/rows", value, b.n);
    r->emit(r->user, "rewards/score", score, b.n_seqs);
}

#endif
