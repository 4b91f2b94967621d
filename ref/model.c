/* The whole model: embedding, L layers, final norm, output head. */
#include "ref/real.h"
#include "ref/state.h"

#include <string.h>

#include "ref/mask.h"
#include "ref/params.h"

/* ---- one call -------------------------------------------------------------------------------- */

/* Proves everything the equations rely on, before anything is changed. */
static mr_status check_call(const FN(run) *run, const int32_t *tokens, const idx *length,
                            mr_err *err) {
    const mr_config *c = &run->model->config;
    idx T = 0;
    for (idx b = 0; b < run->options.n_seqs; b++) {
        const idx seen = run->face.seen[b];
        if (length[b] < 0 || length[b] > run->capacity[b] - seen)
            return mr_fail(
                err, MR_BAD,
                "sequence %td: %td tokens after %td exceed its capacity of %td positions; "
                "open the run with more",
                b, length[b], seen, run->capacity[b]);
        if (c->window_rule == MR_WINDOW_LONGFORMER && c->n_windows > 0 && seen > 0 && length[b] > 0)
            return mr_fail(err, MR_BAD,
                           "sequence %td: the longformer rule looks ahead, so a sequence must come "
                           "in one call; "
                           "drop --chunk or use another window rule",
                           b);
        T += length[b];
    }
    if (T > run->options.max_tokens)
        return mr_fail(err, MR_BAD, "%td tokens in one call exceed max_tokens %td", T,
                       run->options.max_tokens);
    for (idx t = 0; t < T; t++)
        if (tokens[t] < 0 || tokens[t] >= c->vocab_size)
            return mr_fail(err, MR_BAD,
                           "token %td: id %ld is outside the vocabulary, expected 0 to %td", t,
                           (long)tokens[t], c->vocab_size - 1);
    return MR_OK;
}

static void place_tokens(FN(run) *run, const idx *length) {
    run->T = 0;
    for (idx b = 0; b < run->options.n_seqs; b++) {
        run->length[b] = length[b];
        for (idx a = 0; a < length[b]; a++)
            run->position[run->T++] = run->first[b] + run->face.seen[b] + a;
    }
}

/* The mask of every layer, once as "mask" when all layers share one window. */
static void show_masks(FN(run) *run) {
    const mr_config *c = &run->model->config;
    const idx n = c->n_windows > 1 ? c->n_layers : 1;
    for (idx l = 0; l < n; l++) {
        const idx name = n > 1 ? l : -1;
        if (!FN(wanted)(run, FN(T_mask), name, -1, run->T)) continue;
        mr_mask_fill(run->mask, c->window_rule, mr_config_window(c, l), run->options.n_seqs,
                     run->length, run->face.seen, run->column, run->columns);
        FN(show)(run, FN(T_mask), name, -1, run->T, run->mask);
    }
}

/* logits = output * norm, of every token or of each sequence's last one */
static void head(FN(run) *run) {
    const mr_model *m = run->model;
    const idx d = m->config.dim;
    idx rows = run->T;
    if (run->options.last_only) {
        rows = 0;
        for (idx b = 0, t = 0; b < run->options.n_seqs; b++) {
            t += run->length[b];
            if (run->length[b] > 0)
                memmove(run->norm + rows++ * d, run->norm + (t - 1) * d, (size_t)d * sizeof(real));
        }
    }
    FN(linear)(run->logits, run->norm, &m->output, rows, m->config.storage, run->options.engine,
               run->scratch);
    FN(keep)(run, FN(T_logits), -1, rows, run->logits);
    run->face.rows = rows;
}

static void clear_logit_slopes(FN(run) *run) {
    FN(clear)(run->d.logits, run->options.max_tokens * run->model->output.rows);
}

/* With train every call begins at the first token, and without a derivative by the logits. */
static void begin_again(FN(run) *run) {
    for (idx b = 0; b < run->options.n_seqs; b++) run->face.seen[b] = 0;
    clear_logit_slopes(run);
}

/* (B3) h = E[token]; L times (B1), (B2); logits = output RMSNorm(h)
 *                                               mistral-src one_file_ref.py, Transformer.forward */
