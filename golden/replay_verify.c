/* The walk of a verification: the whole model in double beside the port's trace. */
#include "golden/replay_verify.h"

#include <string.h>

#include "golden/replay_state.h"

static mr_bounded take(double **pool, idx n) {
    const mr_bounded x = {*pool, *pool + n, *pool + 2 * n};
    *pool += 3 * n;
    return x;
}

static idx largest(const mr_trace *port) {
    idx most = 1;
    for (idx i = 0; i < mr_trace_count(port); i++) {
        const mr_tensor *t = mr_trace_tensor(port, i);
        if (mr_count(t->rank, t->dim) > most) most = mr_count(t->rank, t->dim);
    }
    return most;
}

/* One block for all numbers, one for all indices. */
static mr_status make_room(mr_walk *w, double **numbers, idx **indices, mr_err *err) {
    const mr_config *c = w->c;
    const idx T = w->T, d = c->dim, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const idx K = c->n_experts_per_tok, E = c->n_experts, F = c->hidden_dim;
    const idx widest = F > d ? (F > H * D ? F : H * D) : (d > H * D ? d : H * D);
    const idx sizes[] = {T * d, T * d, T * H * D, T * G * D, T * G * D, w->S, T * H * D, T * d,
                         T * F, T * F, T * F, T * E, T * K, T * d, T * K * d, T * c->vocab_size};
    mr_bounded *const into[] = {&w->x, &w->normed, &w->q, &w->k, &w->v, &w->scores, &w->attention,
                                &w->out_row, &w->w1, &w->w3, &w->act, &w->logits, &w->gates,
                                &w->expert_in, &w->expert_out, &w->head};
    idx total = largest(w->port) + 2 * widest;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += 3 * sizes[i];
    double *pool = *numbers = mr_alloc(total, sizeof *pool, err);
    idx *at = *indices = mr_alloc(4 * T + 3 * T * K + E + 1, sizeof *at, err);
    if (pool == NULL || at == NULL) return MR_BAD;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) *into[i] = take(&pool, sizes[i]);
    w->room = pool;
    w->recorded = pool + 2 * widest;
    w->column = at, w->place = at + T, w->copy = at + 2 * T, w->put = w->copy + T * K;
    w->bin = w->put + T * K;
    w->position = mr_alloc(T, sizeof *w->position, err);
    w->experts = mr_alloc(T * K, sizeof *w->experts, err);
    return w->position != NULL && w->experts != NULL ? MR_OK : MR_BAD;
}

/* Token t of the trace: which sequence, where in it, at which absolute position. */
static void place_tokens(mr_walk *w) {
    idx t = 0;
    for (idx b = 0; b < w->meta->n_seqs; b++)
        for (idx a = 0, base = t; a < w->meta->length[b]; a++, t++) {
            w->column[t] = base;
            w->place[t] = a;
            w->position[t] = w->meta->first[b] + a + w->fault->position_offset;
        }
}

static void walk(mr_walk *w) {
    const mr_model *m = w->model;
    const mr_config *c = w->c;
    const idx T = w->T, row[] = {T, c->dim}, logits[] = {T, c->vocab_size};
    mr_bound_embedding(w->x, w->meta->tokens, &m->tok_embeddings, T, w->a);
    mr_replay_step(w, -1, "tok_embeddings", w->x, 2, row);
    for (idx l = 0; l < c->n_layers && w->err->code == MR_OK; l++) {
        mr_walk_attention(w, l);
        mr_walk_ffn(w, l);
    }
    mr_bound_rmsnorm(w->normed, w->x, &m->norm, T, c->norm_eps, w->a);
    mr_replay_step(w, -1, "norm", w->normed, 2, row);
    mr_bound_linear(w->head, w->normed, w->fault->embedding_head ? &m->tok_embeddings : &m->output,
                    T, w->a, w->room);
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

mr_status mr_verify(const mr_model *model, const mr_meta *meta, mr_trace *port,
                    const mr_arithmetic *a, const mr_fault *fault, mr_verification *out,
                    mr_err *err) {
    const mr_fault none = {.config = model->config};
    mr_err inner = {0};
    double *numbers = NULL;
    idx *indices = NULL;
    mr_walk w = {.model = model, .fault = fault != NULL ? fault : &none, .meta = meta, .port = port,
                 .a = a, .out = out, .err = &inner, .T = meta->count, .S = meta->count};
    memset(out, 0, sizeof *out);
    out->first = -1;
    w.c = &w.fault->config;
    if (check_tokens(&w, &inner) == MR_OK && make_room(&w, &numbers, &indices, &inner) == MR_OK) {
        place_tokens(&w);
        walk(&w);
    }
    mr_free(numbers);
    mr_free(indices);
    mr_free(w.position);
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
