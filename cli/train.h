/* What the parts of `train` share: settings, examples, batches, objectives, the trainer. */
#ifndef MR_CLI_TRAIN_H
#define MR_CLI_TRAIN_H

#include "cli/cli.h"

#include <math.h>

#include "ref/params.h"

#define MR_TRAIN_FILE "training.state"   /* in the output folder: docs/FORMATS.md */

/* ---- settings: train_options.c --------------------------------------------------------------- */

typedef enum { MR_TRAIN_SFT, MR_TRAIN_REWARD, MR_TRAIN_DPO, MR_TRAIN_RL } mr_train_task;
typedef enum { MR_RL_RLOO, MR_RL_REINFORCE, MR_RL_PPO } mr_rl_method;

typedef struct {
    mr_train_task task;
    const char   *model, *data, *valid, *output, *resume, *curve, *sample, *version;
    const char   *reference, *reward_model;   /* NULL: MODEL; none */
    int64_t       steps, epochs;              /* steps 0: epochs decide */
    int64_t       batch, accumulate, max_length, valid_every, save_every, patience;
    bool          shuffle, chat, json, dry_run;
    uint64_t      seed;
    double        lr, clip;
    mr_schedule   schedule;
    mr_adamw      adam;
    mr_router_losses router;
    mr_reduction  reduction;                  /* sft */
    mr_dpo_options dpo;
    double        centring;                   /* reward */
    mr_rl_method  method;                     /* rl, from here on */
    mr_kl_kind    kl;
    double        beta, ppo_clip, no_eos;
    int64_t       samples, max_new, ppo_epochs;
    bool          normalise;
    mr_sampling   sampling;
    mr_dtype      dtype;                      /* of the saved model */
    mr_layout     layout;
    mr_run_options run;                       /* precision and engine */
} mr_train_settings;

/* Sets the number of threads as well. MR_USAGE for what the task cannot mean. */
mr_status mr_train_settings_read(const mr_args *args, mr_train_settings *out, mr_err *err);

/* Everything that the numbers of a run depend on, as JSON; compared when a run is resumed. */
json_t *mr_train_settings_json(const mr_train_settings *settings);

/* ---- examples: train_data.c, train_encode.c -------------------------------------------------- */

/* One line of the data: a sequence, or two (chosen, rejected), as places in the data's ids. */
typedef struct {
    idx    start[2], count[2];
    double margin;
    double reference[2];   /* log p of the answers under the reference; NaN: not computed yet */
} mr_example;

typedef struct {
    mr_ids      ids;       /* all sequences, one after the other */
    mr_text     scored;    /* a byte per id: 1 where the id is a target */
    mr_example *example;
    idx         count, room;
    idx         sequences; /* per example */
    idx         truncated, dropped;
} mr_train_data;

/* What text is made into ids with. */
typedef struct {
    const mr_tokenizer *tokenizer;   /* NULL: only lines of ids can be read */
    const char         *version;     /* of the chat template; NULL: the tokenizer's own */
    idx                 vocab, max_length;
} mr_encoder;

/* Reads a file of examples; a bad line is refused with its number. */
mr_status mr_train_data_read(mr_train_data *out, const char *path, mr_train_task task,
                             const mr_encoder *encoder, mr_err *err);
mr_status mr_train_data_add(mr_train_data *data, const mr_example *example, mr_err *err);
void      mr_train_data_free(mr_train_data *data);
uint64_t  mr_train_data_hash(const mr_train_data *data);
/* Sum of the n longest sequences of the data: no n of them can be longer. */
mr_status mr_train_data_longest(const mr_train_data *data, idx n, idx *sum, mr_err *err);

/* Parts of a line, appended to ids and marks (train_encode.c). Each fails with the bare reason. */
mr_status mr_encode_ids(const mr_encoder *e, const json_t *list, const json_t *labels, bool scored,
                        mr_train_data *out, mr_err *err);
mr_status mr_encode_text(const mr_encoder *e, const char *text, mr_train_data *out, mr_err *err);
mr_status mr_encode_chat(const mr_encoder *e, const json_t *messages, const json_t *tools,
                         mr_train_data *out, mr_err *err);
/* answer NULL: the prompt alone. Both are strings, or both lists of messages. */
mr_status mr_encode_pair(const mr_encoder *e, const json_t *prompt, const json_t *answer,
                         mr_train_data *out, mr_err *err);

