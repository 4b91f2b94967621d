/* DPO from ids to losses, gradients and one update, with bugs (see tests/bugs_toy.h). */
#ifndef MR_TESTS_BUGS_PREFERENCE_H
#define MR_TESTS_BUGS_PREFERENCE_H

#include "tests/bugs_toy.h"

enum { BUG_PAIRS = 3, BUG_MOST = 8 };

static inline void bug_sequence(bug_batch *b, const double *prompt, idx n_prompt,
                                const double *answer, idx n_answer, bool rejected, bug which) {
    int id[BUG_ROWS], scored[BUG_ROWS];
    idx n = 0;
    const bool whole = which == BUG_D07 || (which == BUG_D06 && rejected);
    for (idx t = 0; t < n_prompt; t++, n++) id[n] = (int)prompt[t], scored[n] = whole;
    if (which == BUG_D14) id[n] = BUG_BOS, scored[n++] = 1;
    for (idx t = 0; t < n_answer; t++, n++) id[n] = (int)answer[t], scored[n] = 1;
    const idx kept = n < BUG_MOST ? n : BUG_MOST, from = which == BUG_D15 ? n - kept : 0;
    const idx first = b->n;
    for (idx t = from; t < from + kept; t++) bug_append(b, id[t], scored[t]);
    bug_close(b, first, BUG_MOST - kept, which == BUG_P02 ? BUG_NONE : which);
}

/* chosen answers of all pairs, then the rejected ones */
static inline void bug_collate(bug_batch *b, const json_t *root, bug which) {
    memset(b, 0, sizeof *b);
    for (int side = 0; side < 2; side++) {
        const char *name = side == 0 ? "preference/chosen" : "preference/rejected";
        const double *p = golden(root, "preference/prompt/ids", NULL);
        const double *np = golden(root, "preference/prompt/length", NULL);
        const double *a = golden_at(root, name, "ids", NULL);
        const double *na = golden_at(root, name, "length", NULL);
        for (idx i = 0; i < BUG_PAIRS; i++) {
            bug_sequence(b, p, (idx)np[i], a, (idx)na[i], side == 1, which);
            p += (idx)np[i];
            a += (idx)na[i];
        }
    }
    bug_targets(b, which);
}

static inline void bug_sums(double *sums, double *count, double *logp, double *z,
                            const bug_toy *toy, const bug_batch *b, bug which) {
    bug_logits(z, toy, b, which);
    bug_log_probs(logp, z, b, which);
    for (idx s = 0; s < b->n_seqs; s++) sums[s] = count[s] = 0;
    for (idx t = 0; t < b->n; t++) {
        sums[b->seq[t]] += logp[t];
        count[b->seq[t]] += b->target[t] >= 0;
    }
    for (idx s = 0; s < b->n_seqs; s++)
        if (which == BUG_D01 && count[s] > 0) sums[s] /= count[s];
}

static inline double bug_log_sigmoid(double x, bug which) {
    if (which == BUG_D16) return log(1 / (1 + exp(-x)));
    return x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
}

/* Dropout is a bug of the policy, another order of summation one of the reference. */
static inline bug bug_in_policy(bug which) { return which == BUG_D12 ? BUG_NONE : which; }
static inline bug bug_in_reference(bug which) { return which == BUG_D11 ? BUG_NONE : which; }

/* loss by h, and its slope */
static inline double bug_of_difference(double *slope, const char *kind, double h, double beta,
                                       double e, bug which) {
    const double x = beta * h, up = 1 / (1 + exp(x)), down = 1 / (1 + exp(-x));
    const double right = -bug_log_sigmoid(x, which), wrong = -bug_log_sigmoid(-x, which);
    if (which == BUG_D13) kind = "sigmoid";
    if (strcmp(kind, "robust") == 0) {
        *slope = -beta * ((1 - e) * up + e * down) / (1 - 2 * e);
        return ((1 - e) * right - e * wrong) / (1 - 2 * e);
    }
    if (strcmp(kind, "hinge") == 0) {
        *slope = x < 1 ? -beta : 0;
        return x < 1 ? 1 - x : 0;
    }
    if (strcmp(kind, "ipo") == 0) {
        *slope = 2 * (h - 0.5 / beta);
        return (h - 0.5 / beta) * (h - 0.5 / beta);
    }
    *slope = -beta * up;
    return right;
}

