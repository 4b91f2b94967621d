/* Replay: the reference beside a recorded trace, tensor by tensor, as the run produces them. */
#include "golden/replay.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/replay_grad.h"
#include "golden/replay_meta.h"
#include "golden/trace.h"
#include "weights/checkpoint.h"

/* Relative to the tensor's norm. float64 against float64 differs by summation order alone. A
 * gradient has gone through twice as many operations, all of them in float32. 16-bit
 * elements must be
 * bit-identical, but for a share whose rounding a float32 sum decides; these may be one unit in
 * the last place away. */
#define LIMIT_F64   1e-12
#define LIMIT_F32   2e-6
#define LIMIT_GRAD  1e-5
#define SHARE_16BIT 0.999

typedef struct {
    mr_trace        *trace;
    const mr_meta   *meta;
    mr_replay       *result;
    mr_replay_report report;
    void            *user;
    mr_err          *err;
    double          *want, *got;   /* room for the largest tensor */
} comparison;

/* The run's tensor as doubles. */
static void widen(double *out, const mr_tensor *t, idx n) {
    for (idx i = 0; i < n; i++) {
        switch (t->dtype) {
        case MR_F64: out[i] = ((const double *)t->data)[i]; break;
        case MR_F32: out[i] = (double)((const float *)t->data)[i]; break;
        case MR_I32: out[i] = ((const int32_t *)t->data)[i]; break;
        default:     out[i] = ((const uint8_t *)t->data)[i]; break;
        }
    }
}

static bool same_shape(const mr_tensor *a, const mr_tensor *b) {
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->dim[i] == b->dim[i];
    return same;
}

static int digits_of(mr_dtype dtype) {
    switch (dtype) {
    case MR_F64:  return 53;
    case MR_F32:  return 24;
    case MR_F16:  return 11;
    case MR_BF16: return 8;
    default:      return 0;   /* integers: equal or not */
    }
}

static bool is_gradient(const char *name) { return strncmp(name, "grad.", 5) == 0; }

static bool agrees(const mr_tensor *want, const mr_measure *m) {
    switch (want->dtype) {
    case MR_F64:  return m->relative <= LIMIT_F64;
    case MR_F32:  return m->relative <= (is_gradient(want->name) ? LIMIT_GRAD : LIMIT_F32);
    case MR_BF16:
    case MR_F16:  return m->max_ulp <= 1;
    default:      return m->differ == 0;
    }
}

/* The figure by which the tensors of one trace are ranked. Gate weights that stay float32 in a
 * 16-bit trace have none. */
static double badness(mr_trace_precision precision, const mr_tensor *want, const mr_measure *m) {
    const bool half = digits_of(want->dtype) < 24;
    if (digits_of(want->dtype) == 0 || half != (precision >= MR_TRACE_BF16)) return 0;
    return half ? m->max_ulp : m->relative;
}

static void record(comparison *c, const mr_tensor *want, const mr_measure *m) {
    mr_replay *r = c->result;
    const bool good = agrees(want, m);
    const double bad = badness(c->meta->precision, want, m);
    r->agree += good;
    if (!good && r->failed[0] == '\0') snprintf(r->failed, sizeof r->failed, "%s", want->name);
    if (!(bad <= r->worst)) {
        r->worst = bad;
        snprintf(r->worst_name, sizeof r->worst_name, "%s", want->name);
    }
    if (want->dtype == MR_BF16 || want->dtype == MR_F16) {
        r->elements16 += m->count;
        r->equal16 += m->count - m->differ;
    }
    if (c->report != NULL) c->report(c->user, want->name, m, good);
}

/* The tap: wants what the trace has; compares it when it comes. */
static bool compare(void *user, const mr_tensor *got) {
    comparison *c = user;
    const idx at = mr_trace_find(c->trace, got->name);
    if (at < 0 || got->data == NULL) return at >= 0;
    const mr_tensor *want = mr_trace_tensor(c->trace, at);
    const idx n = mr_count(want->rank, want->dim);
    mr_measure m = {.count = n,
                    .differ = n,
                    .max_abs = (double)NAN,
                    .relative = (double)NAN,
                    .max_ulp = (double)NAN};
    if (same_shape(want, got)) {
        if (mr_trace_read(c->trace, at, c->want, c->err)) return false;
        widen(c->got, got, n);
        m = mr_compare(c->want, c->got, n,
                       digits_of(want->dtype) > 0 ? digits_of(want->dtype) : 53);
    }
    c->result->tensors++;
    record(c, want, &m);
    return true;
}

