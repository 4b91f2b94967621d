/* A second, small implementation of batches and losses, with real bugs as switches: here the toy
 * model of golden/losses_toy.py over packed rows. It shares no code with ref/. */
#ifndef MR_TESTS_BUGS_TOY_H
#define MR_TESTS_BUGS_TOY_H

#include <math.h>

#include "tests/losses_golden.h"

#define BUG(id, text) BUG_##id,
typedef enum { BUG_NONE,
#include "tests/bugs_losses.def"
               BUGS } bug;
#undef BUG

enum { BUG_V = 8, BUG_ROWS = 64, BUG_EOS = 2, BUG_BOS = 1, BUG_PAD = 0 };

/* Receives every number that a golden array of the same path exists for. */
typedef void (*bug_emit)(void *user, const char *path, const double *value, idx n);

typedef struct {
    bug      which;
    bug_emit emit;
    void    *user;
} bug_run;

typedef struct {
    double table[BUG_V * BUG_V], slope[BUG_V];
} bug_toy;

/* Packed rows: ids, whether they are targets, their sequence, position and visibility. */
typedef struct {
    idx    n, n_seqs;
    int    id[BUG_ROWS], scored[BUG_ROWS], seq[BUG_ROWS], seen[BUG_ROWS];
    double position[BUG_ROWS], target[BUG_ROWS], length[BUG_ROWS];
} bug_batch;

static inline void bug_append(bug_batch *b, int id, int scored) {
    b->id[b->n] = id;
    b->scored[b->n] = scored;
    b->seq[b->n] = (int)b->n_seqs;
    b->n++;
}

/* Positions of the sequence that was just appended from row `first` on; pad: columns before it. */
static inline void bug_close(bug_batch *b, idx first, idx pad, bug which) {
    double position = 0;
    for (idx t = first; t < b->n; t++) {
        b->seen[t] = !(which == BUG_P05 && b->id[t] == BUG_EOS);
        b->position[t] = position + (which == BUG_P01 || which == BUG_P02 ? (double)pad : 0);
        position += b->seen[t];
    }
    b->length[b->n_seqs++] = (double)(b->n - first);
}

/* target of each row: the next token of its sequence, where that is scored */
static inline void bug_targets(bug_batch *b, bug which) {
    for (idx t = 0; t < b->n; t++) {
        const bool next = t + 1 < b->n && b->seq[t + 1] == b->seq[t];
        b->target[t] = next && b->scored[t + 1] ? b->id[t + 1] : -1;
        if (which == BUG_D04) b->target[t] = b->scored[t] ? b->id[t] : -1;
        if (which == BUG_D18 && !next && t + 1 < b->n && b->scored[t]) b->target[t] = b->id[t + 1];
        if (which == BUG_P05 && b->target[t] == BUG_EOS) b->target[t] = -1;
    }
}

/* How much of row j's token is in row t: half as much per row of distance. */
static inline double bug_mix(const bug_batch *b, idx t, idx j, bug which) {
    if (!b->seen[j] || (which != BUG_P04 && b->seq[j] != b->seq[t])) return 0;
    if (which == BUG_D11 && (t + j) % 3 == 0) return 0;
    return pow(0.5, which == BUG_P05 ? b->position[t] - b->position[j] : (double)(t - j));
}

static inline void bug_logits(double *z, const bug_toy *toy, const bug_batch *b, bug which) {
    for (idx t = 0; t < b->n; t++)
        for (idx v = 0; v < BUG_V; v++) {
            double sum = 0;
            for (idx k = 0; k <= t; k++) {
                const idx j = which == BUG_D12 ? t - k : k;
                sum += bug_mix(b, t, j, which) * toy->table[b->id[j] * BUG_V + v];
            }
            z[t * BUG_V + v] = sum + b->position[t] * toy->slope[v];
        }
}

/* dtable and dslope of dlogits */
static inline void bug_gradient(bug_toy *d, const double *dz, const bug_batch *b, bug which) {
    memset(d, 0, sizeof *d);
    for (idx t = 0; t < b->n; t++)
        for (idx v = 0; v < BUG_V; v++) {
            for (idx j = 0; j <= t; j++)
                d->table[b->id[j] * BUG_V + v] += bug_mix(b, t, j, which) * dz[t * BUG_V + v];
            d->slope[v] += b->position[t] * dz[t * BUG_V + v];
        }
}

static inline void bug_softmax(double *p, const double *z, idx n) {
    double top = z[0], sum = 0;
    for (idx v = 1; v < n; v++) top = fmax(top, z[v]);
    for (idx v = 0; v < n; v++) sum += p[v] = exp(z[v] - top);
    for (idx v = 0; v < n; v++) p[v] /= sum;
}

static inline double bug_log_softmax(const double *z, idx n, idx y, bug which) {
    idx top = 0;
    double rest = 0;
    for (idx v = 1; v < n; v++) top = z[v] > z[top] ? v : top;
    for (idx v = 0; v < n; v++)
        rest += which == BUG_D16 ? exp(z[v]) : v == top ? 0 : exp(z[v] - z[top]);
    return which == BUG_D16 ? log(exp(z[y]) / rest) : z[y] - z[top] - log1p(rest);
}

/* logp per row, 0 where nothing is scored */
static inline void bug_log_probs(double *logp, const double *z, const bug_batch *b, bug which) {
    for (idx t = 0; t < b->n; t++)
        logp[t] = b->target[t] < 0
                      ? 0
                      : bug_log_softmax(z + t * BUG_V, BUG_V, (idx)b->target[t], which);
}

static inline void bug_read_toy(bug_toy *toy, const json_t *root, const char *where,
                                const char *prefix) {
    char name[64];
    snprintf(name, sizeof name, "%stable", prefix);
    memcpy(toy->table, golden_at(root, where, name, NULL), sizeof toy->table);
    snprintf(name, sizeof name, "%sslope", prefix);
    memcpy(toy->slope, golden_at(root, where, name, NULL), sizeof toy->slope);
}

#endif
