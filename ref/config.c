/* Hyper-parameters: the rules they obey and the sizes that follow from them. */
#include "ref/config.h"

#include <math.h>

static mr_status broken(mr_err *err, const char *source, const char *rule, idx found) {
    return mr_fail(err, MR_BAD, "%s: expected %s, found %td; correct the configuration", source,
                   rule, found);
}

/* Sizes stay below 2^31 each, so that products of three fit 64 bits with room to spare. */
static mr_status check_size(idx value, const char *rule, const char *source, mr_err *err) {
    return value >= 1 && value <= INT32_MAX ? MR_OK : broken(err, source, rule, value);
}

static mr_status check_sizes(const mr_config *c, const char *source, mr_err *err) {
    const struct { idx value; const char *rule; } sizes[] = {
        {c->dim, "dim (hidden_size) of 1 or more"},
        {c->n_layers, "n_layers (num_hidden_layers) of 1 or more"},
        {c->head_dim, "head_dim of 1 or more"},
        {c->hidden_dim, "hidden_dim (intermediate_size) of 1 or more"},
        {c->n_heads, "n_heads (num_attention_heads) of 1 or more"},
        {c->n_kv_heads, "n_kv_heads (num_key_value_heads) of 1 or more"},
        {c->vocab_size, "vocab_size of 1 or more"},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (check_size(sizes[i].value, sizes[i].rule, source, err)) return MR_BAD;
    return MR_OK;
}

static mr_status check_heads(const mr_config *c, const char *source, mr_err *err) {
    if (c->head_dim % 2 != 0 || c->head_dim > MR_MAX_HEAD_DIM)
        return broken(err, source, "an even head_dim of at most 4096 (rotary pairs)", c->head_dim);
    if (c->n_heads % c->n_kv_heads != 0)
        return mr_fail(err, MR_BAD,
                       "%s: n_heads %td is not a multiple of n_kv_heads %td; every KV head "
                       "serves the same number of query heads",
                       source, c->n_heads, c->n_kv_heads);
    return MR_OK;
}

/* The products that sizes are made of (mr_config_sizes) stay far from 2^63. */
static mr_status check_products(const mr_config *c, const char *source, mr_err *err) {
    const idx limit = MR_IDX_MAX / 64, experts = c->n_experts > 0 ? c->n_experts : 1;
    const idx ffn[] = {c->n_layers, experts, c->hidden_dim, c->dim},
              attention[] = {c->n_layers, c->n_heads, c->head_dim, c->dim};
    const idx table[] = {c->vocab_size, c->dim}, width[] = {c->n_heads, c->head_dim};
    const idx counts[] = {mr_count(4, ffn), mr_count(4, attention), mr_count(2, table),
                          mr_count(2, width)};
    for (int i = 0; i < 4; i++)
        if (counts[i] < 0 || counts[i] > (i == 3 ? INT32_MAX : limit))
            return mr_fail(err, MR_BAD,
                           "%s: sizes overflow (dim %td, %td layers, %td heads of %td, hidden_dim "
                           "%td, vocab_size "
                           "%td, %td experts); correct the configuration",
                           source, c->dim, c->n_layers, c->n_heads, c->head_dim, c->hidden_dim,
                           c->vocab_size, c->n_experts);
    return MR_OK;
}

static mr_status check_labels(const mr_config *c, const char *source, mr_err *err) {
    if (c->n_labels < 0 || c->n_labels > c->vocab_size)   /* a row of logits has room for V */
        return broken(err, source, "0 labels (a language model) to vocab_size", c->n_labels);
    if (c->n_labels > 0 && c->tied_embeddings)
        return mr_fail(err, MR_BAD, "%s: a model with labels has a head of its own; "
                       "tie_word_embeddings must be false", source);
    return MR_OK;
}

static mr_status check_windows(const mr_config *c, const char *source, mr_err *err) {
    if (c->n_windows < 0 || c->n_windows > MR_MAX_WINDOWS)
        return broken(err, source, "at most 256 entries of sliding_window", c->n_windows);
    if (c->n_windows > 0 && c->n_layers % c->n_windows != 0)
        return mr_fail(err, MR_BAD,
                       "%s: sliding_window lists %td entries, which do not divide %td layers",
                       source, c->n_windows, c->n_layers);
    for (idx i = 0; i < c->n_windows; i++)
        if (c->windows[i] < 0 || c->windows[i] > INT32_MAX)
            return broken(err, source, "sliding_window of 1 or more, or null for none",
                          c->windows[i]);
    return MR_OK;
}

static mr_status check_experts(const mr_config *c, const char *source, mr_err *err) {
    if (c->n_experts < 0 || c->n_experts > 65536)
        return broken(err, source, "0 to 65536 experts", c->n_experts);
    if (c->n_experts == 0)
        return c->n_experts_per_tok == 0
                   ? MR_OK
                   : broken(err, source, "no experts per token in a dense model",
                            c->n_experts_per_tok);
    if (c->n_experts_per_tok < 1 || c->n_experts_per_tok > c->n_experts)
        return mr_fail(err, MR_BAD,
                       "%s: expected 1 to %td experts per token (num_experts_per_tok), found %td",
                       source, c->n_experts, c->n_experts_per_tok);
    if (!(c->capacity_factor >= 0) || !isfinite(c->capacity_factor))
        return mr_fail(err, MR_BAD,
                       "%s: expected a capacity factor of 0 (dropless) or more, found %g", source,
                       c->capacity_factor);
    return MR_OK;
}

mr_status mr_config_check(const mr_config *c, const char *source, mr_err *err) {
    if (check_sizes(c, source, err) || check_heads(c, source, err) ||
        check_windows(c, source, err) || check_experts(c, source, err) ||
        check_labels(c, source, err) ||
        check_products(c, source, err))
        return MR_BAD;
    if (!(c->norm_eps >= 0) || !(c->norm_eps < 1))
        return mr_fail(err, MR_BAD, "%s: expected norm_eps (rms_norm_eps) in [0,1), found %g",
                       source, c->norm_eps);
    if (!(c->rope_theta > 0) || !isfinite(c->rope_theta))
        return mr_fail(err, MR_BAD, "%s: expected rope_theta above 0, found %g", source,
                       c->rope_theta);
    return MR_OK;
}

void mr_config_follow(mr_config *c, mr_convention convention) {
    /* rounding of cos, sin and products (R1) */
    c->convention = convention;
    c->router_order = convention == MR_HF ? MR_SOFTMAX_TOPK : MR_TOPK_SOFTMAX;
    c->router_weights_wide = convention == MR_HF;
    c->expert_order = MR_EXPERTS_ASCENDING;
}

idx mr_config_window(const mr_config *c, idx layer) {
    return c->n_windows > 0 ? c->windows[layer % c->n_windows] : 0;
}

/* The window's own rule says how many of the latest keys are still visible to the next query
 * (ref/mask.h). */
idx mr_config_span(const mr_config *c, idx layer) {
    const idx window = mr_config_window(c, layer);
    if (window == 0 || c->window_rule == MR_WINDOW_LONGFORMER) return 0;
    return c->window_rule == MR_WINDOW_INCLUSIVE ? window + 1 : window;
}

mr_sizes mr_config_sizes(const mr_config *c) {
    const int64_t d = c->dim, L = c->n_layers, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const int64_t F = c->hidden_dim, V = c->vocab_size, E = c->n_experts, K = c->n_experts_per_tok;
    mr_sizes s;
    s.attention = 2 * d * H * D + 2 * d * G * D;                    /* (Z1) wq and wo, wk and wv */
    s.ffn = 3 * d * F;                                              /* (Z2) w1, w2, w3 */
    const int64_t router = E * d, head = (c->n_labels > 0 ? c->n_labels : V) * d;
    const int64_t tables = V * d + d + (c->tied_embeddings ? 0 : head);
    const int64_t all = E ? E * s.ffn + router : s.ffn, hit = E ? K * s.ffn + router : s.ffn;
    s.total  = tables + L * (s.attention + 2 * d + all);            /* (Z3) */
    s.active = tables + L * (s.attention + 2 * d + hit);            /* (Z4) K of E experts */
    s.flops_token = 2 * (head + L * (s.attention + hit));          /* (Z5) embedding: a lookup */
    s.flops_key   = 4 * L * H * D;                                  /* q.k and P v */
    s.cache_token = 2 * L * G * D;                                  /* (Z6) k and v */
    return s;
}

int64_t mr_config_cache(const mr_config *c, idx tokens) {
    int64_t elements = 0;
    for (idx l = 0; l < c->n_layers; l++) {
        const idx span = mr_config_span(c, l);
        elements += (int64_t)(span > 0 && span < tokens ? span : tokens) * 2 * c->n_kv_heads *
                    c->head_dim;
    }
    return elements;
}
