/* One optimiser step: pick examples, sum gradients over calls, clip, AdamW. */
#include "cli/train.h"

#include <string.h>

#include "weights/names.h"

/* ---- the optimiser, in either precision ------------------------------------------------------ */

static bool wide(const mr_trainer *t) { return t->set.run.precision == MR_F64_RUN; }

static double gradient_norm(const mr_trainer *t) {
    return sqrt(wide(t) ? mr_squared_norm_f64(t->memory[1], t->parameters)
                        : mr_squared_norm_f32(t->memory[1], t->parameters));
}

static void scale_gradients(const mr_trainer *t, double factor) {
    if (factor == 1) return;
    if (wide(t)) mr_scale_f64(t->memory[1], t->parameters, factor);
    else mr_scale_f32(t->memory[1], t->parameters, factor);
}

/* Parameter by parameter, because norm weights do not decay. */
static void update(mr_trainer *t, double rate) {
    mr_names names;
    idx at = 0;
    mr_names_init(&names, &t->policy.config);
    t->at.updates++;
    for (idx i = 0; i < names.count; i++) {
        const mr_param p = mr_names_at(&names, i);
        const idx n = p.kind->rows * p.kind->cols;
        char name[MR_NAME_SIZE];
        mr_param_name(p, MR_LAYOUT_NATIVE, name);
        const bool decays = mr_adamw_decays(&t->set.adam, name);
        if (wide(t))
            mr_adamw_f64((double *)t->memory[0] + at, (double *)t->memory[2] + at,
                         (double *)t->memory[3] + at, (double *)t->memory[1] + at, n, &t->set.adam,
                         rate, decays, t->at.updates);
        else
            mr_adamw_f32((float *)t->memory[0] + at, (float *)t->memory[2] + at,
                         (float *)t->memory[3] + at, (float *)t->memory[1] + at, n, &t->set.adam,
                         rate, decays, t->at.updates);
        at += n;
    }
}

/* ---- a row of the log ------------------------------------------------------------------------ */

static double *new_row(mr_trainer *t, mr_err *err) {
    if ((idx)t->at.step == t->log_room) {
        const idx room = t->log_room == 0 ? 256 : 2 * t->log_room;
        double *larger = mr_resize(t->log, room, MR_LOG_COLUMNS * (idx)sizeof *larger, err);
        if (larger == NULL) return NULL;
        t->log = larger;
        t->log_room = room;
    }
    double *row = t->log + t->at.step * MR_LOG_COLUMNS;
    for (idx c = 0; c < MR_LOG_COLUMNS; c++) row[c] = (double)NAN;
    return row;
}

