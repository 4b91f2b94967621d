/* The table of parameters, expanded once into rows with numbers and walked by index. */
#include "weights/names.h"

#include <assert.h>
#include <stdio.h>

/* Appends a row and counts it in its group; rows of one scope are numbered from 0. */
static void add(mr_names *names, mr_kind kind) {
    assert(names->kinds < MR_KINDS);
    const mr_kind *last = names->kinds > 0 ? &names->kind[names->kinds - 1] : NULL;
    kind.row = last != NULL && last->scope == kind.scope ? last->row + 1 : 0;
    names->kind[names->kinds++] = kind;
    if (kind.scope == MR_IN_MODEL)       names->per_model++;
    else if (kind.scope == MR_IN_EXPERT) names->per_expert++;
    else                                 names->per_layer++;
}

void mr_names_init(mr_names *names, const mr_config *c) {
    const idx d = c->dim, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const idx F = c->hidden_dim, V = c->vocab_size, E = c->n_experts;
    const idx N = c->n_labels;
    const bool sparse = E > 0;
    *names = (mr_names){.layers = c->n_layers, .experts = E};

/* Row order of the file: model, layer, moe, dense, expert; so each group below is contiguous. */
#define ROW(scope, owner, field, native, hf, rank, rows, cols) \
    add(names, (mr_kind){scope, 0, offsetof(owner, field), native, hf, rank, rows, cols});
#define MODEL(field, native, hf, rank, rows, cols) \
    if (offsetof(mr_model, field) != offsetof(mr_model, output) || \
        (!c->tied_embeddings && N == 0)) \
        ROW(MR_IN_MODEL, mr_model, field, native, hf, rank, rows, cols)
#define SCORE(field, native, hf, rank, rows, cols) \
    if (N > 0) ROW(MR_IN_MODEL, mr_model, field, native, hf, rank, rows, cols)
#define LAYER(field, native, hf, rank, rows, cols) \
    ROW(MR_IN_LAYER, mr_layer, field, native, hf, rank, rows, cols)
#define MOE(field, native, hf, rank, rows, cols) \
    if (sparse) ROW(MR_IN_MOE, mr_layer, field, native, hf, rank, rows, cols)
#define DENSE(field, native, hf, rank, rows, cols) \
    if (!sparse) ROW(MR_IN_DENSE, mr_ffn, field, native, hf, rank, rows, cols)
#define EXPERT(field, native, hf, rank, rows, cols) \
    if (sparse) ROW(MR_IN_EXPERT, mr_ffn, field, native, hf, rank, rows, cols)
#include "ref/weights.def"
#undef ROW

    /* At most 2^31 layers of 3 * 65536 experts and 7 more: mr_config_check keeps this below
     * 2^63. */
    names->count = names->per_model +
                   names->layers * (names->per_layer + names->experts * names->per_expert);
}

/* Arithmetic instead of a list: a configuration of 2^31 layers takes no memory to walk. */
mr_param mr_names_at(const mr_names *names, idx i) {
    if (i < names->per_model) return (mr_param){&names->kind[i], 0, 0};
    const idx stride = names->per_layer + names->experts * names->per_expert;
    const idx layer = (i - names->per_model) / stride;
    const idx inside = (i - names->per_model) % stride;
    const mr_kind *kind = &names->kind[names->per_model];
    if (inside < names->per_layer) return (mr_param){kind + inside, layer, 0};
    const idx expert = (inside - names->per_layer) / names->per_expert;
    const idx row = (inside - names->per_layer) % names->per_expert;
    return (mr_param){kind + names->per_layer + row, layer, expert};
}

void mr_param_name(mr_param p, mr_layout layout, char *text) {
    const mr_kind *k = p.kind;
    const size_t size = MR_NAME_SIZE;
    const bool native = layout == MR_LAYOUT_NATIVE;
    const char *last = native ? k->native : k->hf;
    const char *layer = native ? "layers" : "model.layers";
    const char *experts = native ? "feed_forward.experts" : "block_sparse_moe.experts";
    if (k->scope == MR_IN_MODEL)
        snprintf(text, size, "%s", last);
    else if (k->scope == MR_IN_EXPERT)
        snprintf(text, size, "%s.%td.%s.%td.%s", layer, p.layer, experts, p.expert, last);
    else
        snprintf(text, size, "%s.%td.%s", layer, p.layer, last);
}

/* The offset is into the struct that the scope says; w1, w2, w3 of a dense layer are expert 0. */
mr_matrix *mr_param_matrix(mr_model *model, mr_param p) {
    const mr_scope scope = p.kind->scope;
    mr_layer *layer = scope == MR_IN_MODEL ? NULL : &model->layers[p.layer];
    void     *owner = model;
    if (scope == MR_IN_LAYER || scope == MR_IN_MOE)    owner = layer;
    if (scope == MR_IN_DENSE || scope == MR_IN_EXPERT) owner = &layer->ffn[p.expert];
    return (mr_matrix *)((char *)owner + p.kind->offset);
}

idx mr_rotary_row(idx r, idx D, mr_rope_layout from, mr_rope_layout to) {
    const idx half = D / 2, head = r - r % D, k = r % D;
    if (from == to) return r;
    if (to == MR_HALF_SPLIT) return head + 2 * (k % half) + k / half;   /* i + t D/2 <- 2i + t */
    return head + k / 2 + (k % 2) * half;                               /* 2i + t <- i + t D/2 */
}

bool mr_param_rotary(mr_param p) {
    return p.kind->scope == MR_IN_LAYER &&
           (p.kind->offset == offsetof(mr_layer, wq) || p.kind->offset == offsetof(mr_layer, wk));
}