static mr_status forward(mr_run *face, const int32_t *tokens, const idx *length, mr_err *err) {
    FN(run) *run = (FN(run) *)face;
    const mr_model *m = run->model;
    const mr_config *c = &m->config;
    if (run->options.train) begin_again(run);
    if (check_call(run, tokens, length, err)) return MR_BAD;
    place_tokens(run, length);
    if (run->options.train) memcpy(run->tokens, tokens, (size_t)run->T * sizeof *tokens);
    show_masks(run);
    FN(rope_table)(run->cos_, run->sin_, run->position, run->T, c->head_dim, c->rope_theta,
                   c->rope_angles);
    FN(embedding)(run->tok_embeddings, tokens, &m->tok_embeddings, run->T, c->storage);
    FN(keep)(run, FN(T_tok_embeddings), -1, run->T, run->tok_embeddings);
    for (idx l = 0; l < c->n_layers; l++) {
        const real *x = l == 0 ? run->tok_embeddings : run->h;
        if (run->options.coming != NULL && run->T > 1) run->options.coming(m, l);
        FN(select_layer)(run, l);
        FN(block)(run, l, x);
    }
    FN(rmsnorm)(run->norm, run->h, &m->norm, run->T, c->norm_eps, c->storage);
    FN(keep)(run, FN(T_norm), -1, run->T, run->norm);
    head(run);
    for (idx b = 0; b < run->options.n_seqs; b++) run->face.seen[b] += length[b];
    return MR_OK;
}

/* ---- results --------------------------------------------------------------------------------- */

static const real *row_of(const mr_run *face, idx row) {
    const FN(run) *run = (const FN(run) *)face;
    return run->logits + row * run->model->output.rows;
}

static void logits(const mr_run *face, idx row, double *out) {
    const idx V = ((const FN(run) *)face)->model->output.rows;
    for (idx v = 0; v < V; v++) out[v] = (double)row_of(face, row)[v];
}

static double log_probability(const mr_run *face, idx row, int32_t target) {
    return FN(log_probability)(row_of(face, row), ((const FN(run) *)face)->model->output.rows,
                               target);
}

static double cross_entropy(const mr_run *face, const int32_t *targets) {
    return FN(cross_entropy)(row_of(face, 0), targets, face->rows,
                             ((const FN(run) *)face)->model->output.rows);
}

int64_t FN(slot_origin)(const FN(run) *run, idx l, idx b) {
    return mr_config_span(&run->model->config, l) > 0 ? run->first[b] : 0;
}

/* Absolute position held by every slot of the rings of layer l, -1 while empty, into pos
 * [n_seqs*slots]. */
static void cache_positions(const FN(run) *run, idx l, int32_t *pos) {
    const idx slots = run->slots[l];
    for (idx b = 0; b < run->options.n_seqs; b++) {
        const idx seen = run->face.seen[b];
        for (idx s = 0; s < slots; s++) pos[b * slots + s] = -1;
        for (idx p = seen > slots ? seen - slots : 0; p < seen; p++)
            pos[b * slots + (idx)((FN(slot_origin)(run, l, b) + p) % slots)] =
                (int32_t)(run->first[b] + p);
    }
}

static void show_cache(mr_run *face) {
    FN(run) *run = (FN(run) *)face;
    if (run->options.train) return;
    for (idx l = 0; l < run->model->config.n_layers; l++) {
        FN(show)(run, FN(T_cache_k), l, -1, 0, run->ring_k[l]);
        FN(show)(run, FN(T_cache_v), l, -1, 0, run->ring_v[l]);
        cache_positions(run, l, run->slot_position);
        FN(show)(run, FN(T_cache_pos), l, -1, 0, run->slot_position);
    }
}

/* ---- backward -------------------------------------------------------------------------------- */

static void log_probability_backward(mr_run *face, idx row, int32_t target, double dlogp) {
    FN(run) *run = (FN(run) *)face;
    const idx V = run->model->output.rows;
    FN(log_probability_backward)(run->d.logits + row * V, run->logits + row * V, V, target, dlogp,
                                 run->options.engine);
}

static void token_losses(mr_run *face, double *loss, const int32_t *targets, const double *weight,
                         bool back) {
    FN(run) *run = (FN(run) *)face;
    FN(token_losses)(loss, back ? run->d.logits : NULL, run->logits, targets, weight, face->rows,
                     run->model->output.rows, run->options.engine);
}

static void logit_backward(mr_run *face, idx row, idx column, double dz) {
    FN(run) *run = (FN(run) *)face;
    real *at = &run->d.logits[row * run->model->output.rows + column];
    *at = (real)((double)*at + dz);
}

static double router_loss(mr_run *face) { return FN(router_losses)((FN(run) *)face); }

