/* The settings of a training run: read from the command line, and as JSON for the checkpoint. */
#include "cli/train.h"

#include <stdio.h>
#include <string.h>

static mr_status read_counts(const mr_train_args *a, mr_train_settings *s, mr_err *err) {
    const struct {
        const char *option, *text;
        int64_t     least, value, *out;
    } table[] = {
        {"--steps", a->steps, 1, 0, &s->steps},
        {"--epochs", a->epochs, 1, 1, &s->epochs},
        {"--batch", a->batch, 1, 8, &s->batch},
        {"--accumulate", a->accumulate, 1, 1, &s->accumulate},
        {"--max-length", a->max_length, 2, 1024, &s->max_length},
        {"--every", a->every, 1, 0, &s->valid_every},
        {"--every", a->every, 1, 0, &s->save_every},
        {"--valid-every", a->valid_every, 1, s->valid_every, &s->valid_every},
        {"--save-every", a->save_every, 1, s->save_every, &s->save_every},
        {"--patience", a->patience, 1, 0, &s->patience},
        {"--samples", a->samples, 1, 4, &s->samples},
        {"--max-new", a->max_new, 1, 64, &s->max_new},
        {"--ppo-epochs", a->ppo_epochs, 1, 4, &s->ppo_epochs},
        {"--warmup", a->warmup, 0, 0, &s->schedule.warmup},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].text == NULL && table[i].value == 0) continue;
        if (table[i].text == NULL) *table[i].out = table[i].value;
        else if (mr_value_int(table[i].option, table[i].text, table[i].least, INT32_MAX,
                              table[i].out, err)) return MR_USAGE;
    }
    return MR_OK;
}

static mr_status read_numbers(const mr_train_args *a, mr_train_settings *s, mr_err *err) {
    const struct {
        const char *option, *text;
        double     *out;
    } table[] = {
        {"--lr", a->lr, &s->lr},
        {"--adam-eps", a->eps, &s->adam.eps},
        {"--weight-decay", a->decay, &s->adam.decay},
        {"--clip", a->clip, &s->clip},
        {"--router-loss", a->balance, &s->router.balance},
        {"--router-pooled", a->pooled, &s->router.pooled},
        {"--router-z", a->z, &s->router.z},
        {"--router-importance", a->importance, &s->router.importance},
        {"--beta", a->beta, &s->beta},
        {"--label-smoothing", a->smoothing, &s->dpo.smoothing},
        {"--centring", a->centring, &s->centring},
        {"--ppo-clip", a->ppo_clip, &s->ppo_clip},
        {"--no-eos-penalty", a->no_eos, &s->no_eos},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (mr_value_number(table[i].option, table[i].text, table[i].out, err)) return MR_USAGE;
        if (*table[i].out < 0)
            return mr_fail(err, MR_USAGE, "%s: expected 0 or more, found \"%s\"", table[i].option,
                           table[i].text);
    }
    if (s->ppo_clip <= 0) return mr_fail(err, MR_USAGE, "--ppo-clip must be above 0");
    if (a->betas == NULL) return MR_OK;
    char first[64];
    const char *comma = strchr(a->betas, ',');
    if (comma == NULL || comma - a->betas >= (ptrdiff_t)sizeof first)
        return mr_fail(err, MR_USAGE, "--adam-betas: expected two numbers such as 0.9,0.95, found "
                       "\"%s\"", a->betas);
    snprintf(first, sizeof first, "%.*s", (int)(comma - a->betas), a->betas);
    if (mr_value_number("--adam-betas", first, &s->adam.beta1, err)) return MR_USAGE;
    return mr_value_number("--adam-betas", comma + 1, &s->adam.beta2, err);
}