static idx metrics_of(const mr_objective *o) {
    idx n = 0;
    while (o->metric[n] != NULL) n++;
    return n;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* All calls of a batch, one after the other: loss and metrics are sums of parts of means. */
static mr_status run_calls(mr_trainer *t, const mr_packed *batch, bool train, double *loss,
                           double *router, double *metric, mr_err *err) {
    const idx per_call = (idx)t->set.batch * (t->set.task == MR_TRAIN_RL ? (idx)t->set.samples : 1);
    mr_packed call = {0};
    *loss = *router = 0;
    memset(metric, 0, MR_TRAIN_METRICS * sizeof *metric);
    for (idx done = 0; done < batch->examples; done += call.examples) {
        call = mr_packed_call(batch, &call, per_call);
        if (mr_run_forward(t->run, call.tokens, call.length, err) ||
            t->objective->call(t, &call, train, loss, metric, err)) return err->code;
        if (!train) continue;
        *router += mr_run_router_loss(t->run);
        if (mr_run_backward(t->run, &t->gradients, err)) return err->code;
    }
    return MR_OK;
}

static bool has_router_loss(const mr_train_settings *s) {
    return s->router.balance + s->router.pooled + s->router.z + s->router.importance > 0;
}

/* Loss, gradient, clip, update. Nothing is updated when a number is not finite. */
static mr_status pass(mr_trainer *t, const mr_packed *batch, double *row, mr_err *err) {
    const mr_train_settings *s = &t->set;
    double loss, router, metric[MR_TRAIN_METRICS];
    memset(t->memory[1], 0, (size_t)(t->parameters * mr_dtype_size(wide(t) ? MR_F64 : MR_F32)));
    if (run_calls(t, batch, true, &loss, &router, metric, err)) return err->code;
    const double norm = gradient_norm(t);
    const double rate = s->lr * mr_schedule_factor(&s->schedule, t->at.step);
    if (!isfinite(loss + router) || !isfinite(norm))
        return mr_fail(err, MR_DISAGREE, "step %lld: the loss is %g and the gradient norm %g; the "
                       "update was not made. A smaller --lr or --clip may help",
                       (long long)t->at.step + 1, loss + router, norm);
    scale_gradients(t, mr_clip_factor(norm, s->clip));
    update(t, rate);
    if (isfinite(row[MR_LOG_LOSS])) return MR_OK;   /* ppo: the first pass is the one shown */
    row[MR_LOG_LOSS] = loss + router;
    row[MR_LOG_NORM] = norm;
    row[MR_LOG_RATE] = rate;
    row[MR_LOG_TOKENS] = (double)batch->rows;
    if (has_router_loss(s)) row[MR_LOG_ROUTER] = router;
    for (idx m = 0; m < metrics_of(t->objective); m++) row[MR_LOG_METRICS + m] = metric[m];
    return MR_OK;
}

static mr_status take(mr_trainer *t, mr_example **picked, idx count, mr_err *err) {
    const bool ppo = t->set.task == MR_TRAIN_RL && t->set.method == MR_RL_PPO;
    const mr_train_data *data = &t->data;
    const idx samples = t->set.task == MR_TRAIN_RL ? (idx)t->set.samples : 1;
    mr_packed batch = {0};
    double *row = new_row(t, err);
    if (row == NULL) return MR_BAD;
    mr_example **examples = mr_alloc(count * samples, sizeof *examples, err);
    if (examples == NULL) return MR_BAD;
    memcpy(examples, picked, (size_t)count * sizeof *picked);
    mr_status status = MR_OK;
    if (t->objective->roll != NULL) {
        status = t->objective->roll(t, picked, count, &data, err);
        for (idx i = 0; i < count * samples && status == MR_OK; i++)
            examples[i] = &data->example[i];
    }
    if (status == MR_OK)
        status = mr_packed_fill(&batch, data, examples, count * samples,
                               (idx)t->set.batch * samples, t->set.reduction, err);
    for (int64_t n = 0; n < (ppo ? t->set.ppo_epochs : 1) && status == MR_OK; n++)
        status = pass(t, &batch, row, err);
    if (status == MR_OK) t->at.tokens += batch.rows;
    mr_packed_free(&batch);
    mr_free(examples);
    return status;
}

mr_status mr_train_step(mr_trainer *t, mr_err *err) {
    const idx count = (idx)(t->set.batch * t->set.accumulate);
    mr_example **picked = mr_alloc(count, sizeof *picked, err);
    if (picked == NULL) return MR_BAD;
    for (idx i = 0; i < count; i++)
        picked[i] = &t->data.example[mr_train_order_at(&t->order, t->at.examples + i)];
    const mr_status status = take(t, picked, count, err);
    mr_free(picked);
    if (status != MR_OK) return status;
    t->at.examples += count;
    t->at.step++;
    return MR_OK;
}

mr_status mr_train_validate(mr_trainer *t, mr_err *err) {
    const idx count = t->valid.count;
    double *row = t->log + (t->at.step - 1) * MR_LOG_COLUMNS;
    double router, metric[MR_TRAIN_METRICS];
    mr_packed batch = {0};
    mr_example **all = mr_alloc(count, sizeof *all, err);
    if (all == NULL) return MR_BAD;
    for (idx i = 0; i < count; i++) all[i] = &t->valid.example[i];
    mr_status status = mr_packed_fill(&batch, &t->valid, all, count, (idx)t->set.batch,
                                     t->set.reduction, err);
    if (status == MR_OK)
        status = run_calls(t, &batch, false, &row[MR_LOG_VALID], &router, metric, err);
    const idx metrics = metrics_of(t->objective);
    for (idx m = 0; m < metrics && status == MR_OK; m++)
        row[MR_LOG_METRICS + metrics + m] = metric[m];
    mr_packed_free(&batch);
    mr_free(all);
    return status;
}
