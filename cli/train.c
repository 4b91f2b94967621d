/* train: supervised fine-tuning, reward models, DPO, reinforcement learning. What is opened here is
 * described in cli/train.h; the steps are in cli/train_loop.c. */
#include "cli/train.h"

#include <stdio.h>
#include <string.h>

#include "weights/folder.h"
#include "weights/text.h"

static const mr_objective *objective_of(mr_train_task task) {
    static const mr_objective *const all[] = {&mr_objective_sft, &mr_objective_reward,
                                              &mr_objective_dpo, &mr_objective_rl};
    return all[task];
}

/* MODEL's own layout, unless --to names one. */
static mr_status choose_layout(mr_trainer *t, const mr_args *args, mr_err *err) {
    bool both;
    char *config = mr_folder_config(t->set.model, &both, err);
    if (config == NULL) return MR_BAD;
    const size_t length = strlen(config), tail = sizeof "params.json" - 1;
    if (args->to == NULL && length > tail && strcmp(config + length - tail, "params.json") == 0)
        t->set.layout = MR_LAYOUT_NATIVE;
    mr_free(config);
    return MR_OK;
}

static mr_status open_source(mr_trainer *t, const mr_args *args, mr_err *err) {
    if (mr_checkpoint_open(t->set.model, &t->source, err) || choose_layout(t, args, err) ||
        mr_override(args, &t->source.model.config, err)) return err->code;
    if (t->source.warning[0] != '\0')
        fprintf(stderr, "mistral-ref: note: %s\n", t->source.warning);
    if (mr_tokenizer_open(t->set.model, &t->tokenizer, &t->no_tokenizer) != MR_OK)
        t->tokenizer = NULL;
    return MR_OK;
}

/* Prompts of rl leave room for their answers. */
static mr_status read_data(mr_trainer *t, mr_err *err) {
    const mr_train_settings *s = &t->set;
    const bool rl = s->task == MR_TRAIN_RL;
    const mr_encoder e = {.tokenizer = t->tokenizer, .version = s->version,
                          .vocab = t->source.model.config.vocab_size,
                          .max_length = (idx)s->max_length - (rl ? (idx)s->max_new : 0)};
    if (e.max_length < 1)
        return mr_fail(err, MR_USAGE, "--max-length %lld leaves no room for a prompt beside "
                       "--max-new %lld", (long long)s->max_length, (long long)s->max_new);
    if (mr_train_data_read(&t->data, s->data, s->task, &e, err)) return err->code;
    if (s->valid != NULL && mr_train_data_read(&t->valid, s->valid, s->task, &e, err))
        return err->code;
    t->data_hash = mr_train_data_hash(&t->data);
    return mr_train_order_open(&t->order, t->data.count, s, err);
}

static void choose_steps(mr_trainer *t) {
    mr_train_settings *s = &t->set;
    const int64_t per_step = s->batch * s->accumulate;
    if (s->steps == 0) s->steps = (s->epochs * (int64_t)t->data.count + per_step - 1) / per_step;
    s->schedule.steps = s->steps;
}

/* Everything that a run needs, in the order in which a mistake is cheapest to tell. */
static mr_status train(mr_trainer *t, const mr_args *args, mr_err *err) {
    if (mr_train_settings_read(args, &t->set, err)) return err->code;
    t->objective = objective_of(t->set.task);
    t->at.best = (double)INFINITY;
    if (!t->set.dry_run && mr_train_prepare_folder(t, err)) return err->code;
    if (open_source(t, args, err) || read_data(t, err)) return err->code;
    choose_steps(t);
    t->resident = mr_train_resident();
    if (mr_train_models_open(t, err)) return err->code;
    if (t->set.dry_run) return mr_train_dry_run(t, err);
    if (t->set.resume != NULL && mr_train_resume(t, err)) return err->code;
    if (mr_train_run_open(t, err)) return err->code;
    if (t->objective->open != NULL && t->objective->open(t, err)) return err->code;
    return mr_train_loop(t, err);
}

mr_status mr_cmd_train(const mr_args *args, mr_err *err) {
    mr_trainer *t = mr_alloc(1, sizeof *t, err);
    if (t == NULL) return MR_BAD;
    const mr_status status = train(t, args, err);
    if (t->objective != NULL && t->objective->close != NULL) t->objective->close(t);
    mr_train_models_close(t);
    mr_tokenizer_close(t->tokenizer);
    mr_train_data_free(&t->data);
    mr_train_data_free(&t->valid);
    mr_free(t->order.place);
    mr_free(t->log);
    mr_free(t);
    return status;
}
