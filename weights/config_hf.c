/* config.json of Hugging Face's Mistral and Mixtral classes, versions 4 and 5; absent is not
 * null. */
#include <string.h>

#include "weights/config_parts.h"
#include "weights/header.h"

static const mr_size_keys keys = {"hidden_size", "num_hidden_layers", "intermediate_size",
                                  "num_attention_heads", "vocab_size"};

static const char *const known[] = {
    "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size",
    "num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "rope_parameters",
    "rope_scaling", "sliding_window", "layer_types", "num_local_experts", "num_experts_per_tok",
    "tie_word_embeddings", "hidden_act", "max_position_embeddings", "bos_token_id", "eos_token_id",
    "model_type", "architectures", "id2label", "num_labels", NULL};

/* Keys of training, of generation and of Python: no equation of the forward pass reads them. */
static const char *const harmless[] = {
    "torch_dtype", "dtype", "transformers_version", "use_cache",
    "initializer_range", "attention_dropout", "pad_token_id", "unk_token_id", "_name_or_path",
    "output_router_logits", "router_aux_loss_coef", "router_jitter_noise", "auto_map",
    "tokenizer_class", "label2id", "max_length", "return_dict", "pretraining_tp",
    "chunk_size_feed_forward", "problem_type", "_attn_implementation", "unsloth_version", NULL};

static bool among(const char *word, const char *const *list) {
    for (; *list != NULL; list++)
        if (strcmp(*list, word) == 0) return true;
    return false;
}

/* null counts as not there: it switches a feature off. */
static bool has_value(const mr_config_reader *r, const char *key) {
    const json_t *value = json_object_get(r->json.object, key);
    return value != NULL && !json_is_null(value);
}

/* Models this program does not have, each by its reason. *sparse is the model's kind. */
static void read_model_type(mr_config_reader *r, bool *sparse) {
    static const char *const vision[] = {"mistral3", "pixtral", "llava", "llava_next", "idefics2",
                                         NULL};
    static const char *const mamba[] = {"mamba", "mamba2", "falcon_mamba", "jamba", NULL};
    const char *type = "";
    const mr_json_found found = mr_json_string(&r->json, "model_type", &type);
    *sparse = strcmp(type, "mixtral") == 0;
    if (found == MR_JSON_WRONG) return;
    if (found != MR_JSON_FOUND) {
        mr_config_fail(r, "model_type is %s; expected \"mistral\" or \"mixtral\"",
                       found == MR_JSON_NULL ? "null" : "absent");
        return;
    }
    if (mr_name_hostile(type)) type = "?";
    if (among(type, vision) || has_value(r, "vision_config") || has_value(r, "text_config"))
        mr_config_fail(r, "model_type \"%.60s\" is a vision model; only the text models "
                       "\"mistral\" and \"mixtral\" are supported", type);
    else if (among(type, mamba))
        mr_config_fail(r, "model_type \"%.60s\" is a Mamba (state space) model; only \"mistral\" "
                       "and \"mixtral\" are supported", type);
    else if (!*sparse && strcmp(type, "mistral") != 0)
        mr_config_fail(r, "model_type \"%.60s\" is an unknown architecture; expected \"mistral\" "
                       "or \"mixtral\"", type);
    else if (has_value(r, "quantization_config"))
        mr_config_fail(r, "quantization_config: the weights are quantised; expected BF16, F16, F32 "
                       "or F64 weights");
}

/* rope_parameters (version 5) or rope_scaling (version 4): only the plain kind exists in this
 * family. */
static bool read_rope_object(mr_config_reader *r, const char *key, const char *prefix,
                             double *theta) {
    const json_t *object = NULL, *value;
    const char   *entry, *type = "default";
    double        factor = 1;
    if (mr_json_object(&r->json, key, &object) != MR_JSON_FOUND) return false;
    mr_json inside = {object, r->json.source, prefix, r->json.err, MR_OK};
    json_object_foreach((json_t *)object, entry, value)
        if (json_is_object(value))
            mr_config_fail(r, "%s differs between kinds of layers; expected one rotary setting",
                           key);
    if (mr_json_string(&inside, "rope_type", &type) == MR_JSON_ABSENT)
        mr_json_string(&inside, "type", &type);
    if (strcmp(type, "default") != 0)
        mr_config_fail(r, "%s asks for rope_type \"%.60s\"; expected \"default\"", key,
                       mr_name_hostile(type) ? "?" : type);
    mr_json_number(&inside, "partial_rotary_factor", &factor);
    if (factor < 1 || factor > 1)
        mr_config_fail(r, "%s asks for partial_rotary_factor %g; expected 1", key, factor);
    const bool found = mr_json_number(&inside, "rope_theta", theta) == MR_JSON_FOUND;
    if (inside.status != MR_OK) r->json.status = MR_BAD;
    return found;
}

