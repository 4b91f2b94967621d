/* A small model with a tokenizer of the tests, and one step over a file of examples. */
#ifndef MR_TESTS_TRAINING_CHAT_H
#define MR_TESTS_TRAINING_CHAT_H

#include "tests/training.h"

#include "tokenizer/chat.h"

#define CHAT "golden/chat/small.model"

/* ---- a model with a tokenizer of the tests --------------------------------------------------- */

static mr_tokenizer *tokenizer;

static inline int open_model(void **state) {
    char config[1024], copy[1200];
    mr_err e = {0};
    if (scratch_open(state) != 0 || mr_tokenizer_open(CHAT, &tokenizer, &e)) return -1;
    snprintf(config, sizeof config,
             "{\"model_type\": \"mistral\", \"hidden_size\": 12, \"intermediate_size\": 16, "
             "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
             "\"head_dim\": 6, \"vocab_size\": %td, \"rms_norm_eps\": 1e-5, \"rope_theta\": 1e4}",
             mr_tokenizer_size(tokenizer));
    write_file("config.json", config);
    if (run("init @/config.json -o @/m --dtype f32") != 0) return -1;
    snprintf(copy, sizeof copy, "cp " CHAT " %s/m/tokenizer.model", scratch_folder);
    return system(copy);
}

static inline int close_model(void **state) {
    mr_tokenizer_close(tokenizer);
    return remove_scratch(state);
}

/* Loss of one step over all lines of a file, and the tokens it took. */
static inline double loss_of(const char *task, const char *file, const char *options, idx *tokens) {
    char args[1024];
    static int runs;
    snprintf(args, sizeof args, "train %s @/m --data @/%s -o @/o%d --steps 1 --lr 0 --json %s",
             task, file, runs++, options);
    run_well(args);
    *tokens = (idx)number_of(0, "tokens");
    return number_of(0, "loss");
}

/* Both files must be the same examples to the model: to the last bit of the loss. */
static inline void check_same(const char *task, const char *a, const char *b, const char *options) {
    idx n, m;
    const double x = loss_of(task, a, options, &n), y = loss_of(task, b, options, &m);
    if (n != m || x != y)
        fail_msg("%s: %td tokens, loss %.17g; %s: %td tokens, loss %.17g", a, n, x, b, m, y);
}

#endif
