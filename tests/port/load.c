/* Weights into the fused matrices that the kernels want, from Hugging Face or native names. */
#include "tests/port/port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint.h"

typedef struct {
    const mr_tensors *set;
    port_model       *model;
    bool              hf;        /* names and rotary rows of the file */
    mr_err           *err;
} loader;

static float element(const mr_tensor *t, idx i) {
    const char *at = (const char *)t->data + i * mr_dtype_size(t->dtype);
    uint16_t half;
    double   wide;
    float    x;
    switch (t->dtype) {
    case MR_F64: memcpy(&wide, at, sizeof wide); return (float)wide;
    case MR_F32: memcpy(&x, at, sizeof x); return x;
    default: memcpy(&half, at, sizeof half);
    }
    if (bug(S29)) return port_f16_value(half);
    return t->dtype == MR_BF16 ? port_bf16_value(half) : port_f16_value(half);
}

/* `name` holds %td for layer and expert, which the caller gives in that order. */
static const mr_tensor *find(const loader *from, const char *hf, const char *native, idx layer,
                             idx expert, idx count) {
    char name[160];
    const mr_tensor *t;
    snprintf(name, sizeof name, from->hf ? hf : native, layer, expert);
    t = mr_tensors_find(from->set, name);
    if (t == NULL) mr_fail(from->err, MR_MISSING, "port: tensor %s is missing", name);
    else if (mr_count(t->rank, t->dim) != count)
        mr_fail(from->err, MR_BAD, "port: tensor %s has another size than the configuration says",
                name);
    else if (t->dtype > MR_BF16) mr_fail(from->err, MR_BAD, "port: tensor %s: no weight", name);
    else return t;
    return NULL;
}

static void take(const loader *from, float *to, idx count, const char *hf, const char *native,
                 idx layer, idx expert) {
    const mr_tensor *t = find(from, hf, native, layer, expert, count);
    for (idx i = 0; t != NULL && i < count; i++) to[i] = port_st(element(t, i));
}

/* Row of the file that holds row r of one head of D rows, when file and kernel pair differently. */
static idx other_row(idx r, idx D, bool half) {
    return half ? 2 * (r % (D / 2)) + r / (D / 2) : r / 2 + r % 2 * (D / 2);
}

/* wq or wk: the rows of every head as the rotary kernel pairs them. */
static void take_rotary(const loader *from, float *to, idx heads, const char *hf,
                        const char *native, idx layer) {
    const port_model *m = from->model;
    const idx         rows = heads * m->D;
    const mr_tensor  *t = find(from, hf, native, layer, 0, rows * m->d);
    idx D = m->D;
    if (bug(R02)) D = rows / m->H;      /* the count of query heads for keys too */
    if (D % 2 != 0 || D == 0 || rows % D != 0) {
        mr_fail(from->err, MR_USAGE, "port: R02 is a shape error with these sizes, not a bug");
        return;
    }
    for (idx r = 0; t != NULL && r < rows; r++) {
        const idx row = from->hf == m->half ? r : r / D * D + other_row(r % D, D, m->half);
        for (idx c = 0; c < m->d; c++) to[r * m->d + c] = port_st(element(t, row * m->d + c));
    }
}

static void load_attention(const loader *from, port_layer *layer, idx l) {
    const port_model *m = from->model;
    const idx q = m->H * m->D, kv = m->G * m->D;
    layer->attention_norm = port_floats(m->d);
    layer->ffn_norm       = port_floats(m->d);
    layer->qkv            = port_floats((q + 2 * kv) * m->d);
    layer->wo             = port_floats(m->d * q);
    take(from, layer->attention_norm, m->d, "model.layers.%td.input_layernorm.weight",
         "layers.%td.attention_norm.weight", l, 0);
    take(from, layer->ffn_norm, m->d, "model.layers.%td.post_attention_layernorm.weight",
         "layers.%td.ffn_norm.weight", l, 0);
    take_rotary(from, layer->qkv, m->H, "model.layers.%td.self_attn.q_proj.weight",
                "layers.%td.attention.wq.weight", l);
    take_rotary(from, layer->qkv + q * m->d, m->G, "model.layers.%td.self_attn.k_proj.weight",
                "layers.%td.attention.wk.weight", l);
    take(from, layer->qkv + (q + kv) * m->d, kv * m->d,
         "model.layers.%td.self_attn.v_proj.weight", "layers.%td.attention.wv.weight", l, 0);
    take(from, layer->wo, m->d * q, "model.layers.%td.self_attn.o_proj.weight",
         "layers.%td.attention.wo.weight", l, 0);
}

