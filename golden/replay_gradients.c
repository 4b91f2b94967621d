/* Gradients and losses of the port beside the reference's own, which come from the same tokens. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/replay_backward.h"
#include "golden/replay_grad.h"

typedef struct {
    mr_trace     *port;
    mr_gradients *out;
    double       *found;   /* room for the largest tensor of the port */
    mr_err       *err;
} comparison;

/* 2^14 roundings of float, 64 of a 16-bit type */
double mr_gradient_tolerance(const mr_arithmetic *a) {
    return a->storage == MR_STORE_WIDE ? 0x1p14 * a->store : 64 * a->store;
}

static mr_gradient *next(comparison *c) {
    mr_gradients *o = c->out;
    if (o->count == o->room) {
        mr_gradient *grown = mr_resize(o->list, 2 * o->room + 64, (idx)sizeof *grown, c->err);
        if (grown == NULL) return NULL;
        o->list = grown;
        o->room = 2 * o->room + 64;
    }
    return &o->list[o->count++];
}

static void measure(mr_gradient *g, const double *want, const double *found, idx n) {
    double norm = 0, own = 0, product = 0, apart = 0, error = 0;
    g->distance = mr_compare(want, found, n, 53);
    for (idx i = 0; i < n; i++) {
        norm += want[i] * want[i];
        own += found[i] * found[i];
        product += want[i] * found[i];
        error += (found[i] - want[i]) * (found[i] - want[i]);
    }
    g->error = sqrt(error);
    g->factor = norm > 0 ? product / norm : 1;
    for (idx i = 0; i < n; i++) apart += pow(found[i] - g->factor * want[i], 2);
    g->apart = own > 0 ? sqrt(apart / own) : (double)INFINITY;
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Has the port the same experts for every token, in any order? */
static bool same_choice(comparison *c, const mr_tensor *want) {
    const idx at = mr_trace_find(c->port, want->name), n = mr_count(2, want->dim);
    const mr_tensor *t = at >= 0 ? mr_trace_tensor(c->port, at) : NULL;
    double own[64];
    if (t == NULL || mr_count(t->rank, t->dim) != n ||
        mr_trace_read(c->port, at, c->found, c->err) != MR_OK) return false;
    for (idx i = 0, K = want->dim[1]; i < n; i += K) {
        for (idx k = 0; k < K; k++) own[k] = ((const int32_t *)want->data)[i + k];
        qsort(own, (size_t)K, sizeof *own, by_number);
        qsort(c->found + i, (size_t)K, sizeof *own, by_number);
        if (memcmp(own, c->found + i, (size_t)K * sizeof *own) != 0) return false;
    }
    return true;
}

/* The tap: wants the gradients and losses that the port has, and all choices of experts. */
static bool see(void *user, const mr_tensor *want) {
    comparison *c = user;
    const char *dot = strrchr(want->name, '.');
    if (dot != NULL && strcmp(dot, ".router_experts") == 0) {
        if (want->data != NULL && !same_choice(c, want)) c->out->otherwise = true;
        return true;
    }
    const bool ours = strncmp(want->name, "grad.", 5) == 0 || strncmp(want->name, "loss.", 5) == 0;
    const idx at = ours ? mr_trace_find(c->port, want->name) : -1;
    if (at < 0 || want->data == NULL) return at >= 0;
    const mr_tensor *port = mr_trace_tensor(c->port, at);
    const idx n = mr_count(want->rank, want->dim);
    mr_gradient *g = next(c);
    if (g == NULL) return false;
    *g = (mr_gradient){.at = at, .factor = 1, .apart = (double)INFINITY};
    g->distance.relative = g->distance.max_abs = g->error = (double)INFINITY;
    if (mr_count(port->rank, port->dim) == n &&
        mr_trace_read(c->port, at, c->found, c->err) == MR_OK)
        measure(g, want->data, c->found, n);
    if (want->name[0] == 'g') c->out->largest = fmax(c->out->largest, g->distance.norm);
    return true;
}

static mr_status run(const mr_model *model, const mr_meta *m, comparison *c, mr_err *err) {
    const mr_run_options options = {.precision = MR_F64_RUN, .engine = MR_PLAIN_ENGINE,
                                    .n_seqs = m->n_seqs, .capacity = m->length,
                                    .max_tokens = m->count, .train = true, .router = m->router,
                                    .tap = see, .user = c};
    mr_run *r = NULL;
    if (mr_run_open(model, &options, &r, err)) return MR_BAD;
    for (idx b = 0; b < m->n_seqs; b++) mr_run_reset(r, b, m->first[b]);
    mr_status status = mr_run_forward(r, m->tokens, m->length, err);
    if (status == MR_OK)
        status = mr_replay_grad(r, model, MR_F64, m->tokens, m->length, m->n_seqs,
                                mr_trace_find(c->port, "loss.router") >= 0, see, c, err);
    mr_run_close(r);
    return status;
}

mr_status mr_measure_gradients(const mr_model *model, const mr_meta *meta, mr_trace *port,
                               mr_gradients *out, mr_err *err) {
    mr_err inner = {0};
    comparison c = {.port = port, .out = out, .err = &inner};
    *out = (mr_gradients){0};
    if (!mr_trace_has(port, "grad.") && !mr_trace_has(port, "loss.")) return MR_OK;
    c.found = mr_alloc(mr_trace_largest(port), sizeof *c.found, &inner);
    if (c.found != NULL) run(model, meta, &c, &inner);
    mr_free(c.found);
    return inner.code != MR_OK ? mr_fail(err, inner.code, "%s", inner.text) : MR_OK;
}

static bool verified(const mr_verification *v, const char *name) {
    for (idx i = 0; i < v->count; i++)
        if (strcmp(v->list[i].name, name) == 0) return true;
    return false;
}

/* The tolerance, and what the file's type may have rounded. A distance of the size of one rounding
 * of the largest gradient is nothing: it is left where the exact derivative is 0. */
static bool far(const mr_gradients *all, const mr_gradient *g, const mr_tensor *t,
                const mr_arithmetic *a) {
    const mr_recording file = mr_recording_of(t->name, t->dtype, a);
    const double limit = mr_gradient_tolerance(a) + file.unit,
                 least = (file.tiny + a->tiny) * sqrt((double)g->distance.count);
    const bool noise = t->name[0] == 'g' && g->error <= a->store * all->largest;
    return !(g->error <= limit * g->distance.norm + least) && !noise;
}

static mr_status add_fault(const mr_gradient *g, const mr_tensor *t, const mr_arithmetic *a,
                           mr_verification *v, mr_err *err) {
    const double limit = mr_gradient_tolerance(a);
    mr_finding *f = mr_verification_add(v, err);
    if (f == NULL) return MR_BAD;
    *f = (mr_finding){.verdict = MR_FAULT, .elements = mr_count(t->rank, t->dim), .worst = -1,
                      .slot = -1, .ratio = g->distance.relative / limit,
                      .introduced = g->distance.relative};
    f->beyond = f->elements;
    f->likely = f->ratio;
    snprintf(f->name, sizeof f->name, "%s", t->name);
    if (g->apart <= limit)
        snprintf(f->note, sizeof f->note, "it is %.6g times the reference's: another reduction of "
                 "the loss?", g->factor);
    else
        snprintf(f->note, sizeof f->note, "%.2g of the norm away from the reference's, tolerance "
                 "%.2g; measured: its own inputs are not recorded, or no bound is known",
                 g->distance.relative, limit);
    v->first = v->count - 1;
    v->faults++;
    return MR_DISAGREE;
}

mr_status mr_judge_gradients(mr_gradients *all, const mr_trace *port, const mr_arithmetic *a,
                             mr_verification *v, mr_err *err) {
    const bool judged = v->faults + v->explained == 0 && !all->otherwise;
    idx first = -1;
    all->beyond = 0;
    for (idx i = 0; i < all->count; i++) {
        const mr_tensor *t = mr_trace_tensor(port, all->list[i].at);
        if (!far(all, &all->list[i], t, a)) continue;
        all->beyond++;
        if (judged && first < 0 && !verified(v, t->name)) first = i;
    }
    if (first >= 0)
        return add_fault(&all->list[first], mr_trace_tensor(port, all->list[first].at), a, v, err);
    return v->faults > 0 ? MR_DISAGREE : MR_OK;
}

void mr_gradients_free(mr_gradients *gradients) {
    mr_free(gradients->list);
    *gradients = (mr_gradients){0};
}