/* The model beside the trace, set up as the trace was. */
static mr_status open_model(const char *path, const mr_meta *meta, mr_checkpoint *out,
                            mr_err *err) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    const int length = slash != NULL ? (int)(slash - path) : 1;
    if (snprintf(folder, sizeof folder, "%.*s", length, slash != NULL ? path : ".") >=
        (int)sizeof folder)
        return mr_fail(err, MR_BAD, "%s: path too long", path);
    if (mr_checkpoint_open(folder, out, err)) return MR_BAD;
    mr_config *c = &out->model.config;
    mr_config_follow(c, meta->convention);
    c->rope_angles = meta->rope_angles;
    c->rope_layout = meta->rope_layout;
    c->storage = meta->precision == MR_TRACE_BF16  ? MR_STORE_BF16
                 : meta->precision == MR_TRACE_F16 ? MR_STORE_F16
                                                   : MR_STORE_WIDE;
    return MR_OK;
}

static mr_status run_and_compare(const mr_model *model, mr_engine engine, comparison *c,
                                 mr_err *err) {
    const mr_meta *m = c->meta;
    const mr_run_options options = {.precision = m->precision == MR_TRACE_F64 ? MR_F64_RUN
                                                                              : MR_F32_RUN,
                                    .engine = engine,
                                    .n_seqs = m->n_seqs,
                                    .capacity = m->length,
                                    .max_tokens = m->count,
                                    .train = mr_trace_has(c->trace, "grad."),
                                    .router = m->router,
                                    .tap = compare,
                                    .user = c};
    mr_run *run = NULL;
    if (mr_run_open(model, &options, &run, err)) return MR_BAD;
    for (idx b = 0; b < m->n_seqs; b++) mr_run_reset(run, b, m->first[b]);
    mr_status status = mr_run_forward(run, m->tokens, m->length, err);
    if (status == MR_OK) mr_run_show_cache(run);
    if (status == MR_OK && options.train)
        status = mr_replay_grad(run, model, m->precision == MR_TRACE_F64 ? MR_F64 : MR_F32,
                                m->tokens, m->length, m->n_seqs,
                                mr_trace_find(c->trace, "loss.router") >= 0, compare, c, err);
    mr_run_close(run);
    return status;
}

/* Room for the largest tensor of the trace, twice. */
static mr_status make_room(comparison *c, mr_err *err) {
    const idx most = mr_trace_largest(c->trace);
    c->want = mr_alloc(most, sizeof *c->want, err);
    c->got = mr_alloc(most, sizeof *c->got, err);
    return c->want != NULL && c->got != NULL ? MR_OK : MR_BAD;
}

/* What the tensors one by one cannot say: none may be missing from the run, and 16-bit elements
 * must nearly all be equal. */
static mr_status verdict(const char *path, const comparison *c, mr_err *err) {
    const mr_replay *r = c->result;
    if (r->failed[0] != '\0')
        return mr_fail(err, MR_DISAGREE, "%s: %td of %td tensors disagree, the first is %s", path,
                       r->tensors - r->agree, r->tensors, r->failed);
    if (r->tensors != mr_trace_count(c->trace))
        return mr_fail(err, MR_MISSING, "%s: the run produced %td of the trace's %td tensors", path,
                       r->tensors, mr_trace_count(c->trace));
    if (r->tensors == 0) return mr_fail(err, MR_PROVES_NOTHING, "%s: no tensors", path);
    if ((double)r->equal16 < SHARE_16BIT * (double)r->elements16)
        return mr_fail(err, MR_DISAGREE,
                       "%s: %td of %td 16-bit elements are bit-identical, expected a share of %g",
                       path, r->equal16, r->elements16, SHARE_16BIT);
    return MR_OK;
}

mr_status mr_replay_trace(const char *path, mr_engine engine, mr_replay_report report, void *user,
                          mr_replay *out, mr_err *err) {
    mr_meta meta = {0};
    mr_checkpoint checkpoint = {0};
    mr_err inner = {0};
    comparison c = {.meta = &meta, .result = out, .report = report, .user = user, .err = &inner};
    memset(out, 0, sizeof *out);
    mr_status status = mr_trace_open(path, &c.trace, &inner);
    if (status == MR_OK) status = mr_meta_read(path, mr_trace_meta(c.trace), &meta, &inner);
    if (status == MR_OK) status = make_room(&c, &inner);
    if (status == MR_OK) status = open_model(path, &meta, &checkpoint, &inner);
    if (status == MR_OK) {
        out->precision = meta.precision;
        out->smallest_gap = meta.smallest_gap;
        status = run_and_compare(&checkpoint.model, engine, &c, &inner);
    }
    if (status == MR_OK && inner.code == MR_OK) status = verdict(path, &c, &inner);
    if (inner.code != MR_OK) status = mr_fail(err, inner.code, "%s", inner.text);
    mr_checkpoint_close(&checkpoint);
    mr_meta_free(&meta);
    mr_trace_close(c.trace);
    mr_free(c.want);
    mr_free(c.got);
    return status;
}
