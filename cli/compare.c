/* compare: is a port right, and if not, which operation is wrong, since where, and why. */
#define _POSIX_C_SOURCE 200809L
#include "cli/compare.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static const char *const precisions[] = {"f64", "f32", "bf16", "f16"};

/* The port's meta says what was run; where it has none, the golden trace's does. */
static mr_status read_meta(mr_comparison *c, mr_err *err) {
    const bool own = mr_trace_meta(c->port)[0] != '\0';
    const char *file = own ? c->args->file : c->args->model;
    return mr_meta_read(file, mr_trace_meta(own ? c->port : c->golden), &c->meta, err);
}

/* --dtype, else the meta's precision. tf32 and fp8 name the type of matrix operands: with tf32
 * tensors are stored as f32, with fp8 as the meta says. */
static mr_status read_arithmetic(mr_comparison *c, mr_err *err) {
    int dtype = -1;
    if (mr_value_word("--dtype", c->args->dtype, "f32|tf32|bf16|f16|fp8", &dtype, err))
        return MR_USAGE;
    static const char *const stores[] = {"f32", "f32", "bf16", "f16"};
    c->store = dtype >= 0 && dtype < 4 ? stores[dtype] : precisions[c->meta.precision];
    c->sum = dtype == 1 ? "tf32" : dtype == 4 ? "fp8" : "f32";
    if (!mr_arithmetic_of(c->store, c->sum, &c->arithmetic))
        return mr_fail(err, MR_USAGE, "--dtype: %s is not known", c->store);
    if (c->meta.wide_inside && c->arithmetic.inside > 0x1p-24) c->arithmetic.inside = 0x1p-24;
    return MR_OK;
}

/* Is the golden trace one of the same tokens at the same positions? Only then are distances to it
 * errors. *other: its q and k are in the other rotary order. */
static bool same_run(const mr_comparison *c, bool *other) {
    mr_meta g = {0};
    mr_err unread = {0};
    const char *text = mr_trace_meta(c->golden);
    bool same = *text != '\0' && mr_meta_read("GOLDEN", text, &g, &unread) == MR_OK &&
                g.n_seqs == c->meta.n_seqs && g.count == c->meta.count;
    for (idx b = 0; same && b < g.n_seqs; b++)
        same = g.length[b] == c->meta.length[b] && g.first[b] == c->meta.first[b];
    for (idx t = 0; same && t < g.count; t++) same = g.tokens[t] == c->meta.tokens[t];
    *other = same && g.rope_layout != c->meta.rope_layout;
    if (*text != '\0') mr_meta_free(&g);
    if (unread.code != MR_OK)
        fprintf(stderr, "mistral-ref: note: not taken as the same run: %s\n", unread.text);
    return same;
}

/* --only: what else was found is left out, and everything is counted again. */
static mr_status keep_only(mr_comparison *c, mr_err *err) {
    mr_verification *v = &c->verification;
    const idx all = v->count;
    if (c->args->only == NULL || all == 0) return MR_OK;
    v->count = v->faults = v->explained = v->nothing = 0;
    v->first = -1;
    for (idx i = 0; i < all; i++) {
        const mr_finding *f = &v->list[i];
        if (fnmatch(c->args->only, f->name, 0) != 0) continue;
        v->list[v->count] = *f;
        f = &v->list[v->count++];
        if (f->verdict == MR_FAULT && v->faults++ == 0) v->first = v->count - 1;
        v->explained += f->verdict == MR_EXPLAINED;
        v->nothing += f->verdict == MR_TELLS_NOTHING;
    }
    return v->count > 0 ? MR_OK
                        : mr_fail(err, MR_MISSING,
                                  "--only %s: none of the %td verified tensors has such a name",
                                  c->args->only, all);
}

/* Walks the model beside the port. */
static mr_status walk(mr_comparison *c, mr_err *err) {
    const mr_model *model = &c->model.model;
    if (mr_report_open(&model->config, c->same_run ? c->golden : NULL, c->other, &c->report, err))
        return err->code;
    const mr_watch watch = mr_report_watch(&c->report);
    c->status = mr_verify_watched(model, &c->meta, c->port, &c->arithmetic, NULL, &watch,
                                  &c->verification, err);
    if (err->code == MR_OK) mr_compare_backward(c, &watch, err);
    mr_report_end(&c->report);
    return err->code;
}

