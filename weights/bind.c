/* Binding tensors to a configuration: all there, none left over, shapes and types right; then
 * views, no copies. */
#include "weights/bind.h"

#include <stdio.h>
#include <string.h>

#include "weights/element.h"

/* A binding in progress. */
typedef struct {
    const mr_tensors *set;
    const mr_config  *config;
    mr_names          names;
    mr_storage_layout layout;
    bool             *used;      /* per tensor of the set: some parameter is a view of it */
    mr_err           *err;
} binding;

/* "[2, 3]" into text. */
static void shape_text(char *text, size_t size, int rank, const idx *dim) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i > 0 ? ", %td" : "%td", dim[i]);
    if (at < size) snprintf(text + at, size - at, "]");
}

/* Shape exactly as the table says, type one that products can read. */
static mr_status check_tensor(const binding *b, const mr_tensor *t, const mr_place *p) {
    bool same = t->rank == p->rank;
    for (int i = 0; i < p->rank && same; i++) same = t->dim[i] == p->dim[i];
    if (!same) {
        char expected[128], found[256];
        shape_text(expected, sizeof expected, p->rank, p->dim);
        shape_text(found, sizeof found, t->rank, t->dim);
        return mr_fail(b->err, MR_BAD, "%s: tensor '%s': expected %s found %s; the configuration "
                       "and the weights are of different models", b->set->source, p->name, expected,
                       found);
    }
    if (mr_element_float(t->dtype)) return MR_OK;
    return mr_fail(b->err, MR_BAD, "%s: tensor '%s' has dtype %s; expected F64, F32, F16 or BF16",
                   b->set->source, p->name, mr_dtype_name(t->dtype));
}

/* Finds and checks one parameter; *view gets it. */
static mr_status bind_one(const binding *b, mr_param param, mr_matrix *view) {
    const mr_place   p = mr_place_of(b->layout, b->config, param);
    const mr_tensor *t = mr_tensors_find(b->set, p.name);
    if (t == NULL)
        return mr_fail(b->err, MR_BAD, "%s: tensor '%s' is missing; the configuration asks for it",
                       b->set->source, p.name);
    if (check_tensor(b, t, &p)) return MR_BAD;
    b->used[t - b->set->tensor] = true;         /* several experts can share one tensor */
    *view = (mr_matrix){(const char *)t->data + p.start * mr_dtype_size(t->dtype), t->dtype,
                        param.kind->rows, param.kind->cols, p.row_stride, p.col_stride};
    return MR_OK;
}

/* A tied head may be in the file as well, if it is what the embedding is. When it differs,
 * programs disagree on what it means (some tie and drop it, Transformers 5 unties), so nobody is
 * believed. */
static mr_status check_tied_head(const binding *b) {
    const bool  native = b->layout.names == MR_LAYOUT_NATIVE;
    const char *head = native ? "output.weight" : "lm_head.weight";
    const mr_tensor *t = mr_tensors_find(b->set, head);
    if (t == NULL || !b->config->tied_embeddings) return MR_OK;
    const mr_tensor *e = mr_tensors_find(b->set, native ? "tok_embeddings.weight"
                                                        : "model.embed_tokens.weight");
    b->used[t - b->set->tensor] = true;
    if (t->dtype == e->dtype && t->rank == 2 && t->dim[0] == e->dim[0] && t->dim[1] == e->dim[1] &&
        memcmp(t->data, e->data, (size_t)mr_tensor_bytes(e)) == 0) return MR_OK;
    return mr_fail(b->err, MR_BAD, "%s: the configuration ties the output head to the embedding, "
                   "but tensor '%s' is there and differs from it; set tie_word_embeddings to false "
                   "or remove the tensor", b->set->source, head);
}

/* Old Hugging Face files carry the rotary frequencies, which everybody computes instead. */
static bool ignored(const char *name) {
    static const char ending[] = ".rotary_emb.inv_freq";
    const size_t length = strlen(name), tail = sizeof ending - 1;
    return length >= tail && strcmp(name + length - tail, ending) == 0;
}

/* A tensor without a place is never dropped in silence: it may be a bias, an adapter, another
 * layer. */
