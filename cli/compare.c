/* compare: is a port right, and if not, which operation is wrong, since where, and why. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/replay_cause.h"
#include "golden/compare.h"

/* Everything a comparison knows; reports only read it. */
typedef struct {
    const mr_args  *args;
    mr_trace       *golden, *port;
    mr_checkpoint   model;
    mr_meta         meta;
    mr_arithmetic   arithmetic;
    mr_verification verification;
    mr_causes       causes;
    const char     *store, *sum;
} comparison;

static const char *const precisions[] = {"f64", "f32", "bf16", "f16"};

/* The port's meta says what was run; where it has none, the golden trace's does. */
static mr_status read_meta(comparison *c, mr_err *err) {
    const bool own = mr_trace_meta(c->port)[0] != '\0';
    const char *file = own ? c->args->file : c->args->model;
    return mr_meta_read(file, mr_trace_meta(own ? c->port : c->golden), &c->meta, err);
}

/* --dtype, else the meta's precision. tf32 and fp8 name the operands' type: they are stored as
 * f32. */
static mr_status read_arithmetic(comparison *c, mr_err *err) {
    int dtype = -1;
    if (mr_value_word("--dtype", c->args->dtype, "f32|tf32|bf16|f16", &dtype, err)) return MR_USAGE;
    static const char *const stores[] = {"f32", "f32", "bf16", "f16"};
    c->store = dtype >= 0 ? stores[dtype] : precisions[c->meta.precision];
    c->sum = dtype == 1 ? "tf32" : "f32";
    if (strcmp(c->store, "f64") == 0) c->store = "f32";   /* a double port obeys the float bounds */
    if (!mr_arithmetic_of(c->store, c->sum, &c->arithmetic))
        return mr_fail(err, MR_USAGE, "--dtype: %s is not known", c->store);
    if (c->meta.wide_inside && c->arithmetic.inside > 0x1p-24) c->arithmetic.inside = 0x1p-24;
    return MR_OK;
}

static mr_status verify(comparison *c, mr_err *err) {
    mr_config *config = &c->model.model.config;
    if (mr_override(c->args, config, err)) return err->code;
    if (c->args->rope_layout == NULL) config->rope_layout = c->meta.rope_layout;
    if (c->args->rope_angles == NULL) config->rope_angles = c->meta.rope_angles;
    const mr_status status =
        mr_verify(&c->model.model, &c->meta, c->port, &c->arithmetic, NULL, &c->verification, err);
    if (status != MR_DISAGREE) return status;
    mr_find_causes(&c->model.model, &c->meta, c->port, &c->arithmetic, &c->verification, &c->causes,
                   err);
    if (err->code != MR_OK) return err->code;
    return c->causes.harmless ? MR_OK : MR_DISAGREE;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_finding(const mr_finding *f) {
    printf("  %-26s", f->name);
    if (f->worst >= 0)
        printf(" error/bound %-9.3g %td of %td beyond; worst at %td: expected %.9g, found %.9g, "
               "bound %.2g",
               f->ratio, f->beyond, f->elements, f->worst, f->expected, f->found, f->bound);
    printf("%s%s\n", f->note[0] != '\0' ? "\n      " : "", f->note);
}

static void print_fault(const comparison *c) {
    const mr_verification *v = &c->verification;
    printf("FAULT in %s\n", v->list[v->first].name);
    print_finding(&v->list[v->first]);
    if (c->causes.count == 0)
        printf("cause: none of %td hypotheses reproduces the port\n", c->causes.tried);
    for (idx i = 0; i < c->causes.count; i++)
        printf("%s: %s (the reference with this fault reproduces all %td tensors)\n",
               i == 0 ? "cause, proved" : "  or, not to be told apart", c->causes.proved[i].name,
               v->count);
    if (v->faults > 1) printf("%td more tensors introduce errors of their own:\n", v->faults - 1);
    for (idx i = v->first + 1, shown = 0; i < v->count && shown < 8; i++)
        if (v->list[i].verdict == MR_FAULT) print_finding(&v->list[i]), shown++;
}

static void print_text(const comparison *c) {
    const mr_verification *v = &c->verification;
    const bool fault = v->first >= 0 && !c->causes.harmless;
    if (fault) print_fault(c);
    else if (v->first >= 0)
        printf("explained: %s: %s; no output shows it\n", v->list[v->first].name,
               c->causes.proved[0].name);
    for (idx i = 0; i < v->count; i++)
        if (v->list[i].verdict == MR_EXPLAINED)
            printf("explained: %s: %s\n", v->list[i].name, v->list[i].note);
    double worst = 0;
    for (idx i = 0; i < v->count; i++)
        if (v->list[i].verdict == MR_AGREES && v->list[i].ratio > worst) worst = v->list[i].ratio;
    printf("%s: %td tensors verified, %td faults, %td explained choices, %td prove nothing; "
           "largest error/bound of the others %.3g (stored in %s, sums in %s)\n",
           fault ? "DISAGREES" : "agrees", v->count, fault ? v->faults : 0,
           v->explained + (fault ? 0 : v->faults), v->nothing, worst, c->store, c->sum);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *document(const comparison *c, mr_status status) {
    static const char *const verdicts[] = {"agrees", "fault", "explained", "proves nothing"};
    const mr_verification *v = &c->verification;
    json_t *list = json_array(), *causes = json_array();
    for (idx i = 0; i < v->count; i++) {
        const mr_finding *f = &v->list[i];
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:I,s:I,s:o,s:o,s:I,s:o,s:o,s:o,s:o,s:s}", "tensor", f->name,
                            "verdict", verdicts[f->verdict], "elements", (json_int_t)f->elements,
                            "beyond", (json_int_t)f->beyond, "ratio", mr_json_real(f->ratio),
                            "statistical_ratio", mr_json_real(f->likely), "worst",
                            (json_int_t)f->worst, "expected", mr_json_real(f->expected), "found",
                            mr_json_real(f->found), "bound", mr_json_real(f->bound), "introduced",
                            mr_json_real(f->introduced), "note", f->note));
    }
    for (idx i = 0; i < c->causes.count; i++)
        json_array_append_new(causes, json_string(c->causes.proved[i].name));
    return json_pack("{s:i,s:s?,s:o,s:I,s:s,s:s,s:o}", "status", (int)status, "first_fault",
                     v->first >= 0 ? v->list[v->first].name : NULL, "causes", causes,
                     "hypotheses_tried", (json_int_t)c->causes.tried, "stored", c->store, "sums",
                     c->sum, "tensors", list);
}