/* ---- order: train_order.c -------------------------------------------------------------------- */

/* A seed for each purpose and number, so that the random state is these three numbers. */
enum { MR_STREAM_ORDER = 1, MR_STREAM_ANSWER = 2, MR_STREAM_SAMPLE = 3 };
mr_rng mr_train_stream(uint64_t seed, uint64_t purpose, uint64_t number);

typedef struct {
    idx      n, *place;      /* a permutation of 0..n-1 */
    int64_t  pass;           /* whose permutation that is; -1: none yet */
    uint64_t seed;
    bool     shuffle;
} mr_train_order;

mr_status mr_train_order_open(mr_train_order *order, idx n, const mr_train_settings *settings,
                              mr_err *err);
/* Example number `position` of the endless row of passes. */
idx       mr_train_order_at(mr_train_order *order, int64_t position);

/* ---- batches: train_batch.c ------------------------------------------------------------------ */

/* Sequences one after the other: all of a step, or the part of it that one call takes. */
typedef struct {
    const mr_train_data *data;
    mr_example **example;
    idx         *length;      /* [sequences], then zeros for a call that is not full */
    int32_t     *tokens, *targets;   /* [rows]; targets negative: not scored */
    double      *weight;      /* [rows] share of -log p(target) in the loss */
    idx          examples, sequences, rows;
    double       share;       /* 1 / examples of the whole step */
    double       part;        /* rows of this call / rows of the whole step */
} mr_packed;

/* The batch of some examples; `calls` examples go into one call. */
mr_status mr_packed_fill(mr_packed *out, const mr_train_data *data, mr_example **example,
                         idx examples, idx call, mr_reduction reduction, mr_err *err);
/* The call that follows the call `before`; the first follows {0}. */
mr_packed mr_packed_call(const mr_packed *batch, const mr_packed *before, idx call);
void      mr_packed_free(mr_packed *batch);

/* ---- objectives: train_sft.c, train_reward.c, train_dpo.c, train_rl.c ------------------------ */

#define MR_TRAIN_METRICS 8

typedef struct mr_trainer mr_trainer;

typedef struct {
    const char *name;
    const char *metric[MR_TRAIN_METRICS + 1];   /* names, NULL after the last */
    idx         sequences;                      /* per example */
    /* Opens and closes the objective's own models and memory; may be NULL. */
    mr_status (*open)(mr_trainer *t, mr_err *err);
    void      (*close)(mr_trainer *t);
    /* Makes the examples of a step out of those picked; NULL: they are the examples. */
    mr_status (*roll)(mr_trainer *t, mr_example **picked, idx count, const mr_train_data **data,
                      mr_err *err);
    /* One call: forward, its part of the loss and metrics added, and, with `train`, the derivative
     * of the loss by the logits. */
    mr_status (*call)(mr_trainer *t, const mr_packed *call, bool train, double *loss,
                      double *metric, mr_err *err);
} mr_objective;

extern const mr_objective mr_objective_sft, mr_objective_reward, mr_objective_dpo, mr_objective_rl;

/* ---- the trainer ----------------------------------------------------------------------------- */

/* Columns of the log; the objective's metrics follow, then those of the validation. */
enum { MR_LOG_LOSS, MR_LOG_NORM, MR_LOG_RATE, MR_LOG_TOKENS, MR_LOG_ROUTER, MR_LOG_VALID,
       MR_LOG_METRICS };
#define MR_LOG_COLUMNS (MR_LOG_METRICS + 2 * MR_TRAIN_METRICS)

/* What a checkpoint holds besides the models: where the run stands. */
typedef struct {
    int64_t step;        /* optimiser steps done */
    int64_t updates;     /* of AdamW: more than steps in ppo */
    int64_t examples;    /* taken from the endless row of passes */
    int64_t tokens;      /* trained on */
    int64_t waited;      /* validations since the best one */
    double  best;        /* best validation loss, infinity before the first */
} mr_train_place;

struct mr_trainer {
    mr_train_settings   set;
    const mr_objective *objective;
    mr_checkpoint       source;       /* MODEL; closed after copying unless it is the reference */
    mr_tokenizer       *tokenizer;    /* NULL when the folder has none */
    mr_err              no_tokenizer; /* why */
    mr_train_data       data, valid;
    mr_train_order      order;
    idx                 parameters;
    void               *memory[4];
    mr_model            policy, gradients, first, second;   /* flat: ref/params.h */
    mr_run             *run;          /* of the policy, with activations */
    mr_train_place      at;
    double             *log;          /* [at.step, MR_LOG_COLUMNS], NaN: nothing */
    idx                 log_room;
    uint64_t            data_hash;
    idx                 resident;     /* bytes before the models were made */
    void               *own;          /* the objective's */
};