/* The tables: a tied one gets, token by token, what the head and what the embedding says; so it
 * does not matter (plain) in how many calls the tokens come. */
static void tables_backward(FN(run) *run, const mr_model *g) {
    const bool tied = run->model->config.tied_embeddings;
    const idx d = run->model->config.dim, V = run->model->output.rows;
    const idx step = tied && run->options.engine == MR_PLAIN_ENGINE ? 1 : run->T;
    for (idx t = 0; t < run->T; t += step) {
        FN(linear_weight_backward)(tied ? &g->tok_embeddings : &g->output, run->d.logits + t * V,
                                   run->norm + t * d, step, run->options.engine);
        FN(embedding_backward)(&g->tok_embeddings, run->d.tok_embeddings + t * d, run->tokens + t,
                               step);
    }
}

/* (B3') from dlogits through head, norm, layers and embedding; adds every parameter's derivative */
static mr_status backward(mr_run *face, const mr_model *g, mr_err *err) {
    FN(run) *run = (FN(run) *)face;
    const mr_model *m = run->model;
    const mr_config *c = &m->config;
    const FN(buffers) *d = &run->d;
    const idx T = run->T, room = FN(tensor_room)(run, FN(T_h));
    if (!mr_params_fit(g, m, MR_BITS == 64 ? MR_F64 : MR_F32))
        return mr_fail(err, MR_BAD, "gradients: expected the parameters of the model as %s, from "
                       "mr_params_like", mr_dtype_name(MR_BITS == 64 ? MR_F64 : MR_F32));
    if (c->n_experts > 0) FN(router_losses_pool)(run);
    FN(show_slope)(run, FN(T_logits), -1, -1, T, d->logits);
    FN(clear)(d->norm, T * c->dim);
    FN(linear_backward)(d->norm, d->logits, &m->output, T, run->options.engine, run->scratch);
    FN(show_slope)(run, FN(T_norm), -1, -1, T, d->norm);
    FN(clear)(d->h, T * c->dim);
    FN(select_layer)(run, c->n_layers - 1);
    FN(rmsnorm_backward)(d->h, &g->norm, d->norm, run->h, &m->norm, T, c->norm_eps);
    for (idx l = c->n_layers - 1; l >= 0; l--) {
        FN(select_layer)(run, l);
        FN(block_backward)(run, l, l == 0 ? run->tok_embeddings : run->kept.h + (l - 1) * room,
                           &g->layers[l]);
    }
    FN(show_slope)(run, FN(T_tok_embeddings), -1, -1, T, d->tok_embeddings);
    tables_backward(run, g);
    clear_logit_slopes(run);
    return MR_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void reset(mr_run *face, idx b, int64_t first) {
    face->seen[b] = 0;
    ((FN(run) *)face)->first[b] = first;
}

/* Everything of a run that is known before its memory. */
static bool describe(FN(run) *run, const mr_model *model, const mr_run_options *options) {
    memset(run, 0, sizeof *run);
    run->model = model;
    run->options = *options;
    for (idx b = 0; b < options->n_seqs; b++) {
        if (options->capacity[b] > run->longest) run->longest = options->capacity[b];
        if (!mr_add(run->columns, options->capacity[b], &run->columns)) return false;
    }
    return true;
}

idx FN(run_size)(const mr_model *model, const mr_run_options *options) {
    FN(run) counted;
    return describe(&counted, model, options) ? FN(carve)(&counted, NULL) : -1;
}

mr_run *FN(run_init)(const mr_model *model, const mr_run_options *options, void *memory) {
    FN(run) *run = memory;
    describe(run, model, options);
    FN(carve)(run, memory);
    for (idx b = 0, column = 0; b < options->n_seqs; column += options->capacity[b], b++) {
        run->capacity[b] = options->capacity[b];
        run->column[b] = column;
        reset(&run->face, b, 0);
    }
    run->options.capacity = run->capacity;
    run->face.forward = forward;
    run->face.reset = reset;
    run->face.logits = logits;
    run->face.log_probability = log_probability;
    run->face.cross_entropy = cross_entropy;
    run->face.show_cache = show_cache;
    run->face.log_probability_backward = log_probability_backward;
    run->face.token_losses = token_losses;
    run->face.logit_backward = logit_backward;
    run->face.router_loss = router_loss;
    run->face.backward = options->train ? backward : NULL;
    return &run->face;
}