static mr_status read_words(const mr_args *args, mr_train_settings *s, mr_err *err) {
    static const mr_dtype dtypes[] = {MR_F64, MR_F32, MR_BF16, MR_F16};
    const mr_train_args *a = &args->train;
    int reduction = 0, method = 0, kl = 0, layout = -1, dtype = 1;
    if (mr_value_word("--reduction", a->reduction, "token|sequence|microbatch|sum", &reduction,
                      err) ||
        mr_value_word("--method", a->method, "rloo|reinforce|ppo", &method, err) ||
        mr_value_word("--kl", a->kl, "k1|k2|k3", &kl, err) ||
        mr_value_word("--to", args->to, "hf|native", &layout, err) ||
        mr_value_word("--dtype", args->dtype, "f64|f32|bf16|f16", &dtype, err)) return MR_USAGE;
    if (a->schedule != NULL && !mr_schedule_parse(a->schedule, &s->schedule.kind))
        return mr_fail(err, MR_USAGE, "--schedule: expected constant|linear|cosine|dpo, found "
                       "\"%s\"", a->schedule);
    if (a->loss != NULL && !mr_dpo_parse(a->loss, &s->dpo.kind))
        return mr_fail(err, MR_USAGE, "--loss: unknown DPO loss \"%s\"; mistral-ref train --help "
                       "lists them", a->loss);
    s->reduction = (mr_reduction)reduction;
    s->method = (mr_rl_method)method;
    s->kl = (mr_kl_kind)kl;
    if (layout >= 0) s->layout = layout == 1 ? MR_LAYOUT_NATIVE : MR_LAYOUT_HF;
    s->dtype = dtypes[dtype];
    return MR_OK;
}

static mr_status check(const mr_args *args, const mr_train_settings *s, mr_err *err) {
    const bool rl = s->task == MR_TRAIN_RL;
    if (s->data == NULL) return mr_fail(err, MR_USAGE, "train: --data FILE.jsonl is needed");
    if (s->output == NULL && !s->dry_run)
        return mr_fail(err, MR_USAGE, "train: -o DIR is needed");
    if (rl && s->reward_model == NULL)
        return mr_fail(err, MR_USAGE, "train rl: --reward-model MODEL is needed; `train reward` "
                       "makes one");
    if (rl && s->valid != NULL)
        return mr_fail(err, MR_USAGE, "train rl: --valid is not possible; its reward is measured "
                       "on fresh answers at every step");
    if (rl && s->method == MR_RL_RLOO && s->samples < 2)
        return mr_fail(err, MR_USAGE, "--samples: rloo needs 2 or more answers per prompt");
    if (s->patience > 0 && (s->valid == NULL || s->valid_every == 0))
        return mr_fail(err, MR_USAGE, "--patience needs --valid FILE and --valid-every N");
    if (s->task == MR_TRAIN_REWARD && s->sample != NULL)
        return mr_fail(err, MR_USAGE, "--sample: a reward model does not write text");
    if (args->precision != NULL && strcmp(args->precision, "f32") != 0 &&
        strcmp(args->precision, "f64") != 0)
        return mr_fail(err, MR_USAGE, "--precision: training is f32 or f64; --dtype is the type "
                       "of the saved model");
    if (mr_adamw_check(&s->adam, err)) return MR_USAGE;
    return s->task == MR_TRAIN_DPO ? mr_dpo_check(&s->dpo, err) : MR_OK;
}