/* ... under the options given, in the reading that explains most, and looks for causes. */
static mr_status verify(mr_comparison *c, mr_err *err) {
    mr_config *config = &c->model.model.config;
    mr_verification *v = &c->verification;
    if (mr_override(c->args, config, err)) return err->code;
    if (c->args->rope_layout == NULL) config->rope_layout = c->meta.rope_layout;
    if (c->args->rope_angles == NULL) config->rope_angles = c->meta.rope_angles;
    mr_compare_conventions(c);
    c->same_run = same_run(c, &c->other);
    if (walk(c, err) == MR_OK && c->status == MR_DISAGREE && mr_compare_reading(c, err)) {
        mr_verification_free(v);
        mr_gradients_free(&c->gradients);
        mr_report_free(&c->report);
        if (walk(c, err) == MR_OK && v->first >= 0 && v->list[v->first].note[0] == '\0')
            snprintf(v->list[v->first].note, sizeof v->list[v->first].note, "%.150s", c->reading);
    }
    if (err->code != MR_OK) return err->code;   /* the list is not complete */
    const bool forward = v->first >= 0 && !mr_is_gradient(v->list[v->first].name);
    if (forward && c->args->only == NULL) {
        mr_find_causes(&c->model.model, &c->meta, c->port, &c->arithmetic, v, &c->causes, err);
        if (c->causes.harmless) c->status = MR_OK;
    }
    if (err->code != MR_OK || keep_only(c, err)) return err->code;
    if (c->args->only != NULL)
        c->status = v->faults > 0 ? MR_DISAGREE
                    : v->nothing == v->count ? MR_PROVES_NOTHING : MR_OK;
    return MR_OK;
}

/* All reports that were asked for; text, unless --json took its place. */
static void report(const mr_comparison *c, mr_err *err) {
    if (c->args->junit != NULL && mr_compare_junit(c, err)) return;
    if (c->args->html != NULL && mr_compare_html(c, err)) return;
    if (c->args->json) mr_print_json(mr_compare_json(c, err), err);
    else mr_compare_text(c, err);
}

/* Operations that need no weights, where a meta says what was run; else nothing is re-run. */
static void without_weights(mr_comparison *c) {
    mr_err ignored = {0};
    if (read_meta(c, &ignored) || read_arithmetic(c, &ignored) || mr_compare_bare(c, &ignored))
        return;
    if (verify(c, &ignored) == MR_OK) return;
    mr_verification_free(&c->verification);
    fprintf(stderr, "mistral-ref: note: nothing is re-run: %s\n", ignored.text);
}

static mr_status compare(mr_comparison *c, mr_err *err) {
    const mr_args *args = c->args;
    if (mr_trace_open(args->model, &c->golden, err) || mr_trace_open(args->file, &c->port, err))
        return err->code;
    if (mr_compare_inputs(c, err) || mr_compare_map(c, err)) return err->code;
    if (args->against == NULL) without_weights(c);
    if (args->against != NULL) {
        if (read_meta(c, err) || read_arithmetic(c, err) ||
            mr_checkpoint_open(args->against, &c->model, err) ||
            mr_meta_of_model(args->file, mr_trace_meta(c->port), &c->model.model.config, err) ||
            verify(c, err)) return err->code;
    }
    if (args->only == NULL && mr_measure_rest(c, err)) return err->code;
    if (args->only == NULL && c->meta.n_seqs > 0 && mr_compare_extras(c, err)) return err->code;
    if (args->against != NULL && c->verification.count > 0) return MR_OK;
    idx known = 0;
    for (idx i = 0; i < c->count; i++) known += c->measured[i].note[0] == '\0';
    if (known == 0 && c->verification.count == 0 && args->against == NULL)
        return mr_fail(err, MR_MISSING, "the traces have no tensor in common; see --map");
    if (known == 0 && args->against != NULL && c->gradients.count == 0)
        return mr_fail(err, MR_MISSING,
                       "%s: no tensor of the model is recorded; see docs/VERIFY.md for the names",
                       args->file);
    if (args->against == NULL) mr_compare_without_weights(c);
    else if (c->ring.count == 0 && c->status != MR_OK) c->status = MR_PROVES_NOTHING;
    return MR_OK;
}

mr_status mr_cmd_compare(const mr_args *args, mr_err *err) {
    mr_comparison c = {.args = args, .store = "", .sum = ""};
    if (args->paths) return mr_compare_paths(args, err);
    if (args->more[0] != NULL)
        return mr_fail(err, MR_USAGE, "compare: unexpected argument \"%s\"; GOLDEN PORT are two "
                       "traces, and --paths compares more", args->more[0]);
    if (compare(&c, err) == MR_OK) report(&c, err);
    if (err->code == MR_OK && c.status == MR_PROVES_NOTHING) {
        mr_writer advice = {.err = err};
        mr_advise(&c, &advice);
        mr_fail(err, MR_PROVES_NOTHING, "%s", advice.data != NULL ? advice.data : "");
        mr_writer_free(&advice);
    }
    mr_compare_extras_free(&c);
    mr_gradients_free(&c.gradients);
    mr_free(c.measured);
    mr_report_free(&c.report);
    mr_verification_free(&c.verification);
    mr_meta_free(&c.meta);
    mr_checkpoint_close(&c.model);
    mr_trace_close(c.raw != NULL ? c.raw : c.port);
    mr_trace_close(c.golden);
    return err->code != MR_OK ? err->code : c.status;
}
