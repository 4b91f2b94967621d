/* What a training run leaves on disk: the model, the tokenizer beside it, the state to go on from,
 * the curve. */
#define _POSIX_C_SOURCE 200809L

#include "cli/train.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/curve.h"
#include "weights/atomic.h"
#include "weights/folder.h"
#include "weights/text.h"
#include "weights/training.h"

/* ---- folders --------------------------------------------------------------------------------- */

static bool holds(const char *folder, const char *name) {
    char *path = mr_string_path(folder, name, NULL);
    const bool there = path != NULL && mr_path_exists(path);
    mr_free(path);
    return there;
}

static bool begins(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

/* What may lie beside a model, and what is written here. */
static const char *const beside[] = {"tokenizer", "tekken", "special_tokens_map", "added_tokens",
                                     "chat_template", "generation_config"};
static const char *const ours[] = {MR_TRAIN_FILE, "model.safetensors", "consolidated.safetensors",
                                   "config.json", "params.json"};

static bool among(const char *name, const char *const *starts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (begins(name, starts[i])) return true;
    return false;
}

static bool is_beside(const char *name) {
    return among(name, beside, sizeof beside / sizeof *beside);
}

/* The name of weights/atomic.h under which a killed process left what it was writing. */
static bool is_leftover(const char *name) {
    return strstr(name, ".tmp-") != NULL &&
           (is_beside(name) || among(name, ours, sizeof ours / sizeof *ours));
}

static void remove_leftovers(const char *from) {
    DIR *folder = opendir(from);
    if (folder == NULL) return;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;) {
        char *path = is_leftover(e->d_name) ? mr_string_path(from, e->d_name, NULL) : NULL;
        if (path != NULL) unlink(path);
        mr_free(path);
    }
    closedir(folder);
}

/* A folder of another run or model is never written over. */
mr_status mr_train_prepare_folder(const mr_trainer *t, mr_err *err) {
    static const char *const names[] = {MR_TRAIN_FILE, "config.json", "params.json"};
    const char *folder = t->set.output;
    if (t->set.resume != NULL && strcmp(t->set.resume, folder) == 0) return MR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (holds(folder, names[i]))
            return mr_fail(err, MR_USAGE, "%s: holds %s of another run or model; choose another "
                           "folder, or go on with --resume %s", folder, names[i], folder);
    remove_leftovers(folder);
    return MR_OK;
}

static mr_status copy(const char *source, const char *target, mr_err *err) {
    mr_text text = {0};
    mr_atomic file = {0};
    mr_status status = mr_value_file(source, &text, err);
    if (status == MR_OK) status = mr_atomic_open(&file, target, err);
    if (status == MR_OK) status = mr_atomic_write(&file, text.byte, text.count, err);
    if (status == MR_OK) status = mr_atomic_commit(&file, err);
    mr_atomic_abandon(&file);
    mr_text_free(&text);
    return status;
}

/* What is there already stays. */
static mr_status copy_file(const char *from, const char *to, const char *name, mr_err *err) {
    struct stat about;
    char *source = mr_string_path(from, name, err), *target = mr_string_path(to, name, err);
    mr_status status = source != NULL && target != NULL ? MR_OK : MR_BAD;
    if (status == MR_OK && stat(target, &about) != 0) status = copy(source, target, err);
    mr_free(source);
    mr_free(target);
    return status;
}

/* Everything about text that lies beside the model, as it is. */
static mr_status copy_tokenizer(const char *from, const char *to, mr_err *err) {
    DIR *folder = opendir(from);
    const struct dirent *e;
    mr_status status = MR_OK;
    if (folder == NULL)
        return mr_fail(err, MR_BAD, "%s: cannot be opened as a folder: %s", from, strerror(errno));
    while (status == MR_OK && (errno = 0, e = readdir(folder)) != NULL)
        if (is_beside(e->d_name) && !is_leftover(e->d_name))
            status = copy_file(from, to, e->d_name, err);
    if (status == MR_OK && errno != 0)
        status = mr_fail(err, MR_BAD, "%s: cannot list: %s", from, strerror(errno));
    closedir(folder);
    return status;
}

