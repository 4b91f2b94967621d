/* What the subcommands share: parsed arguments, an opened model, output. Each subcommand is one
 * file with one function. */
#ifndef MR_CLI_CLI_H
#define MR_CLI_CLI_H

#include <jansson.h>

#include "ref/mr.h"
#include "tokenizer/tokenizer.h"
#include "weights/checkpoint.h"
#include "weights/text.h"

/* What only `train` takes. */
typedef struct {
    const char *data, *valid, *steps, *epochs, *batch, *accumulate, *max_length;
    const char *lr, *schedule, *warmup, *betas, *eps, *decay, *clip;
    const char *balance, *pooled, *z, *importance;
    const char *reduction, *loss, *beta, *smoothing, *reference, *centring;
    const char *reward_model, *method, *samples, *max_new, *kl, *ppo_clip, *ppo_epochs, *no_eos;
    const char *sample, *valid_every, *save_every, *every, *patience, *resume, *curve;
    bool        no_shuffle, decay_all, reference_free, normalise, dry_run;
} mr_train_args;

/* Everything the command line can say; NULL or negative where it said nothing. */
typedef struct {
    const char *model, *file;                 /* positional arguments */
    const char *prompt, *tokens, *output, *only, *decode, *to, *dtype;
    const char *precision, *engine, *dispatch, *convention, *attention_rounding, *router_order,
        *expert_order;
    const char *window, *window_rule, *rope_theta, *rope_angles, *rope_layout, *norm_eps,
        *capacity_factor, *capacity_rank;
    const char *steps, *chunk, *temperature, *top_p, *top_k, *seed, *threads, *context, *kv_heads,
        *against, *junit, *html, *map;
    const char *version, *system, *std, *embedding_std;
    bool        json, jsonl, bos, no_bos, verbose, chat, grad;
    bool        paths;
    const char *more[6];      /* positional arguments after the second */
    mr_train_args train;
} mr_args;

/* A subcommand: name, who it is in the option table, positional arguments at least and at most,
 * function, synopsis, help. */
typedef struct {
    const char *name;
    unsigned    bit;
    int         least, most;
    mr_status (*run)(const mr_args *args, mr_err *err);
    const char *synopsis, *help;
} mr_command;

enum {
    CMD_RUN = 1,
    CMD_LOGITS = 2,
    CMD_SCORE = 4,
    CMD_TRACE = 8,
    CMD_ROUTING = 16,
    CMD_INFO = 32,
    CMD_TOKENIZE = 64,
    CMD_MASK = 128,
    CMD_INIT = 256,
    CMD_CONVERT = 512,
    CMD_SELFTEST = 1024,
    CMD_COMPARE = 2048,
    CMD_CHAT_TEMPLATE = 4096,
    CMD_CHAT = 8192,
    CMD_TRAIN = 16384,
    /* those that run a model */
    CMD_MODEL = CMD_RUN | CMD_LOGITS | CMD_SCORE | CMD_TRACE | CMD_ROUTING
};

mr_status mr_cmd_run(const mr_args *args, mr_err *err);
mr_status mr_cmd_logits(const mr_args *args, mr_err *err);
mr_status mr_cmd_score(const mr_args *args, mr_err *err);
mr_status mr_cmd_trace(const mr_args *args, mr_err *err);
mr_status mr_cmd_routing(const mr_args *args, mr_err *err);
mr_status mr_cmd_info(const mr_args *args, mr_err *err);
mr_status mr_cmd_tokenize(const mr_args *args, mr_err *err);
mr_status mr_cmd_mask(const mr_args *args, mr_err *err);
mr_status mr_cmd_init(const mr_args *args, mr_err *err);
mr_status mr_cmd_convert(const mr_args *args, mr_err *err);
mr_status mr_cmd_compare(const mr_args *args, mr_err *err);
mr_status mr_cmd_selftest(const mr_args *args, mr_err *err);
mr_status mr_cmd_chat_template(const mr_args *args, mr_err *err);
mr_status mr_cmd_chat(const mr_args *args, mr_err *err);
mr_status mr_cmd_train(const mr_args *args, mr_err *err);

