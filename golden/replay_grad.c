/* Gradients as a trace shows them: the loss, backward, every parameter under its native name. */
#include "golden/replay_grad.h"

#include <stdio.h>
#include <string.h>

#include "ref/losses.h"
#include "ref/params.h"
#include "weights/names.h"

static void show_number(const char *name, double value, mr_tap tap, void *user) {
    mr_tensor t = {.name = name, .dtype = MR_F64, .rank = 1, .dim = {1}};
    if (!tap(user, &t)) return;
    t.data = &value;
    tap(user, &t);
}

/* Adds (X2) to *loss, and its derivatives by the logits to the run. */
static mr_status cross_entropy(mr_run *run, const int32_t *tokens, const idx *length, idx n_seqs,
                               double *loss, mr_err *err) {
    const idx rows = mr_run_rows(run);
    int32_t *targets = mr_alloc(rows, sizeof *targets, err);
    double *weight = mr_alloc(rows, sizeof *weight, err);
    const mr_status status = targets != NULL && weight != NULL ? MR_OK : MR_BAD;
    if (status == MR_OK) {
        mr_next_tokens(targets, tokens, NULL, length, n_seqs);
        mr_loss_weights(weight, targets, length, n_seqs, NULL, MR_LOSS_TOKEN);
        mr_run_token_losses(run, loss, targets, weight, true);
    }
    mr_free(targets);
    mr_free(weight);
    return status;
}

/* The same for the mean over the sequences of the first score of their last token. */
static mr_status mean_reward(mr_run *run, idx labels, const idx *length, idx n_seqs, double *loss,
                             mr_err *err) {
    double *scores = mr_alloc(labels, sizeof *scores, err);
    if (scores == NULL) return MR_BAD;
    for (idx b = 0; b < n_seqs; b++) {
        const idx row = mr_score_row(length, b);
        if (row < 0) continue;
        mr_run_logits(run, row, scores);
        *loss += scores[0] / (double)n_seqs;
        mr_run_logit_backward(run, row, 0, 1 / (double)n_seqs);
    }
    mr_free(scores);
    return MR_OK;
}

/* One parameter's gradient; rotary rows are reordered into `room` where the file has others. */
static void show_gradient(const mr_model *g, mr_param param, char *room, mr_tap tap, void *user) {
    char name[MR_NAME_SIZE + 8] = "grad.";
    const mr_matrix *m = mr_param_matrix((mr_model *)g, param);
    const mr_config *c = &g->config;
    mr_tensor t = {.name = name, .dtype = m->dtype, .rank = param.kind->rank,
                   .dim = {param.kind->rank == 1 ? m->cols : m->rows, m->cols}};
    mr_param_name(param, MR_LAYOUT_NATIVE, name + strlen(name));
    if (!tap(user, &t)) return;
    t.data = m->data;
    if (mr_param_rotary(param)) {
        const idx bytes = m->cols * mr_dtype_size(m->dtype);
        for (idx r = 0; r < m->rows; r++)
            memcpy(room + r * bytes, (const char *)m->data + bytes *
                   mr_rotary_row(r, c->head_dim, g->qk_rows, c->rope_layout), (size_t)bytes);
        t.data = room;
    }
    tap(user, &t);
}

static mr_status parameters(mr_run *run, const mr_model *model, mr_dtype dtype, mr_tap tap,
                            void *user, mr_err *err) {
    const mr_config *c = &model->config;
    mr_names names;
    mr_model g = {0};
    void *memory = mr_alloc(mr_params_count(model), mr_dtype_size(dtype), err);
    char *room = mr_alloc(c->n_heads * c->head_dim * c->dim, mr_dtype_size(dtype), err);
    mr_status status = memory != NULL && room != NULL ? MR_OK : MR_BAD;
    if (status == MR_OK) status = mr_params_like(&g, model, dtype, memory, err);
    if (status == MR_OK) status = mr_run_backward(run, &g, err);
    if (status == MR_OK) {
        mr_names_init(&names, c);
        for (idx i = 0; i < names.count; i++)
            show_gradient(&g, mr_names_at(&names, i), room, tap, user);
    }
    mr_params_free(&g);
    mr_free(room);
    mr_free(memory);
    return status;
}

mr_status mr_replay_grad(mr_run *run, const mr_model *model, mr_dtype dtype, const int32_t *tokens,
                         const idx *length, idx n_seqs, bool router, mr_tap tap, void *user,
                         mr_err *err) {
    const idx labels = model->config.n_labels;
    double loss = 0;
    if (labels > 0 ? mean_reward(run, labels, length, n_seqs, &loss, err)
                   : cross_entropy(run, tokens, length, n_seqs, &loss, err)) return MR_BAD;
    show_number(labels > 0 ? "loss.reward" : "loss.cross_entropy", loss, tap, user);
    if (router) show_number("loss.router", mr_run_router_loss(run), tap, user);
    return parameters(run, model, dtype, tap, user, err);
}
