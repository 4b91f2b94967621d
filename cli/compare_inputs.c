/* Two traces and a model that do not belong together: refused, or told in a note. */
#define _POSIX_C_SOURCE 200809L
#include "cli/compare.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/json.h"

/* `trace` alone names the engine it ran. */
static bool made_here(const mr_trace *trace) {
    const char *text = mr_trace_meta(trace);
    json_t *json = NULL;
    if (*text == '\0' || mr_json_text("", text, (idx)strlen(text), &json, NULL)) return false;
    const bool made = json_object_get(json, "engine") != NULL;
    json_decref(json);
    return made;
}

static void note(const char *text) { fprintf(stderr, "mistral-ref: note: %s\n", text); }

static mr_status same_file(const char *a, const char *b, bool *same, mr_err *err) {
    struct stat x, y;
    if (stat(a, &x) != 0 || stat(b, &y) != 0)
        return mr_fail(err, MR_BAD, "%s, %s: cannot look at them: %s", a, b, strerror(errno));
    *same = x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    return MR_OK;
}

mr_status mr_compare_inputs(const mr_comparison *c, mr_err *err) {
    bool same = false;
    if (same_file(c->args->model, c->args->file, &same, err)) return MR_BAD;
    if (same && c->args->against == NULL)
        return mr_fail(err, MR_PROVES_NOTHING,
                       "%s: GOLDEN and PORT are the same file, which agrees with itself whatever "
                       "it holds; give the port's trace, or --model MODEL", c->args->file);
    if (same)
        note("GOLDEN and PORT are the same file; the verdict is that of this file against MODEL");
    else if (made_here(c->port) && !made_here(c->golden))
        note("PORT was written by mistral-ref itself, GOLDEN was not: the order is "
             "compare GOLDEN PORT");
    if (*mr_trace_meta(c->port) == '\0' && *mr_trace_meta(c->golden) != '\0')
        note("PORT has no meta: tokens, positions and conventions are taken from GOLDEN");
    return MR_OK;
}

/* One window for every layer that both have, under one rule. */
static bool same_window(const mr_config *a, const mr_config *b) {
    bool same = a->n_windows == b->n_windows && a->window_rule == b->window_rule;
    for (idx i = 0; same && i < a->n_windows; i++) same = a->windows[i] == b->windows[i];
    return same;
}

void mr_compare_conventions(const mr_comparison *c) {
    const mr_config *config = &c->model.model.config;
    mr_model golden;
    if (c->bare || mr_bare_model_open(c->args->model, mr_trace_meta(c->golden), &golden, NULL))
        return;
    const mr_config *g = &golden.config;
    const char *what = !same_window(g, config)             ? "--window or --window-rule"
                       : g->rope_theta != config->rope_theta ? "--rope-theta"
                       : g->norm_eps != config->norm_eps     ? "--norm-eps"
                                                             : NULL;
    if (what != NULL)
        fprintf(stderr, "mistral-ref: note: GOLDEN was recorded with another %s than this "
                "reference has; give compare the options that the golden trace was made with\n",
                what);
    mr_bare_model_close(&golden);
}
