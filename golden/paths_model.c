/* Sizes and conventions of a model from a trace's meta; its matrices have shapes and no data. */
#include "golden/paths_model.h"

#include <stdio.h>
#include <string.h>

#include "weights/config_parts.h"

static mr_matrix shape(idx rows, idx cols) {
    return (mr_matrix){NULL, MR_F32, rows, cols, cols, 1};
}

static void shape_layer(mr_layer *layer, const mr_config *c) {
    const idx d = c->dim, q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const idx blocks = c->n_experts > 0 ? c->n_experts : 1;
    layer->attention_norm = layer->ffn_norm = shape(1, d);
    layer->wq = shape(q, d);
    layer->wk = layer->wv = shape(kv, d);
    layer->wo = shape(d, q);
    layer->gate = shape(c->n_experts, d);
    for (idx e = 0; e < blocks; e++)
        layer->ffn[e] = (mr_ffn){shape(c->hidden_dim, d), shape(d, c->hidden_dim),
                                 shape(c->hidden_dim, d)};
}

/* `trace` also writes what its options made of the window. */
static void read_rule(const json_t *config, mr_config *out) {
    static const char *const rules[] = {"swa", "swa-inclusive", "longformer"};
    const json_t *conventions = json_object_get(config, "conventions");
    const char *rule = json_string_value(json_object_get(conventions, "window_rule"));
    for (int i = 0; rule != NULL && i < 3; i++)
        if (strcmp(rule, rules[i]) == 0) out->window_rule = (mr_window_rule)i;
}

static mr_status read_config(const char *source, const char *meta, mr_config *out, mr_err *err) {
    json_t *json = NULL;
    char where[300];
    if (meta[0] == '\0' || mr_json_text(source, meta, (idx)strlen(meta), &json, NULL) != MR_OK)
        return mr_fail(err, MR_MISSING, "%s: has no meta to tell the model's sizes", source);
    const json_t *config = json_object_get(json, "config");
    snprintf(where, sizeof where, "%.200s: meta: config", source);
    const mr_status status = json_object_size(config) > 0
                                 ? mr_config_read_json(config, where, out, err)
                                 : mr_fail(err, MR_MISSING, "%s is absent", where);
    if (status == MR_OK) read_rule(config, out);
    json_decref(json);
    return status;
}

mr_status mr_bare_model_open(const char *source, const char *meta, mr_model *out, mr_err *err) {
    memset(out, 0, sizeof *out);
    const mr_status status = read_config(source, meta, &out->config, err);
    if (status != MR_OK) return status;
    const mr_config *c = &out->config;
    const idx blocks = c->n_experts > 0 ? c->n_experts : 1;
    out->layers = mr_alloc(c->n_layers, (idx)sizeof *out->layers, err);
    mr_ffn *all = mr_alloc(c->n_layers * blocks, (idx)sizeof *all, err);
    if (out->layers == NULL || all == NULL) {
        mr_free(all);
        mr_free(out->layers);
        return MR_BAD;
    }
    for (idx l = 0; l < c->n_layers; l++) {
        out->layers[l].ffn = all + l * blocks;
        shape_layer(&out->layers[l], c);
    }
    out->tok_embeddings = shape(c->vocab_size, c->dim);
    out->output = shape(c->n_labels > 0 ? c->n_labels : c->vocab_size, c->dim);
    out->norm = shape(1, c->dim);
    return MR_OK;
}

void mr_bare_model_close(mr_model *model) {
    if (model->layers != NULL) mr_free(model->layers[0].ffn);
    mr_free(model->layers);
    memset(model, 0, sizeof *model);
}
