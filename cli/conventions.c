/* Options that change the configuration: how "would the port agree if ..." is asked. */
#include "cli/cli.h"

#include <string.h>

/* Words in the order of the enums of ref/config.h. */
static const char *const window_rules = "swa|swa-inclusive|longformer|causal";
static const char *const layouts = "interleaved|half";
static const char *const angle_words = "f32|exact";
static const char *const conventions = "native|hf";
static const char *const roundings = "eager|fused";
static const char *const router_orders = "topk-softmax|softmax-topk";
static const char *const expert_orders = "ascending|slots";
static const char *const capacity_ranks = "tokens|slots";
static const char *const storages = "wide|bf16|f16";

static mr_status override_window(const mr_args *args, mr_config *c, mr_err *err) {
    int64_t window = 0;
    int rule = (int)c->window_rule;
    if (args->window != NULL && strcmp(args->window, "none") != 0 &&
        mr_value_int("--window", args->window, 1, INT32_MAX, &window, err)) return MR_USAGE;
    if (args->window != NULL) {
        c->n_windows = window > 0;
        c->windows[0] = (idx)window;
    }
    if (mr_value_word("--window-rule", args->window_rule, window_rules, &rule, err))
        return MR_USAGE;
    if (rule == 3) c->n_windows = rule = 0;   /* causal: no window */
    c->window_rule = (mr_window_rule)rule;
    return MR_OK;
}

static mr_status override_words(const mr_args *args, mr_config *c, mr_err *err) {
    int convention = (int)c->convention, angles = (int)c->rope_angles, layout = (int)c->rope_layout;
    int rounding = (int)c->attention_rounding, rank = (int)c->capacity_rank;
    if (mr_value_word("--convention", args->convention, conventions, &convention, err) ||
        mr_value_word("--rope-angles", args->rope_angles, angle_words, &angles, err) ||
        mr_value_word("--rope-layout", args->rope_layout, layouts, &layout, err) ||
        mr_value_word("--attention-rounding", args->attention_rounding, roundings, &rounding,
                      err) ||
        mr_value_word("--capacity-rank", args->capacity_rank, capacity_ranks, &rank, err))
        return MR_USAGE;
    mr_config_follow(c, (mr_convention)convention);
    int router = (int)c->router_order, experts = (int)c->expert_order;
    if (mr_value_word("--router-order", args->router_order, router_orders, &router, err) ||
        mr_value_word("--expert-order", args->expert_order, expert_orders, &experts, err))
        return MR_USAGE;
    c->rope_angles = (mr_rope_angles)angles;
    c->rope_layout = (mr_rope_layout)layout;
    c->attention_rounding = (mr_attention_rounding)rounding;
    c->capacity_rank = (mr_capacity_rank)rank;
    c->router_order = (mr_router_order)router;
    c->expert_order = (mr_expert_order)experts;
    return MR_OK;
}

mr_status mr_override(const mr_args *args, mr_config *c, mr_err *err) {
    if (override_window(args, c, err) || override_words(args, c, err) ||
        mr_value_number("--rope-theta", args->rope_theta, &c->rope_theta, err) ||
        mr_value_number("--norm-eps", args->norm_eps, &c->norm_eps, err) ||
        mr_value_number("--capacity-factor", args->capacity_factor, &c->capacity_factor, err))
        return MR_USAGE;
    return mr_config_check(c, "command line", err);
}

mr_status mr_run_choice(const mr_args *args, mr_config *c, mr_run_options *o, mr_err *err) {
    int precision = 0, engine = 0, dispatch = 0;
    if (mr_value_word("--precision", args->precision, "f32|f64|bf16|f16", &precision, err) ||
        mr_value_word("--engine", args->engine, "plain|blas", &engine, err) ||
        mr_value_word("--dispatch", args->dispatch, "grouped|naive", &dispatch, err))
        return MR_USAGE;
    o->precision = precision == 1 ? MR_F64_RUN : MR_F32_RUN;
    o->engine = (mr_engine)engine;
    o->dispatch = (mr_dispatch)dispatch;
    c->storage = precision == 2 ? MR_STORE_BF16 : precision == 3 ? MR_STORE_F16 : MR_STORE_WIDE;
    return MR_OK;
}

/* Word number n of "a|b|c". */
static json_t *word(const char *words, int n) {
    while (n-- > 0) words = strchr(words, '|') + 1;
    return json_stringn(words, strcspn(words, "|"));
}

static json_t *windows_json(const mr_config *c) {
    if (c->n_windows == 0) return json_null();
    json_t *list = json_array();
    for (idx i = 0; i < c->n_windows; i++)
        json_array_append_new(list, c->windows[i] > 0 ? json_integer(c->windows[i]) : json_null());
    if (c->n_windows > 1) return list;
    json_t *only = json_incref(json_array_get(list, 0));
    json_decref(list);
    return only;
}

json_t *mr_config_json(const mr_config *c) {
    json_t *config = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:b,s:o}", "dim", (json_int_t)c->dim, "n_layers",
        (json_int_t)c->n_layers, "head_dim", (json_int_t)c->head_dim, "hidden_dim",
        (json_int_t)c->hidden_dim, "n_heads", (json_int_t)c->n_heads, "n_kv_heads",
        (json_int_t)c->n_kv_heads, "vocab_size", (json_int_t)c->vocab_size, "norm_eps", c->norm_eps,
        "rope_theta", c->rope_theta, "tied_embeddings", c->tied_embeddings, "sliding_window",
        windows_json(c));
    if (c->n_experts > 0)
        json_object_set_new(config, "moe",
                            json_pack("{s:I,s:I}", "num_experts", (json_int_t)c->n_experts,
                                      "num_experts_per_tok", (json_int_t)c->n_experts_per_tok));
    if (c->n_labels > 0)
        json_object_set_new(config, "n_labels", json_integer((json_int_t)c->n_labels));
    json_object_set_new(config, "conventions",
                        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:f,s:o}", "window_rule",
                                  word(window_rules, (int)c->window_rule), "rope_layout",
                                  word(layouts, (int)c->rope_layout), "rope_angles",
                                  word(angle_words, (int)c->rope_angles), "storage",
                                  word(storages, (int)c->storage), "convention",
                                  word(conventions, (int)c->convention), "attention_rounding",
                                  word(roundings, (int)c->attention_rounding), "router_order",
                                  word(router_orders, (int)c->router_order), "router_weights_wide",
                                  c->router_weights_wide, "expert_order",
                                  word(expert_orders, (int)c->expert_order), "capacity_factor",
                                  c->capacity_factor, "capacity_rank",
                                  word(capacity_ranks, (int)c->capacity_rank)));
    return config;
}