/* ---- without a model: nothing can be re-run, so errors are only measured
 * ------------------------ */

static mr_status measure(const comparison *c, mr_err *err) {
    idx common = 0;
    printf("no --model: errors are measured against the golden trace, not judged\n");
    for (idx i = 0; i < mr_trace_count(c->golden) && err->code == MR_OK; i++) {
        const mr_tensor *t = mr_trace_tensor(c->golden, i);
        const idx at = mr_trace_find(c->port, t->name), n = mr_count(t->rank, t->dim);
        if (at < 0) continue;
        const mr_tensor *p = mr_trace_tensor(c->port, at);
        if (mr_count(p->rank, p->dim) != n) {
            printf("  %-26s shapes differ\n", t->name);
            continue;
        }
        double *want = mr_alloc(n, sizeof *want, err), *got = mr_alloc(n, sizeof *got, err);
        if (want != NULL && got != NULL && mr_trace_read(c->golden, i, want, err) == MR_OK &&
            mr_trace_read(c->port, at, got, err) == MR_OK) {
            const mr_measure m = mr_compare(want, got, n, 24);
            printf("  %-26s relative %.2e, largest %.2e, %td of %td differ\n", t->name, m.relative,
                   m.max_abs, m.differ, m.count);
            common++;
        }
        mr_free(want);
        mr_free(got);
    }
    if (err->code != MR_OK) return err->code;
    return common == 0 ? mr_fail(err, MR_MISSING, "the traces have no tensor in common; see --map")
                       : mr_fail(err, MR_PROVES_NOTHING, "give --model MODEL for a verdict");
}

mr_status mr_cmd_compare(const mr_args *args, mr_err *err) {
    comparison c = {.args = args};
    mr_status status = mr_trace_open(args->model, &c.golden, err);
    if (status == MR_OK) status = mr_trace_open(args->file, &c.port, err);
    if (status == MR_OK && args->against == NULL) status = measure(&c, err);
    else if (status == MR_OK) {
        status = read_meta(&c, err);
        if (status == MR_OK) status = read_arithmetic(&c, err);
        if (status == MR_OK) status = mr_checkpoint_open(args->against, &c.model, err);
        if (status == MR_OK) status = verify(&c, err);
        if (err->code == MR_OK && args->json) mr_print_json(document(&c, status), err);
        else if (err->code == MR_OK) print_text(&c);
    }
    if (status == MR_MISSING && err->code == MR_OK)
        mr_fail(err, MR_MISSING,
                "%s: no tensor of the model is recorded; see docs/VERIFY.md for the names",
                args->file);
    mr_verification_free(&c.verification);
    mr_meta_free(&c.meta);
    mr_checkpoint_close(&c.model);
    mr_trace_close(c.port);
    mr_trace_close(c.golden);
    return err->code != MR_OK ? err->code : status;
}
