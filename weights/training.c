/* Saving and loading the state of a training run: names are "weights.", "first." and "second."
 * before the native names, then "counters", "best", "log" and "settings". */
#include "weights/training.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json.h"
#include "weights/names.h"
#include "weights/safetensors.h"

static const char *const parts[] = {"weights.", "first.", "second."};
#define PARTS 3
#define REST 4
#define LONG_NAME (MR_NAME_SIZE + 16)

static const char *const rest_names[REST] = {"counters", "best", "log", "settings"};

static const mr_matrix *matrix_of(const mr_model *model, mr_param p) {
    return mr_param_matrix((mr_model *)model, p);   /* the table is not const; nothing is written */
}

/* Number i of the tensors of the three models. */
static mr_tensor part_tensor(const mr_training *s, const mr_names *names, idx i, char *name) {
    const mr_param p = mr_names_at(names, i % names->count);
    const mr_matrix *m = matrix_of(s->part[i / names->count], p);
    const size_t length = strlen(parts[i / names->count]);
    memcpy(name, parts[i / names->count], length);
    mr_param_name(p, MR_LAYOUT_NATIVE, name + length);
    mr_tensor t = {name, m->dtype, p.kind->rank, {p.kind->rank == 1 ? m->cols : m->rows}, m->data};
    if (p.kind->rank == 2) t.dim[1] = m->cols;
    return t;
}

static void rest_tensors(mr_tensor *out, const mr_training *s, const char *settings) {
    out[0] = (mr_tensor){rest_names[0], MR_I64, 1, {MR_TRAINING_COUNTERS}, s->counter};
    out[1] = (mr_tensor){rest_names[1], MR_F64, 1, {1}, &s->best};
    out[2] = (mr_tensor){rest_names[2], MR_F64, 2, {s->rows, s->columns}, s->log};
    out[3] = (mr_tensor){rest_names[3], MR_U8, 1, {(idx)strlen(settings)}, settings};
}

mr_status mr_training_save(const char *path, const mr_training *s, mr_err *err) {
    static const char *const metadata[] = {"format", "mistral-ref training 1", NULL};
    mr_names names;
    mr_names_init(&names, &s->part[0]->config);
    const idx n = PARTS * names.count;
    char *settings = json_dumps(s->settings, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *text = mr_alloc(n, LONG_NAME, err);
    mr_tensor *tensor = mr_alloc(n + REST, sizeof *tensor, err);
    mr_status status = text != NULL && tensor != NULL ? MR_OK : MR_BAD;
    if (settings == NULL) status = mr_fail(err, MR_BAD, "out of memory while forming JSON");
    for (idx i = 0; i < n && status == MR_OK; i++)
        tensor[i] = part_tensor(s, &names, i, text + i * LONG_NAME);
    if (status == MR_OK) {
        rest_tensors(tensor + n, s, settings);
        status = mr_safetensors_save(path, tensor, n + REST, metadata, err);
    }
    mr_free(tensor);
    mr_free(text);
    free(settings);   /* jansson's allocator, not ours */
    return status;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* The tensor of that name, of the expected type and shape. */
static const mr_tensor *find(const mr_tensors *set, const mr_tensor *like, mr_err *err) {
    const mr_tensor *t = mr_tensors_find(set, like->name);
    bool same = t != NULL && t->dtype == like->dtype && t->rank == like->rank;
    for (int i = 0; same && i < t->rank; i++) same = t->dim[i] == like->dim[i];
    if (same) return t;
    mr_fail(err, MR_BAD, "%s: tensor '%s' is %s; is this the checkpoint of this model and "
            "precision?", set->source, like->name,
            t == NULL ? "missing" : "of another shape or type");
    return NULL;
}

static mr_status load_models(const mr_tensors *set, const mr_training *s, mr_err *err) {
    mr_names names;
    mr_names_init(&names, &s->part[0]->config);
    for (idx i = 0; i < PARTS * names.count; i++) {
        char name[LONG_NAME];
        const mr_tensor like = part_tensor(s, &names, i, name), *t = find(set, &like, err);
        if (t == NULL) return MR_BAD;
        memcpy((void *)like.data, t->data, (size_t)mr_tensor_bytes(t));
    }
    return MR_OK;
}

/* Every setting is in both, and equal. */
static mr_status check_settings(const mr_tensors *set, const json_t *mine, mr_err *err) {
    const mr_tensor *t = mr_tensors_find(set, "settings");
    json_t *theirs = NULL;
    const char *key;
    json_t *value;
    if (t == NULL || t->dtype != MR_U8)
        return mr_fail(err, MR_BAD, "%s: tensor 'settings' is missing; is this a training state?",
                       set->source);
    if (mr_json_text(set->source, t->data, mr_count(t->rank, t->dim), &theirs, err)) return MR_BAD;
    json_object_foreach((json_t *)mine, key, value) {
        const json_t *other = json_object_get(theirs, key);
        if (json_equal(value, other)) continue;
        char *now = json_dumps(value, JSON_ENCODE_ANY);
        char *then = other != NULL ? json_dumps(other, JSON_ENCODE_ANY) : NULL;
        mr_fail(err, MR_USAGE, "%s: this run has %s %s, the checkpoint was made with %s; resume "
                "with the same", set->source, key, now != NULL ? now : "?",
                then != NULL ? then : "none");
        free(now);    /* jansson's allocator, not ours */
        free(then);   /* jansson's allocator, not ours */
        json_decref(theirs);
        return MR_USAGE;
    }
    json_decref(theirs);
    return MR_OK;
}

static mr_status load_rest(const mr_tensors *set, mr_training *s, mr_err *err) {
    mr_tensor like[REST];
    rest_tensors(like, s, "");
    const mr_tensor *counters = find(set, &like[0], err), *best = find(set, &like[1], err);
    if (counters == NULL || best == NULL) return MR_BAD;
    memcpy(s->counter, counters->data, sizeof s->counter);
    memcpy(&s->best, best->data, sizeof s->best);
    for (int i = 0; i < MR_TRAINING_COUNTERS; i++)
        if (s->counter[i] < 0 || s->counter[i] > (i == 0 ? MR_IDX_MAX : INT64_MAX) / 4)
            return mr_fail(err, MR_BAD, "%s: counter %d is %lld; expected 0 or more", set->source,
                           i, (long long)s->counter[i]);
    s->rows = like[2].dim[0] = (idx)s->counter[0];
    const mr_tensor *log = find(set, &like[2], err);
    if (log == NULL) return MR_BAD;
    s->log = mr_alloc(mr_tensor_bytes(log), 1, err);
    if (s->log == NULL) return MR_BAD;
    memcpy(s->log, log->data, (size_t)mr_tensor_bytes(log));
    return MR_OK;
}

mr_status mr_training_load(const char *path, mr_training *s, mr_err *err) {
    mr_tensors set = {0};
    mr_status status = mr_safetensors_open(path, &set, err);
    if (status == MR_OK) status = check_settings(&set, s->settings, err);
    if (status == MR_OK) status = load_models(&set, s, err);
    if (status == MR_OK) status = load_rest(&set, s, err);   /* last: its log is the caller's */
    mr_tensors_close(&set);
    return status;
}
