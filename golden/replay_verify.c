/* The walk of a verification: the whole model in double beside the port's trace. */
#include "golden/replay_verify.h"

#include <string.h>

#include "golden/replay_state.h"

static mr_bounded take(double **pool, idx n) {
    const mr_bounded x = {*pool, *pool + n, *pool + 2 * n};
    *pool += 3 * n;
    return x;
}

/* One block for all numbers, one for all indices. */
static mr_status make_room(mr_walk *w, double **numbers, idx **indices, mr_err *err) {
    const mr_config *c = w->c;
    const idx T = w->T, d = c->dim, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const idx K = c->n_experts_per_tok, E = c->n_experts, F = c->hidden_dim;
    const idx widest = F > d ? (F > H * D ? F : H * D) : (d > H * D ? d : H * D);
    const idx sizes[] = {T * d, T * d, T * H * D, T * G * D, T * G * D, w->S, T * H * D,
                         T * d, T * F, T * F, T * F, T * E, T * K, K, T * d, T * K * d,
                         T * w->model->output.rows};
    mr_bounded *const into[] = {&w->x, &w->normed, &w->q, &w->k, &w->v, &w->scores, &w->attention,
                                &w->out_row, &w->w1, &w->w3, &w->act, &w->logits, &w->gates,
                                &w->kept, &w->expert_in, &w->expert_out, &w->head};
    idx total = mr_trace_largest(w->port) + 2 * widest;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += 3 * sizes[i];
    double *pool = *numbers = mr_alloc(total, sizeof *pool, err);
    idx *at = *indices = mr_alloc(4 * T + w->S + 3 * T * K + E + 1, sizeof *at, err);
    if (pool == NULL || at == NULL) return MR_BAD;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) *into[i] = take(&pool, sizes[i]);
    w->room = pool;
    w->recorded = pool + 2 * widest;
    w->column = at, w->place = at + T, w->call = at + 2 * T, w->call_end = at + 3 * T;
    w->keys = at + 4 * T, w->copy = w->keys + w->S, w->put = w->copy + T * K;
    w->bin = w->put + T * K;
    w->position_q = mr_alloc(2 * T, sizeof *w->position_q, err);
    w->kind = mr_alloc(T, sizeof *w->kind, err);
    w->experts = mr_alloc(T * K, sizeof *w->experts, err);
    if (w->position_q == NULL || w->kind == NULL || w->experts == NULL) return MR_BAD;
    w->position_k = w->position_q + T;
    return MR_OK;
}

/* A hypothesis with one fault left explains nothing: what comes after does not matter. */
static bool refuted(const mr_walk *w) { return w->fault->name[0] != '\0' && w->out->faults > 0; }

static void walk(mr_walk *w) {
    const mr_model *m = w->model;
    const mr_config *c = w->c;
    const idx T = w->T, row[] = {T, c->dim}, logits[] = {T, m->output.rows};   /* V, or labels */
    mr_bound_embedding(w->x, w->meta->tokens, &m->tok_embeddings, T, w->a);
    mr_replay_step(w, -1, "tok_embeddings", w->x, 2, row);
    for (idx l = 0; l < c->n_layers && w->err->code == MR_OK && !refuted(w); l++) {
        mr_walk_attention(w, l);
        mr_walk_ffn(w, l);
    }
    mr_walk_norm(w, &m->norm);
    mr_replay_step(w, -1, "norm", w->normed, 2, row);
    mr_bound_linear(w->head, w->normed, w->fault->embedding_head ? &m->tok_embeddings : &m->output,
                    T, w->a, w->room);
    if (w->fault->logits != MR_STORE_WIDE)
        mr_walk_round(w->head, mr_count(2, logits), w->fault->logits);
    mr_replay_step(w, -1, "logits", w->head, 2, logits);
}