/* The batch under one loss: its mean, metrics, and gradients of the policy when d is given. */
static inline double bug_dpo(double *metrics, bug_toy *d, const bug_toy *policy,
                             const bug_toy *reference, const bug_batch *b, const char *kind,
                             bug which) {
    double z[BUG_ROWS * BUG_V], logp[BUG_ROWS], sum[6], ref[6], n[6], dsum[6], loss = 0;
    bug_sums(ref, n, logp, z, reference, b, bug_in_reference(which));
    bug_sums(sum, n, logp, z, policy, b, bug_in_policy(which));
    const bool average = strcmp(kind, "sigmoid_norm") == 0
                         || (strcmp(kind, "ipo") == 0 && which != BUG_D02);
    memset(metrics, 0, 4 * sizeof *metrics);
    for (int i = 0; i < BUG_PAIRS; i++) {
        const int w = which == BUG_D26 ? i + BUG_PAIRS : i, l = 2 * i + BUG_PAIRS - w;
        const double cw = sum[w] - ref[w], cl = sum[l] - ref[l];
        const double nw = average ? n[w] : 1, nl = average ? n[l] : 1;
        double slope;
        loss += bug_of_difference(&slope, kind, cw / nw - cl / nl, 0.5, 0.1, which) / BUG_PAIRS;
        dsum[w] = slope / nw / BUG_PAIRS;
        dsum[l] = -slope / nl / BUG_PAIRS;
        metrics[0] += 0.5 * cw / BUG_PAIRS;
        metrics[1] += 0.5 * cl / BUG_PAIRS;
        metrics[2] += cw > cl ? 1.0 / BUG_PAIRS : 0;
        metrics[3] += 0.5 * (cw - cl) / BUG_PAIRS;
    }
    for (idx t = 0; t < b->n; t++) {
        double p[BUG_V];
        bug_softmax(p, z + t * BUG_V, BUG_V);
        for (idx v = 0; v < BUG_V; v++)
            z[t * BUG_V + v] = b->target[t] < 0 || which == BUG_D17
                                   ? 0
                                   : dsum[b->seq[t]] * ((double)(v == (idx)b->target[t]) - p[v]);
    }
    bug_gradient(d, z, b, bug_in_policy(which));
    return loss;
}

/* theta -= rate d */
static inline void bug_descend(bug_toy *toy, const bug_toy *d, double rate) {
    for (idx i = 0; i < BUG_V * BUG_V; i++) toy->table[i] -= rate * d->table[i];
    for (idx i = 0; i < BUG_V; i++) toy->slope[i] -= rate * d->slope[i];
}

static inline void bug_emit_rows(const bug_run *r, const bug_batch *b, const bug_toy *policy,
                                 const bug_toy *reference) {
    double id[BUG_ROWS], z[BUG_ROWS * BUG_V], logp[BUG_ROWS], sum[6], n[6];
    for (idx t = 0; t < b->n; t++) id[t] = b->id[t];
    r->emit(r->user, "preference/tokens", id, b->n);
    r->emit(r->user, "preference/length", b->length, b->n_seqs);
    r->emit(r->user, "preference/positions", b->position, b->n);
    r->emit(r->user, "preference/targets", b->target, b->n);
    bug_sums(sum, n, logp, z, reference, b, bug_in_reference(r->which));
    r->emit(r->user, "preference/ref_sums", sum, b->n_seqs);
    bug_sums(sum, n, logp, z, policy, b, bug_in_policy(r->which));
    r->emit(r->user, "preference/logits", z, b->n * BUG_V);
    r->emit(r->user, "preference/logp", logp, b->n);
    r->emit(r->user, "preference/sums", sum, b->n_seqs);
}

