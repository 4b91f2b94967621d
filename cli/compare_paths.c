/* compare --paths: traces of one port against each other, the first against every other. */
#include "cli/compare_paths.h"

#include <stdio.h>
#include <string.h>

static const char *file_of(const mr_args *args, idx i) {
    return i == 0 ? args->model : i == 1 ? args->file : args->more[i - 2];
}

static mr_status open_model(mr_paths_comparison *c, mr_err *err) {
    mr_status status = MR_MISSING;
    if (c->args->against != NULL) return mr_checkpoint_open(c->args->against, &c->model, err);
    for (idx i = 0; i < c->count && status != MR_OK; i++)
        status = mr_bare_model_open(file_of(c->args, i), mr_trace_meta(c->trace[i]),
                                    &c->model.model, NULL);
    c->bare = true;
    return status == MR_OK ? MR_OK
                           : mr_fail(err, MR_MISSING, "%s: its meta has no configuration; give "
                                     "--model MODEL", file_of(c->args, 0));
}

/* Storage of all paths: --dtype, else what the first trace's meta says. */
static mr_status read_arithmetic(mr_paths_comparison *c, mr_err *err) {
    static const char *const stores[] = {"f32", "f32", "bf16", "f16"},
                             *const sums[] = {"f32", "tf32", "f32", "f32", "fp8"},
                             *const precisions[] = {"f64", "f32", "bf16", "f16"};
    int dtype = -1;
    mr_meta meta;
    if (mr_value_word("--dtype", c->args->dtype, "f32|tf32|bf16|f16|fp8", &dtype, err))
        return MR_USAGE;
    if (mr_meta_read(file_of(c->args, 0), mr_trace_meta(c->trace[0]), &meta, err)) return MR_BAD;
    const char *store = dtype >= 0 && dtype < 4 ? stores[dtype] : precisions[meta.precision];
    mr_arithmetic_of(store, dtype >= 0 ? sums[dtype] : "f32", &c->arithmetic);
    if (meta.wide_inside && c->arithmetic.inside > 0x1p-24) c->arithmetic.inside = 0x1p-24;
    mr_meta_free(&meta);
    return MR_OK;
}

static mr_status compare(mr_paths_comparison *c, mr_err *err) {
    while (c->count < MR_MOST_PATHS && file_of(c->args, c->count) != NULL) {
        if (mr_trace_open(file_of(c->args, c->count), &c->trace[c->count], err)) return err->code;
        c->count++;
    }
    if (open_model(c, err) || mr_override(c->args, &c->model.model.config, err) ||
        read_arithmetic(c, err)) return err->code;
    bool fault = false, equal = true;
    for (idx i = 0; i < c->count; i++) {
        if (mr_path_open(&c->model.model, &c->arithmetic, file_of(c->args, i), c->trace[i],
                         &c->path[i], err)) return err->code;
        fault = fault || c->path[i].status == MR_DISAGREE;
    }
    for (idx i = 1; i < c->count; i++) {
        if (mr_paths_compare(&c->path[0], &c->path[i], &c->pair[i], err)) return err->code;
        fault = fault || c->pair[i].parted >= 0;
        equal = equal && c->pair[i].equal == c->pair[i].count;
    }
    c->status = fault                ? MR_DISAGREE
                : c->bare && !equal ? MR_PROVES_NOTHING
                                    : MR_OK;
    return MR_OK;
}

/* ---- reports --------------------------------------------------------------------------------- */

/* The largest relative distance that is not called a parting. */
static double largest(const mr_path_pair *p) {
    double most = 0;
    for (idx i = 0; i < p->count; i++)
        if (!(p->step[i].relative <= most)) most = p->step[i].relative;
    return most;
}

static const mr_path_step *first_unequal(const mr_path_pair *p) {
    for (idx i = 0; i < p->count; i++)
        if (p->step[i].equal < p->step[i].rows) return &p->step[i];
    return NULL;
}