static mr_status check_surplus(const binding *b) {
    const char *first = NULL;
    idx         surplus = 0;
    for (idx i = 0; i < b->set->count; i++) {
        if (b->used[i] || ignored(b->set->tensor[i].name)) continue;
        if (surplus++ == 0) first = b->set->tensor[i].name;
    }
    if (surplus == 0) return MR_OK;
    const char *hint = strcmp(first, "score.weight") == 0
        ? "that is the head of a sequence classifier, which config.json says in architectures"
        : "the configuration and the weights are of different models";
    return mr_fail(b->err, MR_BAD, "%s: surplus tensor '%.200s'%s: the configuration has no place "
                   "for %td of the tensors; %s", b->set->source, first,
                   surplus > 1 ? " and others" : "", surplus, hint);
}

/* All checks, before anything is allocated from the configuration's numbers: the walk stops at the
 * first tensor that is not there, so a configuration of 2^31 layers costs no more than the file. */
static mr_status check_all(const binding *b) {
    mr_matrix view;
    for (idx i = 0; i < b->names.count; i++)
        if (bind_one(b, mr_names_at(&b->names, i), &view)) return MR_BAD;
    if (check_tied_head(b)) return MR_BAD;
    return check_surplus(b);
}

/* Layers, and one block of feed-forward parts that layers[0].ffn owns. */
static mr_status make_layers(mr_model *model, const mr_config *c, mr_err *err) {
    const idx blocks = c->n_experts > 0 ? c->n_experts : 1;
    idx total;
    if (!mr_mul(c->n_layers, blocks, &total))
        return mr_fail(err, MR_BAD, "%td layers of %td experts overflow", c->n_layers, blocks);
    model->layers = mr_alloc(c->n_layers, sizeof *model->layers, err);
    mr_ffn *ffn = mr_alloc(total, sizeof *ffn, err);
    if (model->layers == NULL || ffn == NULL) {
        mr_free(ffn);
        mr_free(model->layers);
        model->layers = NULL;
        return MR_BAD;
    }
    for (idx l = 0; l < c->n_layers; l++) model->layers[l].ffn = ffn + l * blocks;
    return MR_OK;
}

/* Checks first, views second: after make_layers nothing can fail any more but a bug. */
static mr_status bind_all(binding *b, mr_model *model) {
    if (mr_config_check(b->config, b->set->source, b->err)) return MR_BAD;
    if (mr_layout_find(b->set, &b->layout, b->err)) return MR_BAD;
    mr_names_init(&b->names, b->config);
    b->used = mr_alloc(b->set->count, sizeof *b->used, b->err);
    if (b->used == NULL || check_all(b) || make_layers(model, b->config, b->err)) return MR_BAD;
    for (idx i = 0; i < b->names.count; i++) {
        const mr_param param = mr_names_at(&b->names, i);
        if (bind_one(b, param, mr_param_matrix(model, param))) return MR_BAD;
    }
    if (b->config->tied_embeddings) model->output = model->tok_embeddings;
    model->qk_rows = b->layout.names == MR_LAYOUT_NATIVE ? MR_INTERLEAVED : MR_HALF_SPLIT;
    return MR_OK;
}

/* The set belongs to *out from the first line on, so that every failure releases it by one
 * close. */
mr_status mr_checkpoint_bind(mr_tensors *set, const mr_config *config, mr_checkpoint *out,
                             mr_err *err) {
    const mr_config copy = *config;             /* the caller's may be out->model.config */
    *out = (mr_checkpoint){.tensors = *set};
    *set = (mr_tensors){0};
    out->model.config = copy;
    binding b = {.set = &out->tensors, .config = &out->model.config, .err = err};
    mr_status status = bind_all(&b, &out->model);
    mr_free(b.used);
    if (status != MR_OK) mr_checkpoint_close(out);
    return status;
}

void mr_checkpoint_close(mr_checkpoint *checkpoint) {
    mr_model *model = &checkpoint->model;
    if (model->layers != NULL) mr_free(model->layers[0].ffn);
    mr_free(model->layers);
    mr_tensors_close(&checkpoint->tensors);
    *checkpoint = (mr_checkpoint){0};
}