mr_status mr_train_save_model(mr_trainer *t, mr_err *err) {
    if (mr_checkpoint_save(&t->policy, t->set.output, t->set.layout, false, t->set.dtype, err))
        return MR_BAD;
    return copy_tokenizer(t->set.model, t->set.output, err);
}

/* ---- the curve ------------------------------------------------------------------------------- */

/* A panel for the loss, one for every metric, one for norm and rate each. */
static mr_status draw(const mr_trainer *t, mr_err *err) {
    mr_curve curve = {.title = t->objective->name, .rows = (idx)t->at.step,
                      .columns = MR_LOG_COLUMNS, .log = t->log};
    if (t->set.curve == NULL || t->at.step == 0) return MR_OK;
    idx metrics = 0;
    while (t->objective->metric[metrics] != NULL) metrics++;
    mr_curve_panel(&curve, "loss", MR_LOG_LOSS, MR_LOG_VALID);
    for (idx m = 0; m < metrics; m++)
        mr_curve_panel(&curve, t->objective->metric[m], MR_LOG_METRICS + m,
                       MR_LOG_METRICS + metrics + m);
    mr_curve_panel(&curve, "gradient norm", MR_LOG_NORM, -1);
    mr_curve_panel(&curve, "learning rate", MR_LOG_RATE, -1);
    return mr_curve_save(&curve, t->set.curve, err);
}

/* ---- the state to go on from ----------------------------------------------------------------- */

/* The settings, and what they were applied to. */
static json_t *identity(const mr_trainer *t) {
    char hash[32];
    json_t *all = mr_train_settings_json(&t->set);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)t->data_hash);
    json_object_set_new(all, "data", json_string(hash));
    json_object_set_new(all, "rotary_rows", json_string(t->policy.qk_rows == MR_INTERLEAVED
                                                            ? "interleaved" : "half"));
    return all;
}

static mr_training state_of(mr_trainer *t) {
    const mr_train_place *p = &t->at;
    return (mr_training){.part = {&t->policy, &t->first, &t->second},
                         .counter = {p->step, p->updates, p->examples, p->tokens, p->waited},
                         .best = p->best, .log = t->log, .rows = (idx)p->step,
                         .columns = MR_LOG_COLUMNS, .settings = identity(t)};
}

/* The state first: a run that is killed between the two goes on from it and saves the model again.
 * With --patience the model on disk is the best one so far, and the state the latest. */
mr_status mr_train_save(mr_trainer *t, mr_err *err) {
    const bool best_only = t->set.patience > 0 && isfinite(t->at.best);
    if (mkdir(t->set.output, 0777) != 0 && errno != EEXIST)
        return mr_fail(err, MR_BAD, "%s: cannot create the folder: %s", t->set.output,
                       strerror(errno));
    mr_training state = state_of(t);
    char *path = mr_string_path(t->set.output, MR_TRAIN_FILE, err);
    mr_status status = path != NULL ? mr_training_save(path, &state, err) : MR_BAD;
    if (status == MR_OK && !best_only) status = mr_train_save_model(t, err);
    if (status == MR_OK) status = draw(t, err);
    mr_free(path);
    json_decref(state.settings);
    return status;
}

mr_status mr_train_resume(mr_trainer *t, mr_err *err) {
    mr_training state = state_of(t);
    char *path = mr_string_path(t->set.resume, MR_TRAIN_FILE, err);
    mr_status status = path != NULL ? mr_training_load(path, &state, err) : MR_BAD;
    if (status == MR_OK) {
        t->at = (mr_train_place){state.counter[0], state.counter[1], state.counter[2],
                                 state.counter[3], state.counter[4], state.best};
        t->log = state.log;
        t->log_room = state.rows;
        if (strcmp(t->set.resume, t->set.output) == 0) remove_leftovers(t->set.output);
    }
    mr_free(path);
    json_decref(state.settings);
    return status;
}
