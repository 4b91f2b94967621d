/* --dry-run: the memory of a training step, before any of it is taken. */
#define _POSIX_C_SOURCE 200809L

#include "cli/train.h"

#include <stdio.h>
#include <unistd.h>

/* What the program already has: itself, its libraries, tokenizer and examples. 0 where the system
 * does not tell. */
idx mr_train_resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL) return 0;
    if (fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
    fclose(f);
    return (idx)pages * (idx)sysconf(_SC_PAGESIZE);
}

/* Pages of mapped weights stay resident once they were read. */
static idx mapped(const mr_model *model) {
    const mr_sizes sizes = mr_config_sizes(&model->config);
    return (idx)sizes.total * mr_dtype_size(model->tok_embeddings.dtype);
}

static mr_status judge_bytes(const mr_trainer *t, const mr_model *model, idx *bytes, mr_err *err) {
    mr_room room;
    mr_run_options o = t->set.run;
    if (mr_train_room(t, &room, err) || mr_room_options(&room, &o, err)) return MR_BAD;
    *bytes += mapped(model) + mr_run_size(model, &o);
    mr_free((idx *)o.capacity);
    return MR_OK;
}

/* The model that `folder` names, or MODEL. */
static mr_status folder_bytes(const mr_trainer *t, const char *folder, idx *bytes, mr_err *err) {
    mr_checkpoint other = {0};
    if (folder == NULL) return judge_bytes(t, &t->source.model, bytes, err);
    if (mr_checkpoint_open(folder, &other, err)) return MR_BAD;
    const mr_status status = judge_bytes(t, &other.model, bytes, err);
    mr_checkpoint_close(&other);
    return status;
}

static mr_status frozen_bytes(const mr_trainer *t, idx *bytes, mr_err *err) {
    const mr_train_settings *s = &t->set;
    const bool rl = s->task == MR_TRAIN_RL;
    if ((rl || (s->task == MR_TRAIN_DPO && !s->dpo.reference_free)) &&
        folder_bytes(t, s->reference, bytes, err)) return MR_BAD;
    return rl ? folder_bytes(t, s->reward_model, bytes, err) : MR_OK;
}

/* Answers are made with a cache of their own. */
static mr_status generator_bytes(const mr_trainer *t, idx *bytes, mr_err *err) {
    mr_room room;
    mr_run_options o = t->set.run;
    if (t->set.task != MR_TRAIN_RL) return MR_OK;
    if (mr_train_room(t, &room, err)) return MR_BAD;
    room.tokens = room.sequences * (room.longest - (idx)t->set.max_new);
    o.last_only = true;
    if (mr_room_options(&room, &o, err)) return MR_BAD;
    *bytes = mr_run_size(&t->policy, &o);
    mr_free((idx *)o.capacity);
    return MR_OK;
}

static mr_status activations(const mr_trainer *t, idx *bytes, mr_err *err) {
    mr_run_options o;
    if (mr_train_run_options(t, &o, err)) return MR_BAD;
    *bytes = mr_run_size(&t->policy, &o);
    mr_free((idx *)o.capacity);
    return MR_OK;
}

static mr_status print(const mr_trainer *t, const idx *bytes, mr_err *err) {
    static const char *const words[] = {"weights", "gradients", "optimiser", "activations",
                                        "frozen models", "generation", "program and data"};
    static const char *const keys[] = {"weights", "gradients", "optimiser", "activations",
                                       "frozen", "generation", "program"};
    const int size = (int)mr_dtype_size(t->policy.tok_embeddings.dtype);
    idx total = 0;
    json_t *document = json_pack("{s:I,s:i}", "parameters", (json_int_t)t->parameters,
                                 "bytes_per_parameter", size);
    for (int n = 0; n < 7; n++) {
        total += bytes[n];
        json_object_set_new(document, keys[n], json_integer((json_int_t)bytes[n]));
        if (!t->set.json && bytes[n] > 0) printf("%-18s%14td bytes", words[n], bytes[n]);
        if (!t->set.json && n < 3)
            printf("   = %td parameters x %d", t->parameters, n == 2 ? 2 * size : size);
        if (!t->set.json && bytes[n] > 0) putchar('\n');
    }
    json_object_set_new(document, "total", json_integer((json_int_t)total));
    if (t->set.json) return mr_print_json(document, err);
    json_decref(document);
    printf("%-18s%14td bytes = %.1f MiB\n", "total", total, (double)total / (1 << 20));
    return MR_OK;
}

mr_status mr_train_dry_run(mr_trainer *t, mr_err *err) {
    const idx one = t->parameters * mr_dtype_size(t->policy.tok_embeddings.dtype);
    idx bytes[7] = {one, one, 2 * one, 0, 0, 0, t->resident};
    if (activations(t, &bytes[3], err) || frozen_bytes(t, &bytes[4], err) ||
        generator_bytes(t, &bytes[5], err)) return err->code;
    return print(t, bytes, err);
}