/* ids of TEXT as one user message through the template (chat.c); *ids is replaced */
mr_status mr_chat_prompt(const mr_tokenizer *tokenizer, const char *version, const char *text,
                         mr_ids *ids, mr_err *err);

/* info of a trace or any other tensor file (info_trace.c) */
mr_status mr_info_trace(const mr_args *args, mr_err *err);

/* ---- options.c ------------------------------------------------------------------------------- */

mr_status mr_parse(int argc, char **argv, const mr_command *command, mr_args *args, mr_err *err);
void      mr_print_options(const mr_command *command);
/* The command line that gives these arguments, quoted for a shell. */
typedef struct {
    const char    *command;
    unsigned       bit;
    const mr_args *args;
} mr_command_line;
void      mr_say_command(const mr_command_line *line, mr_writer *out);

/* ---- values.c: strict readers of option values; on failure one message naming the option ----- */

mr_status mr_value_int(const char *option, const char *text, int64_t least, int64_t most,
                       int64_t *out, mr_err *err);
mr_status mr_value_number(const char *option, const char *text, double *out, mr_err *err);
mr_status mr_value_ids(const char *option, const char *text, mr_ids *out, mr_err *err);
/* words: "a|b|c"; *out is the index of the matching word. text NULL leaves *out. */
mr_status mr_value_word(const char *option, const char *text, const char *words, int *out,
                        mr_err *err);
/* --temp, --top-p, --top-k and --seed. */
mr_status mr_value_sampling(const mr_args *args, mr_sampling *how, mr_rng *rng, mr_err *err);
/* A whole file, or standard input for "-". */
mr_status mr_value_file(const char *path, mr_text *out, mr_err *err);

/* ---- conventions.c --------------------------------------------------------------------------- */

/* Overrides of the configuration by options (window, theta, rounding, ...), then mr_config_check.
 * */
mr_status mr_override(const mr_args *args, mr_config *config, mr_err *err);
/* Precision, engine and dispatch of a run; under bf16 or f16 also the configuration's storage. */
mr_status mr_run_choice(const mr_args *args, mr_config *config, mr_run_options *options,
                        mr_err *err);
/* The configuration and every convention as JSON, for traces and info. */
json_t   *mr_config_json(const mr_config *config);

/* ---- session.c ------------------------------------------------------------------------------- */

/* A model opened for running, with its tokenizer if the folder has one, and the prompt's tokens. */
typedef struct {
    mr_checkpoint  checkpoint;
    mr_tokenizer  *tokenizer;   /* NULL when the folder has none */
    mr_ids         ids;         /* from --tokens, -p or a file */
    mr_text        text;        /* the text they came from; empty for --tokens */
    mr_run        *run;
    mr_run_options options;
} mr_session;

/* Opens model and tokens. `file` is a text file to read the prompt from, or NULL. */
mr_status mr_session_open(const mr_args *args, const char *file, mr_session *out, mr_err *err);
/* MR_BAD with a message when the model scores sequences and has no next tokens. */
mr_status mr_session_language(const mr_session *session, mr_err *err);
enum { MR_CHUNK = 256 };   /* tokens of a prompt fed at a time, and between two looks at Ctrl-C */

/* Opens the run: room for the prompt and `more` tokens, fed `chunk` at a time. */
mr_status mr_session_run(mr_session *session, idx more, idx chunk, bool last_only, mr_tap tap,
                         void *user, mr_err *err);
/* Feeds ids[start..count) in chunks; after each chunk `each` (may be NULL) sees the run. */
typedef mr_status (*mr_after_chunk)(void *user, mr_session *session, idx start, idx count,
                                    mr_err *err);
mr_status mr_session_feed(mr_session *session, idx start, idx chunk, mr_after_chunk each,
                          void *user, mr_err *err);
void      mr_session_close(mr_session *session);

/* ---- output ---------------------------------------------------------------------------------- */

/* Prints one JSON document and a newline to standard output; takes the reference. Numbers keep 17
 * digits. */
mr_status mr_print_json(json_t *document, mr_err *err);
json_t   *mr_json_ids(const int32_t *ids, idx count);
json_t   *mr_json_real(double x);   /* null for NaN and infinities, which JSON lacks */

#endif
