/* The trained model and its three companions of the same shape: gradients and AdamW's moments.
 * Each is one flat array; f32 unless --precision f64. */
#include "cli/train.h"

#include <string.h>

static mr_dtype type_of(const mr_trainer *t) {
    return t->set.run.precision == MR_F64_RUN ? MR_F64 : MR_F32;
}

static mr_status open_one(mr_trainer *t, int n, mr_model *out, const mr_model *like, mr_err *err) {
    t->memory[n] = mr_alloc(t->parameters, mr_dtype_size(type_of(t)), err);
    if (t->memory[n] == NULL) return MR_BAD;
    return mr_params_like(out, like, type_of(t), t->memory[n], err);
}

/* A language model becomes a reward model: its head is dropped, and the new one starts at zero, so
 * that every reward is 0 and the first loss is log 2. */
static mr_status open_policy(mr_trainer *t, mr_err *err) {
    mr_model from = t->source.model;
    const bool new_head = t->set.task == MR_TRAIN_REWARD && from.config.n_labels == 0;
    double *zero = NULL;
    if (new_head) {
        zero = mr_alloc(from.config.dim, sizeof *zero, err);
        if (zero == NULL) return MR_BAD;
        from.config.n_labels = 1;
        from.config.tied_embeddings = false;
        from.output = (mr_matrix){zero, MR_F64, 1, from.config.dim, from.config.dim, 1};
    }
    t->parameters = mr_params_count(&from);
    if (open_one(t, 0, &t->policy, &from, err) == MR_OK) mr_params_copy(&t->policy, &from);
    mr_free(zero);
    return err->code;
}

static mr_status check_head(const mr_trainer *t, mr_err *err) {
    const idx labels = t->source.model.config.n_labels;
    if (t->set.task == MR_TRAIN_REWARD ? labels <= 1 : labels == 0) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: expected a language model%s, found a classifier of %td labels",
                   t->set.model,
                   t->set.task == MR_TRAIN_REWARD ? " or one with a single label" : "", labels);
}

/* The source's pages are given back before the companions are made, unless they are the
 * reference. */
mr_status mr_train_models_open(mr_trainer *t, mr_err *err) {
    const bool reference = t->set.reference == NULL && !t->set.dpo.reference_free &&
                           (t->set.task == MR_TRAIN_DPO || t->set.task == MR_TRAIN_RL);
    if (check_head(t, err) || open_policy(t, err)) return MR_BAD;
    if (!reference) mr_checkpoint_close(&t->source);
    if (open_one(t, 1, &t->gradients, &t->policy, err) ||
        open_one(t, 2, &t->first, &t->policy, err) ||
        open_one(t, 3, &t->second, &t->policy, err)) return MR_BAD;
    return MR_OK;
}

void mr_train_models_close(mr_trainer *t) {
    mr_run_close(t->run);
    mr_params_free(&t->policy);
    mr_params_free(&t->gradients);
    mr_params_free(&t->first);
    mr_params_free(&t->second);
    for (int n = 0; n < 4; n++) mr_free(t->memory[n]);
    mr_checkpoint_close(&t->source);
}

/* Room of a call: as many sequences as a batch has, and as many tokens as the longest of them
 * together; in rl every prompt with its answers. */
mr_status mr_train_room(const mr_trainer *t, mr_room *room, mr_err *err) {
    const mr_train_settings *s = &t->set;
    const mr_train_data *sets[] = {&t->data, &t->valid};
    room->sequences = (idx)s->batch * t->data.sequences;
    room->longest = room->tokens = 0;
    for (int n = 0; n < 2; n++) {
        idx sum = 0;
        if (sets[n]->count == 0) continue;
        if (mr_train_data_longest(sets[n], (idx)s->batch, &sum, err)) return MR_BAD;
        if (sum > room->tokens) room->tokens = sum;
        for (idx i = 0; i < sets[n]->count; i++)
            for (int k = 0; k < 2; k++)
                if (sets[n]->example[i].count[k] > room->longest)
                    room->longest = sets[n]->example[i].count[k];
    }
    if (s->task != MR_TRAIN_RL) return MR_OK;
    room->sequences *= (idx)s->samples;
    room->longest += (idx)s->max_new;
    room->tokens = room->tokens * (idx)s->samples + room->sequences * (idx)s->max_new;
    return MR_OK;
}

mr_status mr_room_options(const mr_room *room, mr_run_options *o, mr_err *err) {
    idx *capacity = mr_alloc(room->sequences, sizeof *capacity, err);
    if (capacity == NULL) return MR_BAD;
    for (idx b = 0; b < room->sequences; b++) capacity[b] = room->longest;
    o->n_seqs = room->sequences;
    o->capacity = capacity;
    o->max_tokens = room->tokens;
    return MR_OK;
}

/* Router losses are means over a call; divided by the calls of a step they are means over its
 * calls. */
mr_status mr_train_run_options(const mr_trainer *t, mr_run_options *o, mr_err *err) {
    const mr_router_losses *r = &t->set.router;
    const double calls = (double)t->set.accumulate;
    mr_room room;
    *o = t->set.run;
    o->train = true;
    o->router = (mr_router_losses){r->balance / calls, r->pooled / calls, r->z / calls,
                                   r->importance / calls};
    return mr_train_room(t, &room, err) ? MR_BAD : mr_room_options(&room, o, err);
}

mr_status mr_train_run_open(mr_trainer *t, mr_err *err) {
    mr_run_options o;
    if (mr_train_run_options(t, &o, err)) return MR_BAD;
    const mr_status status = mr_run_open(&t->policy, &o, &t->run, err);
    mr_free((idx *)o.capacity);
    return status;
}