/* Policy and reference start equal; the second step shows whether the reference has stayed. */
static inline void bug_start(const bug_run *r, const json_t *root, const bug_batch *b) {
    bug_toy policy, copy, d;
    double metrics[4];
    bug_read_toy(&policy, root, "preference", "");
    copy = policy;
    const bug_toy *reference = r->which == BUG_D09 ? &policy : &copy;
    double loss = bug_dpo(metrics, &d, &policy, reference, b, "sigmoid", r->which);
    r->emit(r->user, "preference/start/loss", &loss, 1);
    r->emit(r->user, "preference/start/metrics", metrics, 4);
    bug_descend(&policy, &d, 0.5);
    if (r->which == BUG_D10) memcpy(copy.slope, policy.slope, sizeof copy.slope);
    loss = bug_dpo(metrics, &d, &policy, reference, b, "sigmoid", r->which);
    r->emit(r->user, "preference/start/after", &loss, 1);
}

static inline void bug_preference(const bug_run *r, const json_t *root) {
    static const char *const kinds[] = {"sigmoid", "robust", "hinge", "ipo", "sigmoid_norm"};
    bug_batch b;
    bug_toy policy, reference, d;
    double metrics[4];
    char path[96];
    bug_read_toy(&policy, root, "preference", "");
    bug_read_toy(&reference, root, "preference", "ref_");
    bug_collate(&b, root, r->which);
    bug_emit_rows(r, &b, &policy, &reference);
    for (int k = 0; k < 5; k++) {
        const double loss = bug_dpo(metrics, &d, &policy, &reference, &b, kinds[k], r->which);
        snprintf(path, sizeof path, "preference/%s/loss", kinds[k]);
        r->emit(r->user, path, &loss, 1);
        snprintf(path, sizeof path, "preference/%s/table_gradient", kinds[k]);
        r->emit(r->user, path, d.table, BUG_V * BUG_V);
        snprintf(path, sizeof path, "preference/%s/slope_gradient", kinds[k]);
        r->emit(r->user, path, d.slope, BUG_V);
    }
    r->emit(r->user, "preference/metrics", metrics, 4);
    bug_dpo(metrics, &d, &policy, &reference, &b, "sigmoid", r->which);
    bug_descend(&policy, &d, 0.5);
    const double loss = bug_dpo(metrics, &d, &policy, &reference, &b, "sigmoid", r->which);
    r->emit(r->user, "preference/after", &loss, 1);
    bug_start(r, root, &b);
}

/* Margins of +-100 and beyond, and rows with logits of +-1e4, from the other golden files. */
static inline void bug_extremes(const bug_run *r, const json_t *pairs, const json_t *rows) {
    double loss[8], logp[10], slope;
    const double *w = golden(pairs, "dpo/chosen", NULL), *l = golden(pairs, "dpo/rejected", NULL);
    const double *rw = golden(pairs, "dpo/ref_chosen", NULL);
    const double *rl = golden(pairs, "dpo/ref_rejected", NULL);
    const double *z = golden(rows, "rows/logits", NULL), *y = golden(rows, "rows/targets", NULL);
    for (int i = 0; i < 8; i++)
        loss[i] = bug_of_difference(&slope, "sigmoid", (w[i] - rw[i]) - (l[i] - rl[i]), 0.1, 0,
                                    r->which);
    for (int i = 0; i < 10; i++) logp[i] = bug_log_softmax(z + i * 7, 7, (idx)y[i], r->which);
    r->emit(r->user, "dpo/sigmoid/loss", loss, 8);
    r->emit(r->user, "rows/logp", logp, 10);
}

#endif
