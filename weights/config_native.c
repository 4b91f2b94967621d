/* params.json: the native dialect, and the one of the first Mixtral release, which mixes both. */
#include <string.h>

#include "weights/config_parts.h"
#include "weights/header.h"

static const mr_size_keys native_keys = {"dim", "n_layers", "hidden_dim", "n_heads", "vocab_size"};

static const char *const native_known[] = {
    "dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "norm_eps", "vocab_size",
    "rope_theta", "sliding_window", "_sliding_window", "moe", "max_seq_len", "lora", "model_type",
    "tied_embeddings", "n_labels", NULL};

static const mr_size_keys torrent_keys = {"hidden_size", "num_hidden_layers", "intermediate_size",
                                          "num_attention_heads", "vocab_size"};

static const char *const torrent_known[] = {
    "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size",
    "num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "sliding_window",
    "num_local_experts", "num_experts_per_tok", "max_seq_len", NULL};

static const char *const harmless[] = {"max_batch_size", "torch_dtype", "dtype", NULL};

/* Parts that change the model and are not here. Any value but null and false counts. */
static void refuse_parts(mr_config_reader *r) {
    static const struct { const char *key, *what; } parts[] = {
        {"vision_encoder", "a vision model; only text models are supported"},
        {"quantization", "quantised; expected BF16, F16, F32 or F64 weights"},
        {"yarn", "a model with scaled rotary angles (YaRN), which this family does not have"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *value = json_object_get(r->json.object, parts[i].key);
        if (value != NULL && !json_is_null(value) && !json_is_false(value))
            mr_config_fail(r, "%s: this is %s", parts[i].key, parts[i].what);
    }
}

/* Codestral Mamba ships a params.json of the same look. */
static void read_model_type(mr_config_reader *r) {
    const char *type = "transformer";
    mr_json_string(&r->json, "model_type", &type);
    if (strcmp(type, "mamba") == 0)
        mr_config_fail(r, "model_type \"mamba\" is a Mamba (state space) model; expected "
                       "\"transformer\"");
    else if (strcmp(type, "transformer") != 0)
        mr_config_fail(r, "model_type \"%.60s\" is an unknown architecture; expected "
                       "\"transformer\"", type);
}

/* Files before May 2024 leave theta out; then a window tells the 1e4 models from the 1e6 ones. The
 * later native rule (always 1e6) would give a wrong Mistral 7B v0.1. */
static void read_theta(mr_config_reader *r) {
    mr_config *c = r->config;
    const mr_json_found found = mr_json_number(&r->json, "rope_theta", &c->rope_theta);
    if (found == MR_JSON_FOUND || found == MR_JSON_WRONG) return;
    c->rope_theta = c->n_windows > 0 ? 1e4 : 1e6;
    mr_config_note(r, "rope_theta is absent: %s taken, because there is %s window",
                   c->n_windows > 0 ? "1e4" : "1e6", c->n_windows > 0 ? "a" : "no");
}

/* Two names of one setting. Both with a value is an error even when they agree, as upstream has
 * it. */
static void read_window(mr_config_reader *r) {
    const bool plain = mr_config_window_read(r, "sliding_window");
    if (json_object_get(r->json.object, "_sliding_window") == NULL) return;
    const bool alias = mr_config_window_read(r, "_sliding_window");
    if (plain && alias)
        mr_config_fail(r, "sliding_window and _sliding_window are both set; expected one of them");
}

/* Both numbers are required: no default fits all sparse models. */
static void read_moe(mr_config_reader *r) {
    static const char *const inside_known[] = {"num_experts", "num_experts_per_tok", NULL};
    static const char *const none[] = {NULL};
    mr_config    *c = r->config;
    const json_t *moe = NULL;
    if (mr_json_object(&r->json, "moe", &moe) != MR_JSON_FOUND) return;
    mr_config_reader inside = *r;
    inside.json.object = moe;
    inside.json.prefix = "moe.";
    mr_json_need_int(&inside.json, "num_experts", &c->n_experts);
    mr_json_need_int(&inside.json, "num_experts_per_tok", &c->n_experts_per_tok);
    mr_config_unknown_keys(&inside, inside_known, none);
    r->json.status = inside.json.status;
    if (r->json.status == MR_OK && c->n_experts < 1)
        mr_config_fail(r, "moe.num_experts is %td; expected 1 or more, or no moe", c->n_experts);
}

/* Window before theta: its absence decides what an absent theta means. */
mr_status mr_config_read_native(mr_config_reader *r) {
    mr_config    *c = r->config;
    const json_t *lora = json_object_get(r->json.object, "lora");
    read_model_type(r);
    refuse_parts(r);
    if (r->json.status != MR_OK) return MR_BAD;
    mr_config_sizes_read(r, &native_keys);
    mr_config_head_dim_read(r, &native_keys);
    const mr_json_found groups = mr_json_int(&r->json, "n_kv_heads", &c->n_kv_heads);
    if (groups == MR_JSON_ABSENT || groups == MR_JSON_NULL) c->n_kv_heads = c->n_heads;
    mr_json_need_number(&r->json, "norm_eps", &c->norm_eps);
    read_window(r);
    read_theta(r);
    read_moe(r);
    mr_json_bool(&r->json, "tied_embeddings", &c->tied_embeddings);
    mr_json_int(&r->json, "n_labels", &c->n_labels);
    mr_json_int(&r->json, "max_seq_len", &c->max_positions);
    if (lora != NULL && !json_is_null(lora))
        mr_config_note(r, "lora is ignored: the weights are used as they are");
    mr_config_unknown_keys(r, native_known, harmless);
    return r->json.status;
}

/* Hugging Face's words for the sizes, with the native meaning of what is absent. */
mr_status mr_config_read_torrent(mr_config_reader *r) {
    mr_config *c = r->config;
    mr_config_sizes_read(r, &torrent_keys);
    mr_config_head_dim_read(r, &torrent_keys);
    const mr_json_found groups = mr_json_int(&r->json, "num_key_value_heads", &c->n_kv_heads);
    if (groups == MR_JSON_ABSENT || groups == MR_JSON_NULL) c->n_kv_heads = c->n_heads;
    mr_json_need_number(&r->json, "rms_norm_eps", &c->norm_eps);
    mr_config_window_read(r, "sliding_window");
    read_theta(r);
    if (mr_json_int(&r->json, "num_local_experts", &c->n_experts) == MR_JSON_FOUND) {
        c->n_experts_per_tok = 2;
        if (mr_json_int(&r->json, "num_experts_per_tok", &c->n_experts_per_tok) != MR_JSON_FOUND)
            mr_config_note(r, "num_experts_per_tok is absent: 2 taken, as in all Mixtral models");
    }
    mr_json_int(&r->json, "max_seq_len", &c->max_positions);
    mr_config_unknown_keys(r, torrent_known, harmless);
    return r->json.status;
}