/* Inside rope_parameters first, then beside it, then what the class would take. */
static void read_theta(mr_config_reader *r, bool sparse) {
    double scaling, inside, beside;
    const bool a = read_rope_object(r, "rope_scaling", "rope_scaling.", &scaling);
    const bool b = read_rope_object(r, "rope_parameters", "rope_parameters.", &inside);
    const bool c = mr_json_number(&r->json, "rope_theta", &beside) == MR_JSON_FOUND;
    r->config->rope_theta = a ? scaling : b ? inside : c ? beside : sparse ? 1e6 : 1e4;
    if (!a && !b && !c)
        mr_config_note(r, "rope_theta is absent: %g taken, as Hugging Face's class does",
                       r->config->rope_theta);
    if ((a || b) && c && (beside < r->config->rope_theta || beside > r->config->rope_theta))
        mr_config_note(r, "rope_theta is %g beside and %g inside rope_parameters: the latter is "
                       "taken", beside, r->config->rope_theta);
}

/* Absent means the class default, which is a window for Mistral; null means none. */
static void read_window(mr_config_reader *r, bool sparse) {
    mr_config *c = r->config;
    const json_t *value = json_object_get(r->json.object, "sliding_window");
    if (value == NULL && !sparse) {
        c->n_windows = 1;
        c->windows[0] = 4096;
        mr_config_note(r, "sliding_window is absent: 4096 taken, as Hugging Face's class does");
    } else if (json_is_array(value) || json_is_string(value)) {
        mr_config_fail(r, "sliding_window: expected an integer or null, found %s",
                       mr_json_kind(value));
    } else {
        mr_config_window_read(r, "sliding_window");
    }
}

/* One word per layer. Where the words differ from layer to layer they become a list of windows. */
static void read_layer_types(mr_config_reader *r) {
    mr_config    *c = r->config;
    const json_t *list = NULL;
    const idx     window = c->n_windows > 0 ? c->windows[0] : 0;
    idx           sliding = 0, layers;
    if (mr_json_array(&r->json, "layer_types", &list) != MR_JSON_FOUND) return;
    layers = (idx)json_array_size(list);
    if (layers != c->n_layers) {
        mr_config_fail(r, "layer_types lists %td layers; expected %td", layers, c->n_layers);
        return;
    }
    for (idx l = 0; l < layers; l++) {
        const char *word = json_string_value(json_array_get(list, (size_t)l));
        const bool  slides = word != NULL && strcmp(word, "sliding_attention") == 0;
        if (!slides && (word == NULL || strcmp(word, "full_attention") != 0)) {
            mr_config_fail(r, "layer_types: expected \"full_attention\" or \"sliding_attention\" "
                           "for layer %td", l);
            return;
        }
        sliding += slides;
        if (l < MR_MAX_WINDOWS) c->windows[l] = slides ? window : 0;
    }
    if (sliding > 0 && window == 0)
        mr_config_fail(r, "layer_types has sliding layers, but sliding_window is null");
    else if (sliding == 0)
        c->n_windows = 0;
    else if (sliding < layers && layers > MR_MAX_WINDOWS)
        mr_config_fail(r, "layer_types varies over more than %d layers", MR_MAX_WINDOWS);
    else
        c->n_windows = sliding < layers ? layers : 1;
    if (sliding < layers && window > 0)
        mr_config_note(r, "layer_types followed; Hugging Face's Mistral and Mixtral classes ignore "
                       "it and give every layer the window");
}

/* An id, null for none, or (eos) a list of ids, of which the first counts. */
static int32_t read_id(mr_config_reader *r, const char *key, int32_t absent) {
    const json_t *value = json_object_get(r->json.object, key);
    if (value == NULL) return absent;
    if (json_is_array(value) && json_array_size(value) > 0) {
        if (json_array_size(value) > 1)
            mr_config_note(r, "%s lists %zu ids: the first is taken", key, json_array_size(value));
        value = json_array_get(value, 0);
    }
    if (json_is_null(value)) return -1;
    const json_int_t id = json_integer_value(value);
    if (json_is_integer(value) && id >= 0 && id <= INT32_MAX) return (int32_t)id;
    mr_config_fail(r, "%s: expected a token id or null, found %s", key, mr_json_kind(value));
    return -1;
}

