/* Hyper-parameters of the family and every convention on which sources disagree (docs/MODEL.md,
 * section "Conventions").
 * Letters used everywhere: d dim, L layers, H query heads, G kv heads, D head_dim, F hidden_dim, V
 * vocabulary, E experts, K experts per token, N labels, W window, T new tokens, S keys. */
#ifndef MR_REF_CONFIG_H
#define MR_REF_CONFIG_H

#include "ref/base.h"

#define MR_MAX_WINDOWS 256   /* longest list-valued sliding_window */
#define MR_MAX_HEAD_DIM 4096

/* Which keys j a query at position i may see, besides belonging to the same sequence. */
typedef enum {
    MR_WINDOW_SWA,        /* 0 <= i-j <  W   default: W keys, itself included */
    MR_WINDOW_INCLUSIVE,  /* 0 <= i-j <= W   Mistral 7B paper's text: W+1 keys */
    MR_WINDOW_LONGFORMER  /* |i-j| <= W/2    Longformer: symmetric, not causal */
} mr_window_rule;

/* pairs (2i, 2i+1) or (i, i+D/2) */
typedef enum { MR_INTERLEAVED, MR_HALF_SPLIT } mr_rope_layout;
/* angle formed in float32, or in double */
typedef enum { MR_ANGLES_F32, MR_ANGLES_EXACT } mr_rope_angles;
/* what activations and weights are rounded to */
typedef enum { MR_STORE_WIDE, MR_STORE_BF16, MR_STORE_F16 } mr_storage;
/* whose rounding points, see mr_config_follow */
typedef enum { MR_NATIVE, MR_HF } mr_convention;
/* round scores and probs, or only the output */
typedef enum { MR_ATTENTION_EAGER, MR_ATTENTION_FUSED } mr_attention_rounding;
/* paper, or Hugging Face: softmax, top-k, renormalise */
typedef enum { MR_TOPK_SOFTMAX, MR_SOFTMAX_TOPK } mr_router_order;
/* order in which experts are summed */
typedef enum { MR_EXPERTS_ASCENDING, MR_EXPERTS_SLOTS } mr_expert_order;
/* MegaBlocks token-major, GShard slot-major */
typedef enum { MR_CAPACITY_TOKENS, MR_CAPACITY_SLOTS } mr_capacity_rank;

typedef struct {
    idx    dim, n_layers, head_dim, hidden_dim, n_heads, n_kv_heads, vocab_size;
    idx    n_labels;              /* rows of a reward head; 0: a language model */
    idx    n_experts;             /* E; 0 means a dense model */
    idx    n_experts_per_tok;     /* K; 0 in a dense model */
    idx    n_windows;             /* 0: no window; else windows[l % n_windows] holds for layer l */
    idx    windows[MR_MAX_WINDOWS];   /* keys; 0 in the list: that layer attends everywhere */
    double norm_eps, rope_theta;
    bool   tied_embeddings;       /* output head is the embedding table */
    /* metadata of the file, never a limit; 0 when the file does not say */
    idx    max_positions;
    int32_t bos_id, eos_id;       /* -1 when the model has none */

    mr_window_rule        window_rule;
    /* of q and k in memory and in traces, whatever the file's rows are */
    mr_rope_layout        rope_layout;
    mr_rope_angles        rope_angles;
    mr_storage            storage;
    mr_convention         convention;
    mr_attention_rounding attention_rounding;
    mr_router_order       router_order;
    /* gate weights stay unrounded under 16-bit storage (Transformers 5) */
    bool                  router_weights_wide;
    mr_expert_order       expert_order;
    double                capacity_factor;     /* 0: dropless */
    mr_capacity_rank      capacity_rank;
} mr_config;

/* MR_BAD with a message that names the first broken rule, or MR_OK. `source` (a file name) opens
 * the message. */
mr_status mr_config_check(const mr_config *config, const char *source, mr_err *err);

/* Sets every field in which the two upstreams differ: native (Mistral's own code) or Hugging Face
 * (Transformers 5). */
void mr_config_follow(mr_config *config, mr_convention convention);

/* Window of layer l in keys; 0: none. */
idx mr_config_window(const mr_config *config, idx layer);

/* How many of the latest keys of layer l a later query can still see, itself included; 0: all of
 * them. */
idx mr_config_span(const mr_config *config, idx layer);

/* Exact sizes, spec of the formulas: docs/MODEL.md (Z1)-(Z6). Counts of parameters, FLOPs and
 * elements. */
typedef struct {
    int64_t attention, ffn;        /* parameters per layer; ffn of one SwiGLU block or one expert */
    /* parameters; active: K of E experts, embedding table counted whole */
    int64_t total, active;
    int64_t flops_token;           /* forward FLOPs per token without the attention term */
    int64_t flops_key;             /* attention FLOPs per token and attended key, all layers */
    int64_t cache_token;           /* cache elements per cached token, all layers */
} mr_sizes;

mr_sizes mr_config_sizes(const mr_config *config);

/* Cache elements of one sequence after `tokens` tokens (windows bound it). */
int64_t mr_config_cache(const mr_config *config, idx tokens);

#endif