/* train_step.c: one optimiser step; the trainer's log gets its row. MR_DISAGREE, and nothing
 * changed, when loss or gradient is not finite. */
mr_status mr_train_step(mr_trainer *t, mr_err *err);
/* Mean loss and metrics over the validation set, into the last row of the log. */
mr_status mr_train_validate(mr_trainer *t, mr_err *err);

/* train_models.c: the trained model, gradients and moments; the run over it. */
mr_status mr_train_models_open(mr_trainer *t, mr_err *err);
void      mr_train_models_close(mr_trainer *t);
mr_status mr_train_run_open(mr_trainer *t, mr_err *err);
mr_status mr_train_run_options(const mr_trainer *t, mr_run_options *out, mr_err *err);

/* The largest call there can be. */
typedef struct {
    idx sequences, longest, tokens;
} mr_room;
mr_status mr_train_room(const mr_trainer *t, mr_room *out, mr_err *err);
/* Adds sequences, tokens and a fresh `capacity` to the options; mr_free is the caller's. */
mr_status mr_room_options(const mr_room *room, mr_run_options *out, mr_err *err);

/* train_save.c: checkpoint, trained model, curve. */
mr_status mr_train_prepare_folder(const mr_trainer *t, mr_err *err);
mr_status mr_train_save(mr_trainer *t, mr_err *err);
mr_status mr_train_save_model(mr_trainer *t, mr_err *err);
mr_status mr_train_resume(mr_trainer *t, mr_err *err);

/* train_loop.c: steps, validations, saves, until there is nothing more to do. */
mr_status mr_train_loop(mr_trainer *t, mr_err *err);

/* train_report.c: what the user sees. */
typedef struct {
    double begun, shown;       /* seconds */
    int64_t first_step, first_tokens;
    bool   terminal;
} mr_train_report;
void   mr_train_report_begin(mr_train_report *report, const mr_trainer *t);
mr_status mr_train_report_step(mr_train_report *report, const mr_trainer *t, const mr_text *sample,
                               mr_err *err);
mr_status mr_train_report_end(mr_train_report *report, const mr_trainer *t, const char *why,
                              mr_err *err);

/* train_memory.c: --dry-run, and what the program takes now in bytes. */
idx       mr_train_resident(void);
mr_status mr_train_dry_run(mr_trainer *t, mr_err *err);

/* ---- generating: train_generate.c ------------------------------------------------------------ */

/* Several sequences that a model goes on with, each with random numbers of its own. */
typedef struct {
    const mr_model *model;
    mr_run         *run;
    idx             sequences, max_new;
    double         *logits, *probs;
    int32_t        *order, *tokens;
    idx            *length;
} mr_generator;

mr_status mr_generator_open(mr_generator *g, const mr_model *model, const mr_run_options *how,
                            idx sequences, idx longest, idx max_new, mr_err *err);
void      mr_generator_close(mr_generator *g);
/* Appends to each of the sequences (ids) until `eos`, which is appended too, or max_new tokens. */
mr_status mr_generate(mr_generator *g, mr_ids *sequence, mr_rng *rng, int32_t eos,
                      const mr_sampling *how, mr_err *err);
/* --sample: its text and what the model makes of it. */
mr_status mr_train_sample(mr_trainer *t, mr_text *out, mr_err *err);

/* A frozen model that scores sequences: the reference's log-probabilities, or rewards. */
typedef struct {
    mr_checkpoint  own;
    const mr_model *model;
    mr_run         *run;
    idx             sequences;   /* of a call */
} mr_judge;

/* folder NULL: `model`, which outlives the judge. train_judge.c */
mr_status mr_judge_open(mr_judge *judge, const char *folder, const mr_model *model,
                        const mr_trainer *t, mr_err *err);
mr_status mr_judge_forward(mr_judge *judge, const mr_packed *call, mr_err *err);
void      mr_judge_close(mr_judge *judge);

/* Sum of log p of the scored rows of sequence b of a call, and how many rows those are. */
double mr_answer_log_probability(const mr_run *run, const mr_packed *call, idx b, idx *scored);

#endif