mr_status mr_train_settings_read(const mr_args *args, mr_train_settings *s, mr_err *err) {
    const mr_train_args *a = &args->train;
    int task = 0;
    int64_t threads = 0;
    mr_rng unused;
    mr_config storage = {0};
    if (mr_value_word("train", args->model, "sft|reward|dpo|rl", &task, err)) return MR_USAGE;
    *s = (mr_train_settings){
        .task = (mr_train_task)task, .model = args->file, .data = a->data, .valid = a->valid,
        .output = args->output != NULL ? args->output : a->resume, .resume = a->resume,
        .curve = a->curve, .sample = a->sample, .version = args->version,
        .reference = a->reference, .reward_model = a->reward_model, .shuffle = !a->no_shuffle,
        .chat = args->chat, .json = args->json, .dry_run = a->dry_run,
        .lr = task == MR_TRAIN_SFT ? 3e-4 : task == MR_TRAIN_REWARD ? 1e-4 : 1e-6, .clip = 1,
        .schedule = {.kind = MR_SCHEDULE_COSINE}, .adam = mr_adamw_default(),
        .beta = task == MR_TRAIN_DPO ? 0.1 : 0.05, .ppo_clip = 0.2, .normalise = a->normalise,
        .layout = MR_LAYOUT_HF};
    mr_args sampling = *args;
    if (task == MR_TRAIN_RL && args->temperature == NULL) sampling.temperature = "1";
    if (read_counts(a, s, err) || read_numbers(a, s, err) || read_words(args, s, err) ||
        mr_value_sampling(&sampling, &s->sampling, &unused, err) ||
        mr_value_int("--threads", args->threads, 1, 1024, &threads, err) ||
        mr_run_choice(args, &storage, &s->run, err)) return MR_USAGE;
    s->adam.decay_all = a->decay_all;
    s->seed = unused.state;
    s->dpo.beta = s->beta;
    s->dpo.reference_free = a->reference_free;
    if (threads > 0) mr_set_threads((int)threads);
    return check(args, s, err);
}

json_t *mr_train_settings_json(const mr_train_settings *s) {
    static const char *const tasks[] = {"sft", "reward", "dpo", "rl"};
    json_t *all = json_pack(
        "{s:s,s:I,s:I,s:I,s:b,s:I,s:f,s:s,s:I,s:f,s:f,s:f,s:f,s:b,s:f}", "task", tasks[s->task],
        "batch", (json_int_t)s->batch, "accumulate", (json_int_t)s->accumulate, "max_length",
        (json_int_t)s->max_length, "shuffle", s->shuffle, "seed", (json_int_t)s->seed, "lr", s->lr,
        "schedule", mr_schedule_name(s->schedule.kind), "warmup", (json_int_t)s->schedule.warmup,
        "adam_beta1", s->adam.beta1, "adam_beta2", s->adam.beta2, "adam_eps", s->adam.eps,
        "weight_decay", s->adam.decay, "decay_all", s->adam.decay_all, "clip", s->clip);
    json_t *more = json_pack(
        "{s:f,s:f,s:f,s:f,s:I,s:s,s:b,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:b}", "router_loss",
        s->router.balance, "router_pooled", s->router.pooled, "router_z", s->router.z,
        "router_importance", s->router.importance, "reduction", (json_int_t)s->reduction, "loss",
        mr_dpo_name(s->dpo.kind), "reference_free", s->dpo.reference_free, "label_smoothing",
        s->dpo.smoothing, "beta", s->beta, "centring", s->centring, "method",
        (json_int_t)s->method, "kl", (json_int_t)s->kl, "samples", (json_int_t)s->samples,
        "max_new", (json_int_t)s->max_new, "normalise", s->normalise);
    json_t *rest = json_pack(
        "{s:f,s:f,s:I,s:f,s:f,s:I,s:s,s:s,s:s,s:s?,s:s?}", "ppo_clip", s->ppo_clip,
        "no_eos_penalty", s->no_eos, "ppo_epochs", (json_int_t)s->ppo_epochs, "temp",
        s->sampling.temperature, "top_p", s->sampling.top_p, "top_k",
        (json_int_t)s->sampling.top_k, "precision",
        s->run.precision == MR_F64_RUN ? "f64" : "f32", "engine",
        s->run.engine == MR_BLAS_ENGINE ? "blas" : "plain", "model", s->model, "reference",
        s->reference, "reward_model", s->reward_model);
    json_object_update_missing(all, more);
    json_object_update_missing(all, rest);
    json_decref(more);
    json_decref(rest);
    return all;
}