static mr_status check_tokens(const mr_walk *w, mr_err *err) {
    for (idx t = 0; t < w->T; t++)
        if (w->meta->tokens[t] < 0 || w->meta->tokens[t] >= w->c->vocab_size)
            return mr_fail(err, MR_BAD,
                           "the port's token %td has id %ld, outside the vocabulary of "
                           "%td; is this its model?",
                           t, (long)w->meta->tokens[t], w->c->vocab_size);
    if (w->c->n_experts_per_tok > 64 || w->c->n_experts > 1024)
        return mr_fail(err, MR_BAD, "at most 1024 experts, 64 per token, can be verified");
    return MR_OK;
}

/* bf16 read as f16 or the other way round. */
static void misread(mr_matrix *m) {
    if (m->dtype == MR_BF16) m->dtype = MR_F16;
    else if (m->dtype == MR_F16) m->dtype = MR_BF16;
}

/* A copy of the model that reads every 16-bit weight as the other type; layers in one block. */
static mr_status misread_model(const mr_model *model, mr_model *out, void **block, mr_err *err) {
    const mr_config *c = &model->config;
    const idx blocks = c->n_experts > 0 ? c->n_experts : 1;
    mr_layer *layers = mr_alloc(c->n_layers, sizeof *layers, err);
    mr_ffn *ffn = mr_alloc(c->n_layers * blocks, sizeof *ffn, err);
    block[0] = layers, block[1] = ffn;
    if (layers == NULL || ffn == NULL) return MR_BAD;
    *out = *model;
    out->layers = layers;
    misread(&out->tok_embeddings), misread(&out->norm), misread(&out->output);
    for (idx l = 0; l < c->n_layers; l++, ffn += blocks) {
        layers[l] = model->layers[l];
        mr_matrix *const all[] = {&layers[l].attention_norm, &layers[l].wq, &layers[l].wk,
                                  &layers[l].wv, &layers[l].wo, &layers[l].ffn_norm,
                                  &layers[l].gate};
        for (int i = 0; i < 7; i++) misread(all[i]);
        memcpy(ffn, model->layers[l].ffn, (size_t)blocks * sizeof *ffn);
        for (idx e = 0; e < blocks; e++)
            misread(&ffn[e].w1), misread(&ffn[e].w2), misread(&ffn[e].w3);
        layers[l].ffn = ffn;
    }
    return MR_OK;
}

mr_status mr_verify(const mr_model *model, const mr_meta *meta, mr_trace *port,
                    const mr_arithmetic *a, const mr_fault *fault, mr_verification *out,
                    mr_err *err) {
    return mr_verify_watched(model, meta, port, a, fault, NULL, out, err);
}

mr_status mr_verify_watched(const mr_model *model, const mr_meta *meta, mr_trace *port,
                            const mr_arithmetic *a, const mr_fault *fault, const mr_watch *watch,
                            mr_verification *out, mr_err *err) {
    const mr_fault none = {.config = model->config};
    mr_err inner = {0};
    double *numbers = NULL;
    idx *indices = NULL;
    mr_walk w = {.model = model, .fault = fault != NULL ? fault : &none, .meta = meta, .port = port,
                 .a = a, .watch = watch, .out = out, .err = &inner, .T = meta->count,
                 .S = meta->count};
    memset(out, 0, sizeof *out);
    out->first = -1;
    w.c = &w.fault->config;
    mr_model other;
    void *block[2] = {NULL, NULL};
    if (w.fault->other_half && misread_model(model, &other, block, &inner) == MR_OK)
        w.model = &other;
    if (inner.code == MR_OK && check_tokens(&w, &inner) == MR_OK &&
        make_room(&w, &numbers, &indices, &inner) == MR_OK) {
        mr_place_tokens(&w);
        mr_place_rotations(&w);
        walk(&w);
    }
    mr_free(block[0]);
    mr_free(block[1]);
    mr_free(numbers);
    mr_free(indices);
    mr_free(w.position_q);
    mr_free(w.kind);
    mr_free(w.experts);
    if (inner.code != MR_OK) return mr_fail(err, inner.code, "%s", inner.text);
    if (out->count == 0) return MR_MISSING;
    if (out->faults > 0) return MR_DISAGREE;
    return out->nothing == out->count ? MR_PROVES_NOTHING : MR_OK;
}

void mr_verification_free(mr_verification *v) {
    mr_free(v->list);
    memset(v, 0, sizeof *v);
}