void mr_say_pair(const mr_paths_comparison *c, idx i, char *text, size_t size) {
    const mr_path_pair *p = &c->pair[i];
    const mr_path *a = &c->path[0], *b = &c->path[i];
    const mr_path_step *s = p->parted >= 0 ? &p->step[p->parted] : first_unequal(p);
    if (p->parted >= 0)
        snprintf(text, size, "%s and %s part at %s, token %td of sequence %td (position "
                 "%lld): the difference of their own errors is %.3g times both bounds; %td of %td "
                 "rows beyond; wrong by its own bound: %s", a->name, b->name, s->name, s->row,
                 s->sequence, (long long)s->position, s->ratio, s->beyond, s->rows,
                 s->guilty[0] && s->guilty[1] ? "both"
                 : s->guilty[0]               ? a->name
                 : s->guilty[1]               ? b->name
                                              : "neither alone");
    else if (s == NULL)
        snprintf(text, size, "%s and %s are equal bit for bit: %td tokens, %td tensors",
                 a->name, b->name, p->rows, p->count);
    else
        snprintf(text, size, "%s and %s: %td tokens, %td tensors, %td equal bit for bit, "
                 "the first that is not: %s at position %lld; largest difference %.2g of a row's "
                 "norm; %td tensors with bounds, none beyond", a->name, b->name, p->rows, p->count,
                 p->equal, s->name, (long long)s->position, largest(p), p->judged);
}

bool mr_say_own_fault(const mr_paths_comparison *c, idx i, char *text, size_t size) {
    const mr_verification *v = &c->path[i].found;
    if (v->first < 0) return false;
    const mr_finding *f = &v->list[v->first];
    snprintf(text, size, "%s alone: %s is wrong, error/bound %.3g, %td of %td beyond",
             c->path[i].name, f->name, f->ratio, f->beyond, f->elements);
    return true;
}

static void say(const mr_paths_comparison *c) {
    char text[1200];
    for (idx i = 1; i < c->count; i++) {
        mr_say_pair(c, i, text, sizeof text);
        mr_report_line(c->pair[i].parted >= 0 ? "PART" : "together", text);
    }
    for (idx i = 0; i < c->count; i++)
        if (mr_say_own_fault(c, i, text, sizeof text)) mr_report_line("fault", text);
}

static json_t *steps(const mr_path_pair *p) {
    json_t *list = json_array();
    for (idx i = 0; i < p->count; i++) {
        const mr_path_step *s = &p->step[i];
        json_array_append_new(
            list, json_pack("{s:s,s:I,s:I,s:I,s:o,s:o,s:I,s:I,s:I}", "tensor", s->name, "rows",
                            (json_int_t)s->rows, "equal", (json_int_t)s->equal, "beyond",
                            (json_int_t)s->beyond, "relative", mr_json_real(s->relative), "ratio",
                            s->ratio >= 0 ? mr_json_real(s->ratio) : json_null(), "row",
                            (json_int_t)s->row, "sequence", (json_int_t)s->sequence, "position",
                            (json_int_t)s->position));
    }
    return list;
}

static json_t *document(const mr_paths_comparison *c) {
    json_t *list = json_array();
    for (idx i = 1; i < c->count; i++) {
        const mr_path_pair *p = &c->pair[i];
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:I,s:s?,s:o}", "a", c->path[0].name, "b", c->path[i].name,
                            "tokens", (json_int_t)p->rows, "parted",
                            p->parted >= 0 ? p->step[p->parted].name : NULL, "tensors", steps(p)));
    }
    return json_pack("{s:s,s:i,s:b,s:o}", "format", "mistral-ref paths 1", "status", (int)c->status,
                     "weights", !c->bare, "pairs", list);
}

/* What is for GOLDEN and PORT only. */
static mr_status check_options(const mr_args *args, mr_err *err) {
    const char *odd = args->only != NULL   ? "--only"
                      : args->map != NULL  ? "--map"
                      : args->verbose      ? "--verbose"
                                           : NULL;
    return odd == NULL ? MR_OK
                       : mr_fail(err, MR_USAGE, "compare: %s does not go with --paths; what it has "
                                 "to say of every tensor is in --json, --html FILE and --junit "
                                 "FILE", odd);
}

mr_status mr_compare_paths(const mr_args *args, mr_err *err) {
    mr_paths_comparison c = {.args = args};
    if (check_options(args, err)) return MR_USAGE;
    if (compare(&c, err) == MR_OK && (args->junit == NULL || mr_paths_junit(&c, err) == MR_OK) &&
        (args->html == NULL || mr_paths_html(&c, err) == MR_OK)) {
        if (args->json) mr_print_json(document(&c), err);
        else say(&c);
        if (err->code == MR_OK && c.status == MR_PROVES_NOTHING)
            mr_fail(err, MR_PROVES_NOTHING, "give --model MODEL for a verdict: without weights the "
                    "differences cannot be told from rounding");
    }
    for (idx i = 0; i < c.count; i++) {
        mr_path_pair_free(&c.pair[i]);
        mr_path_close(&c.path[i]);
        mr_trace_close(c.trace[i]);
    }
    if (c.bare) mr_bare_model_close(&c.model.model);
    mr_checkpoint_close(&c.model);
    return err->code != MR_OK ? err->code : c.status;
}
