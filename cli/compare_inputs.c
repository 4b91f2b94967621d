/* Two traces and a model that do not belong together: refused, or told in a note. */
#define _POSIX_C_SOURCE 200809L
#include "cli/compare.h"

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

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

mr_status mr_compare_inputs(const mr_comparison *c, mr_err *err) {
    const bool same = same_file(c->args->model, c->args->file);
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
