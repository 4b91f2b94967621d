/* selftest: every committed golden case against this build, in both engines; one verdict. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/replay.h"

typedef struct {
    char **path;
    idx    count, room;
} list;

typedef struct {
    idx    cases, good, tensors, agree, elements16, equal16;
    /* by mr_trace_precision: relative error, for 16 bits units in the last place */
    double worst[4];
    char   worst_name[4][160];
    double smallest_gap;
    json_t *json;                /* NULL: print text */
    bool   verbose;
} tally;

static mr_status push(list *l, const char *folder, const char *name, mr_err *err) {
    if (l->count == l->room) {
        char **grown = mr_resize(l->path, 2 * l->room + 16, sizeof *grown, err);
        if (grown == NULL) return MR_BAD;
        l->path = grown;
        l->room = 2 * l->room + 16;
    }
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = mr_alloc((idx)size, 1, err);
    if (path == NULL) return MR_BAD;
    snprintf(path, size, "%s/%s", folder, name);
    l->path[l->count++] = path;
    return MR_OK;
}

/* Traces in `folder` and in the folders directly below it. */
static mr_status find(list *l, const char *folder, int depth, mr_err *err) {
    DIR *dir = opendir(folder);
    if (dir == NULL && (errno == ENOTDIR || errno == ENOENT)) return MR_OK;
    if (dir == NULL) return mr_fail(err, MR_BAD, "%s: cannot open: %s", folder, strerror(errno));
    const struct dirent *entry;
    mr_status status = MR_OK;
    while (status == MR_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        const size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.') continue;
        if (length > 4 && strcmp(entry->d_name + length - 4, ".npz") == 0)
            status = push(l, folder, entry->d_name, err);
        else if (depth > 0) {
            char below[4096];
            if (snprintf(below, sizeof below, "%s/%s", folder, entry->d_name) < (int)sizeof below)
                status = find(l, below, depth - 1, err);
        }
    }
    if (status == MR_OK && errno != 0)
        status = mr_fail(err, MR_BAD, "%s: cannot list: %s", folder, strerror(errno));
    closedir(dir);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_tensor(void *user, const char *name, const mr_measure *m, bool agrees) {
    (void)user;
    printf("    %-32s %-9s relative %.2e, largest %.2e, %td of %td differ\n", name,
           agrees ? "agrees" : "DISAGREES", m->relative, m->max_abs, m->differ, m->count);
}

static void add(tally *t, const char *path, const char *engine, const mr_replay *r,
                const mr_err *err) {
    t->cases++;
    t->good += err->code == MR_OK;
    t->tensors += r->tensors;
    t->agree += r->agree;
    if (r->smallest_gap >= 0 && (t->smallest_gap < 0 || r->smallest_gap < t->smallest_gap))
        t->smallest_gap = r->smallest_gap;
    if (!(r->worst <= t->worst[r->precision])) {
        t->worst[r->precision] = r->worst;
        snprintf(t->worst_name[r->precision], sizeof t->worst_name[0], "%.100s %.50s", path,
                 r->worst_name);
    }
    t->elements16 += r->elements16;
    t->equal16 += r->equal16;
    if (t->json != NULL)
        json_array_append_new(
            t->json,
            json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:o,s:s,s:s}", "case", path, "engine", engine,
                      "good", err->code == MR_OK, "tensors", (json_int_t)r->tensors, "agree",
                      (json_int_t)r->agree, "elements_16bit", (json_int_t)r->elements16,
                      "identical_16bit", (json_int_t)r->equal16, "worst", mr_json_real(r->worst),
                      "worst_tensor", r->worst_name, "message", err->text));
    else
        printf("%-5s %3td of %3td tensors  worst %.1e  %s%s%s\n", engine, r->agree, r->tensors,
               r->worst, path, err->code == MR_OK ? "" : "  ", err->text);
}

static void print_verdict(const tally *t) {
    static const char *const precisions[] = {"f64", "f32", "bf16", "f16"};
    printf("\n");
    for (int p = 0; p < 4; p++)
        if (t->worst_name[p][0] != '\0')
            printf("%-4s worst %s %.2g at %s\n", precisions[p], p >= 2 ? "ulp" : "relative error",
                   t->worst[p], t->worst_name[p]);
    if (t->elements16 > 0)
        printf("16 bits: %td of %td elements bit-identical (%.4f %%)\n", t->equal16, t->elements16,
               100 * (double)t->equal16 / (double)t->elements16);
    if (t->smallest_gap >= 0)
        printf("router: chosen experts identical wherever they agree; smallest recorded gap %.3g\n",
               t->smallest_gap);
    printf("selftest: %td of %td runs good, %td of %td tensors agree with PyTorch\n", t->good,
           t->cases, t->agree, t->tensors);
}

static mr_status run_all(const list *l, tally *t, mr_err *err) {
    mr_status status = MR_OK;
    for (idx i = 0; i < l->count; i++)
        for (int engine = 0; engine < 2; engine++) {
            if (!mr_engine_built((mr_engine)engine)) continue;
            mr_err one = {0};
            mr_replay r;
            const mr_status s = mr_replay_trace(l->path[i], (mr_engine)engine,
                                                t->verbose && t->json == NULL ? print_tensor : NULL,
                                                NULL, &r, &one);
            add(t, l->path[i], engine ? "blas" : "plain", &r, &one);
            if (s != MR_OK && status == MR_OK) status = mr_fail(err, s, "%s", one.text);
        }
    return status;
}

mr_status mr_cmd_selftest(const mr_args *args, mr_err *err) {
    const char *folder = args->model != NULL ? args->model : "golden/cases";
    list l = {0};
    tally t = {
        .smallest_gap = -1, .json = args->json ? json_array() : NULL, .verbose = args->verbose};
    find(&l, folder, 1, err);
    if (err->code == MR_OK && l.count == 0)
        mr_fail(err, MR_PROVES_NOTHING, "%s: no golden cases (*.npz) there; name their folder",
                folder);
    else if (err->code == MR_OK) {
        qsort(l.path, (size_t)l.count, sizeof *l.path, by_name);
        run_all(&l, &t, err);
        if (t.json == NULL) print_verdict(&t);
        else
            mr_print_json(json_pack("{s:O,s:I,s:I,s:I,s:I}", "results", t.json, "runs",
                                    (json_int_t)t.cases, "good", (json_int_t)t.good, "tensors",
                                    (json_int_t)t.tensors, "agree", (json_int_t)t.agree),
                          err);
    }
    json_decref(t.json);
    for (idx i = 0; i < l.count; i++) mr_free(l.path[i]);
    mr_free(l.path);
    return err->code;
}