/* Absent: what the class takes, told. null is no number, for the class neither. */
static void read_default(mr_config_reader *r, const char *key, idx absent, idx *out) {
    const mr_json_found found = mr_json_int(&r->json, key, out);
    if (found == MR_JSON_NULL) mr_config_fail(r, "%s: expected an integer, found null", key);
    if (found != MR_JSON_ABSENT) return;
    *out = absent;
    mr_config_note(r, "%s is absent: %td taken, as Hugging Face's class does", key, absent);
}

static void read_experts(mr_config_reader *r) {
    mr_config *c = r->config;
    read_default(r, "num_local_experts", 8, &c->n_experts);
    read_default(r, "num_experts_per_tok", 2, &c->n_experts_per_tok);
    if (r->json.status == MR_OK && c->n_experts < 1)
        mr_config_fail(r, "num_local_experts is %td; expected 1 or more", c->n_experts);
}

/* ...ForSequenceClassification: a score per label in place of the output matrix, never tied. The
 * number of labels is that of their names; the class default is 2. */
static void read_labels(mr_config_reader *r) {
    static const char ending[] = "ForSequenceClassification";
    mr_config    *c = r->config;
    const json_t *list = json_object_get(r->json.object, "architectures"), *names = NULL;
    const char   *class = json_string_value(json_array_get(list, 0));
    const size_t  length = class != NULL ? strlen(class) : 0, tail = sizeof ending - 1;
    if (length < tail || strcmp(class + length - tail, ending) != 0) return;
    c->n_labels = 2;
    if (mr_json_object(&r->json, "id2label", &names) == MR_JSON_FOUND)
        c->n_labels = (idx)json_object_size(names);
    else
        mr_json_int(&r->json, "num_labels", &c->n_labels);
    if (c->n_labels < 1)
        mr_config_fail(r, "a sequence classifier of %td labels; expected 1 or more", c->n_labels);
    if (c->tied_embeddings)
        mr_config_note(r, "tie_word_embeddings is true, but a score head is not tied");
    c->tied_embeddings = false;
}

/* The epsilon has another class default for each kind; all published checkpoints state it. */
static void read_rest(mr_config_reader *r, bool sparse) {
    mr_config  *c = r->config;
    const char *act = "silu";
    if (json_object_get(r->json.object, "rms_norm_eps") != NULL) {
        mr_json_need_number(&r->json, "rms_norm_eps", &c->norm_eps);
    } else {
        c->norm_eps = sparse ? 1e-5 : 1e-6;
        mr_config_note(r, "rms_norm_eps is absent: %g taken, as Hugging Face's class does",
                       c->norm_eps);
    }
    if (mr_json_string(&r->json, "hidden_act", &act) == MR_JSON_NULL) act = "null";
    if (strcmp(act, "silu") != 0)
        mr_config_fail(r, "hidden_act is \"%.60s\"; expected \"silu\"",
                       mr_name_hostile(act) ? "?" : act);
    mr_json_bool(&r->json, "tie_word_embeddings", &c->tied_embeddings);
    mr_json_int(&r->json, "max_position_embeddings", &c->max_positions);
    c->bos_id = read_id(r, "bos_token_id", 1);
    c->eos_id = read_id(r, "eos_token_id", 2);
}

/* The kind of model first: no other message makes sense for a model that is not of the family. */
mr_status mr_config_read_hf(mr_config_reader *r) {
    mr_config *c = r->config;
    bool       sparse;
    read_model_type(r, &sparse);
    if (r->json.status != MR_OK) return MR_BAD;
    mr_config_sizes_read(r, &keys);
    mr_config_head_dim_read(r, &keys);

    /* Null means as many as query heads; absent means the class default, a number. */
    if (json_is_null(json_object_get(r->json.object, "num_key_value_heads")))
        c->n_kv_heads = c->n_heads;
    else
        read_default(r, "num_key_value_heads", 8, &c->n_kv_heads);
    if (sparse) read_experts(r);
    read_theta(r, sparse);
    read_window(r, sparse);
    if (r->json.status == MR_OK) read_layer_types(r);
    read_rest(r, sparse);
    read_labels(r);
    mr_config_unknown_keys(r, known, harmless);
    return r->json.status;
}
