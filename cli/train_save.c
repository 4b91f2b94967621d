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

/* A folder of another run or model is never written over. */
mr_status mr_train_prepare_folder(const mr_trainer *t, mr_err *err) {
    static const char *const names[] = {MR_TRAIN_FILE, "config.json", "params.json"};
    const char *folder = t->set.output;
    if (t->set.resume != NULL && strcmp(t->set.resume, folder) == 0) return MR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (holds(folder, names[i]))
            return mr_fail(err, MR_USAGE, "%s: holds %s of another run or model; choose another "
                           "folder, or go on with --resume %s", folder, names[i], folder);
    return MR_OK;
}

static bool begins(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

static mr_status copy_file(const char *from, const char *to, const char *name, mr_err *err) {
    char *source = mr_string_path(from, name, err), *target = mr_string_path(to, name, err);
    mr_text text = {0};
    mr_atomic file = {0};
    mr_status status = source != NULL && target != NULL ? mr_value_file(source, &text, err)
                                                        : MR_BAD;
    if (status == MR_OK) status = mr_atomic_open(&file, target, err);
    if (status == MR_OK) status = mr_atomic_write(&file, text.byte, text.count, err);
    if (status == MR_OK) status = mr_atomic_commit(&file, err);
    mr_atomic_abandon(&file);
    mr_text_free(&text);
    mr_free(source);
    mr_free(target);
    return status;
}

/* Everything about text that lies beside the model, as it is; what is there already stays. */
static mr_status copy_tokenizer(const char *from, const char *to, mr_err *err) {
    static const char *const starts[] = {"tokenizer", "tekken", "special_tokens_map",
                                         "added_tokens", "chat_template", "generation_config"};
    DIR *folder = opendir(from);
    mr_status status = MR_OK;
    if (folder == NULL) return mr_fail(err, MR_BAD, "%s: cannot be opened as a folder", from);
    for (const struct dirent *e; status == MR_OK && (e = readdir(folder)) != NULL;)
        for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
            if (begins(e->d_name, starts[i]) && !holds(to, e->d_name))
                status = copy_file(from, to, e->d_name, err);
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

/* A killed process leaves the file it was writing under a temporary name. */
static void remove_leftovers(const char *from) {
    static const char *const starts[] = {MR_TRAIN_FILE ".tmp-", "model.safetensors.tmp-",
                                         "consolidated.safetensors.tmp-", "config.json.tmp-",
                                         "params.json.tmp-"};
    DIR *folder = opendir(from);
    if (folder == NULL) return;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;)
        for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
            char *path = begins(e->d_name, starts[i]) ? mr_string_path(from, e->d_name, NULL)
                                                      : NULL;
            if (path != NULL) unlink(path);
            mr_free(path);
        }
    closedir(folder);
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