static void load_dense(const loader *from, port_layer *layer, idx l) {
    const idx size = from->model->F * from->model->d;
    layer->gate_up = port_floats(2 * size);
    layer->down    = port_floats(size);
    take(from, layer->gate_up, size, "model.layers.%td.mlp.gate_proj.weight",
         "layers.%td.feed_forward.w1.weight", l, 0);
    take(from, layer->gate_up + size, size, "model.layers.%td.mlp.up_proj.weight",
         "layers.%td.feed_forward.w3.weight", l, 0);
    take(from, layer->down, size, "model.layers.%td.mlp.down_proj.weight",
         "layers.%td.feed_forward.w2.weight", l, 0);
}

static void load_sparse(const loader *from, port_layer *layer, idx l) {
    const port_model *m = from->model;
    const idx size = m->F * m->d;
    layer->router  = port_floats(m->E * m->d);
    layer->gate_up = port_floats(2 * m->E * size);
    layer->down    = port_floats(m->E * size);
    take(from, layer->router, m->E * m->d, "model.layers.%td.block_sparse_moe.gate.weight",
         "layers.%td.feed_forward.gate.weight", l, 0);
    for (idx e = 0; e < m->E; e++) {
        float *up = layer->gate_up + 2 * e * size;
        take(from, up, size, "model.layers.%td.block_sparse_moe.experts.%td.w1.weight",
             "layers.%td.feed_forward.experts.%td.w1.weight", l, e);
        take(from, up + size, size, "model.layers.%td.block_sparse_moe.experts.%td.w3.weight",
             "layers.%td.feed_forward.experts.%td.w3.weight", l, e);
        take(from, layer->down + e * size, size,
             "model.layers.%td.block_sparse_moe.experts.%td.w2.weight",
             "layers.%td.feed_forward.experts.%td.w2.weight", l, e);
    }
}

static void load_head(const loader *from, bool tied) {
    port_model *m = from->model;
    const idx   count = m->V * m->d;
    m->embedding = port_floats(count);
    m->head      = port_floats(count);
    m->norm      = port_floats(m->d);
    take(from, m->embedding, count, "model.embed_tokens.weight", "tok_embeddings.weight", 0, 0);
    take(from, m->norm, m->d, "model.norm.weight", "norm.weight", 0, 0);
    if (!tied) take(from, m->head, count, "lm_head.weight", "output.weight", 0, 0);
    if ((tied && !bug(L02)) || (!tied && bug(L03)))
        memcpy(m->head, m->embedding, (size_t)count * sizeof *m->head);
    if (!tied && bug(L04))               /* an initialiser that runs after the loader */
        for (idx i = 0; i < count; i++) m->head[i] = port_st(0.02f * port_junk(i));
}

/* Window of layer l as this engine understands the configuration. */
static idx window_of(const mr_config *c, idx l) {
    idx window = c->n_windows > 0 ? c->windows[l % c->n_windows] : 0;
    if (bug(M08))
        for (idx i = 0; i < c->n_windows; i++)
            if (c->windows[i] > window) window = c->windows[i];
    if (bug(M06) && window == 0) window = 1;
    if (bug(M07) && window == 0) window = 5;   /* a default of other times; 4096 in real life */
    return window;
}

mr_status port_load(const char *folder, bool half, port_model *out, mr_err *err) {
    mr_checkpoint file;
    memset(out, 0, sizeof *out);
    if (mr_checkpoint_open(folder, &file, err)) return err->code;
    const mr_config *c = &file.model.config;
    const loader from = {&file.tensors, out,
                         mr_tensors_find(&file.tensors, "model.norm.weight") != NULL, err};
    *out = (port_model){.d = c->dim, .L = c->n_layers, .H = c->n_heads, .G = c->n_kv_heads,
                        .D = c->head_dim, .F = c->hidden_dim, .V = c->vocab_size,
                        .E = c->n_experts, .K = c->n_experts_per_tok, .eps = (float)c->norm_eps,
                        .theta = (float)c->rope_theta, .half = half, .eos = c->eos_id};
    out->layer = port_zeros(out->L, sizeof *out->layer);
    load_head(&from, c->tied_embeddings);
    for (idx l = 0; l < out->L; l++) {
        out->layer[l].window = window_of(c, l);
        load_attention(&from, &out->layer[l], l);
        if (out->E > 0) load_sparse(&from, &out->layer[l], l);
        else load_dense(&from, &out->layer[l], l);
    }
    mr_checkpoint_close(&file);
    return err->code;
}

void port_unload(port_model *model) {
    for (idx l = 0; model->layer != NULL && l < model->L; l++) {
        free(model->layer[l].attention_norm);
        free(model->layer[l].ffn_norm);
        free(model->layer[l].qkv);
        free(model->layer[l].wo);
        free(model->layer[l].router);
        free(model->layer[l].gate_up);
        free(model->layer[l].down);
    }
    free(model->layer);
    free(model->embedding);
    free(model->norm);
    free(model->head);
}
