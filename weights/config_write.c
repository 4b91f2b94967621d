/* Writing params.json and config.json, every key that a loader could otherwise guess. */
#include "weights/config_write.h"

/* `  "key": ` after a comma where one is due. Keys are ours, so nothing needs escaping. */
static void key(mr_writer *t, const char *name) {
    mr_writer_add(t, "%s\n  \"%s\": ", t->length > 1 ? "," : "", name);
}

static void integer(mr_writer *t, const char *name, idx value) {
    key(t, name);
    mr_writer_add(t, "%td", value);
}

static void number(mr_writer *t, const char *name, double value) {
    key(t, name);
    mr_writer_number(t, value);
}

static void word(mr_writer *t, const char *name, const char *value) {
    key(t, name);
    mr_writer_add(t, "%s", value);
}

/* null, one number, or a list in which null is a layer that attends everywhere. */
static void windows(mr_writer *t, const mr_config *c) {
    if (c->n_windows == 0 || (c->n_windows == 1 && c->windows[0] == 0)) {
        word(t, "sliding_window", "null");
        return;
    }
    if (c->n_windows == 1) {
        integer(t, "sliding_window", c->windows[0]);
        return;
    }
    key(t, "sliding_window");
    for (idx i = 0; i < c->n_windows; i++) {
        mr_writer_add(t, "%s", i == 0 ? "[" : ", ");
        if (c->windows[i] == 0) mr_writer_add(t, "null");
        else                    mr_writer_add(t, "%td", c->windows[i]);
    }
    mr_writer_add(t, "]");
}

/* The keys of upstream's own files, in their order; max_seq_len and tied_embeddings where they say
 * something. */
void mr_config_write_native(mr_writer *t, const mr_config *c) {
    mr_writer_add(t, "{");
    integer(t, "dim", c->dim);
    integer(t, "n_layers", c->n_layers);
    integer(t, "head_dim", c->head_dim);
    integer(t, "hidden_dim", c->hidden_dim);
    integer(t, "n_heads", c->n_heads);
    integer(t, "n_kv_heads", c->n_kv_heads);
    number(t, "norm_eps", c->norm_eps);
    integer(t, "vocab_size", c->vocab_size);
    number(t, "rope_theta", c->rope_theta);     /* never left to a rule about what absence means */
    windows(t, c);
    if (c->max_positions > 0) integer(t, "max_seq_len", c->max_positions);
    if (c->tied_embeddings) word(t, "tied_embeddings", "true");
    if (c->n_labels > 0) integer(t, "n_labels", c->n_labels);
    if (c->n_experts > 0) {
        key(t, "moe");
        mr_writer_add(t, "{\"num_experts\": %td, \"num_experts_per_tok\": %td}", c->n_experts,
                    c->n_experts_per_tok);
    }
    mr_writer_add(t, "\n}\n");
}

static const char *torch_name(mr_dtype dtype) {
    return dtype == MR_F64 ? "\"float64\"" : dtype == MR_F32 ? "\"float32\""
         : dtype == MR_F16 ? "\"float16\"" : "\"bfloat16\"";
}

static void id(mr_writer *t, const char *name, int32_t value) {
    if (value < 0) word(t, name, "null");
    else           integer(t, name, value);
}

/* One window for all layers, or -1. */
static idx only_window(const mr_config *c) {
    const idx first = c->n_windows > 0 ? c->windows[0] : 0;
    for (idx i = 1; i < c->n_windows; i++)
        if (c->windows[i] != first) return -1;
    return first;
}

/* The names that the class would give them; their number is the number of labels. */
static void labels(mr_writer *t, idx count) {
    key(t, "id2label");
    for (idx n = 0; n < count; n++)
        mr_writer_add(t, "%s\"%td\": \"LABEL_%td\"", n == 0 ? "{" : ", ", n, n);
    mr_writer_add(t, "}");
    key(t, "label2id");
    for (idx n = 0; n < count; n++)
        mr_writer_add(t, "%s\"LABEL_%td\": %td", n == 0 ? "{" : ", ", n, n);
    mr_writer_add(t, "}");
}

/* Read alike by versions 4 and 5: rope_theta beside, torch_dtype by its old name. */
mr_status mr_config_write_hf(mr_writer *t, const mr_config *c, mr_dtype dtype) {
    const bool sparse = c->n_experts > 0;
    const idx  window = only_window(c);
    if (window < 0)
        return mr_fail(t->err, MR_BAD, "config.json cannot say that windows differ from layer to "
                       "layer: Hugging Face's Mistral has one for all; keep the native layout");
    mr_writer_add(t, "{");
    key(t, "architectures");
    mr_writer_add(t, "[\"%s%s\"]", sparse ? "Mixtral" : "Mistral",
                  c->n_labels > 0 ? "ForSequenceClassification" : "ForCausalLM");
    word(t, "model_type", sparse ? "\"mixtral\"" : "\"mistral\"");
    integer(t, "hidden_size", c->dim);
    integer(t, "intermediate_size", c->hidden_dim);
    integer(t, "num_hidden_layers", c->n_layers);
    integer(t, "num_attention_heads", c->n_heads);
    integer(t, "num_key_value_heads", c->n_kv_heads);
    integer(t, "head_dim", c->head_dim);
    integer(t, "vocab_size", c->vocab_size);
    word(t, "hidden_act", "\"silu\"");
    /* The official converter's number where the source says nothing; nobody clamps to it. */
    integer(t, "max_position_embeddings", c->max_positions > 0 ? c->max_positions : 32768);
    number(t, "rms_norm_eps", c->norm_eps);
    number(t, "rope_theta", c->rope_theta);
    if (window > 0) integer(t, "sliding_window", window);
    else            word(t, "sliding_window", "null");    /* absent would mean 4096 */
    word(t, "tie_word_embeddings", c->tied_embeddings ? "true" : "false");
    if (c->n_labels > 0) labels(t, c->n_labels);
    if (sparse) {
        integer(t, "num_local_experts", c->n_experts);
        integer(t, "num_experts_per_tok", c->n_experts_per_tok);
    }
    word(t, "attention_dropout", "0.0");
    word(t, "initializer_range", "0.02");
    word(t, "use_cache", "true");
    id(t, "bos_token_id", c->bos_id);
    id(t, "eos_token_id", c->eos_id);
    word(t, "torch_dtype", torch_name(dtype));
    mr_writer_add(t, "\n}\n");
    return t->status;
}
