/* mask: which keys every token sees, and what the ring holds after every chunk. */
#include "cli/cli.h"

#include <stdio.h>

typedef struct {
    idx       tokens, window, chunk, span;
    mr_config config;   /* only its window fields are used */
} plan;

static mr_status read_plan(const mr_args *args, plan *p, mr_err *err) {
    int64_t tokens = 0, chunk;
    if (args->tokens == NULL) return mr_fail(err, MR_USAGE, "mask: --tokens T is needed");
    if (mr_value_int("--tokens", args->tokens, 1, 4096, &tokens, err)) return MR_USAGE;
    chunk = tokens;
    if (mr_value_int("--chunk", args->chunk, 1, tokens, &chunk, err)) return MR_USAGE;
    p->config = (mr_config){.dim = 1,
                            .n_layers = 1,
                            .head_dim = 2,
                            .hidden_dim = 1,
                            .n_heads = 1,
                            .n_kv_heads = 1,
                            .vocab_size = 1,
                            .rope_theta = 1};
    if (mr_override(args, &p->config, err)) return err->code;
    p->tokens = (idx)tokens;
    p->chunk = (idx)chunk;
    p->window = mr_config_window(&p->config, 0);
    p->span = mr_config_span(&p->config, 0) > 0 ? mr_config_span(&p->config, 0) : p->tokens;
    if (p->config.window_rule == MR_WINDOW_LONGFORMER && p->window > 0 && p->chunk < p->tokens)
        return mr_fail(
            err, MR_USAGE,
            "mask: the longformer rule looks ahead, so --chunk must be at least --tokens");
    return MR_OK;
}

static bool sees(const plan *p, idx i, idx j) {
    idx from, to;
    const idx chunk_end = i / p->chunk * p->chunk + p->chunk;
    mr_mask_range(p->config.window_rule, p->window, i,
                  chunk_end < p->tokens ? chunk_end : p->tokens, &from, &to);
    return j >= from && j < to;
}

/* Position in slot s of the ring after n tokens, -1 while empty. */
static idx slot_position(const plan *p, idx s, idx n) {
    const idx last = (n - 1 - s) / p->span * p->span + s;
    return s < n ? last : -1;
}

static void print_text(const plan *p) {
    for (idx i = 0; i < p->tokens; i++) {
        for (idx j = 0; j < p->tokens; j++) putchar(sees(p, i, j) ? '#' : '.');
        const bool end = (i + 1) % p->chunk == 0 || i + 1 == p->tokens;
        if (end && p->chunk < p->tokens) {
            printf("   ring:");
            for (idx s = 0; s < p->span; s++) printf(" %td", slot_position(p, s, i + 1));
        }
        putchar('\n');
    }
}

static json_t *document(const plan *p) {
    json_t *rows = json_array(), *chunks = json_array();
    for (idx i = 0; i < p->tokens; i++) {
        json_t *row = json_array();
        for (idx j = 0; j < p->tokens; j++) json_array_append_new(row, json_integer(sees(p, i, j)));
        json_array_append_new(rows, row);
    }
    for (idx first = 0; first < p->tokens; first += p->chunk) {
        const idx end = first + p->chunk < p->tokens ? first + p->chunk : p->tokens;
        json_t *ring = json_array();
        for (idx s = 0; s < p->span; s++)
            json_array_append_new(ring, json_integer(slot_position(p, s, end)));
        json_array_append_new(chunks,
                              json_pack("{s:I,s:I,s:o}", "first", (json_int_t)first, "count",
                                        (json_int_t)(end - first), "cache_pos", ring));
    }
    json_t *config = mr_config_json(&p->config);
    json_t *rule = json_incref(
        json_object_get(json_object_get(config, "conventions"), "window_rule"));
    json_decref(config);
    return json_pack("{s:I,s:o,s:o,s:o,s:o}", "tokens", (json_int_t)p->tokens, "window",
                     p->window > 0 ? json_integer(p->window) : json_null(), "rule", rule, "mask",
                     rows, "chunks", chunks);
}

mr_status mr_cmd_mask(const mr_args *args, mr_err *err) {
    plan p;
    if (read_plan(args, &p, err)) return err->code;
    if (args->json) return mr_print_json(document(&p), err);
    print_text(&p);
    return MR_OK;
}
