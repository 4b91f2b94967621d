/* The run as callers see it: precision chosen once, then one pointer for everything. */
#include "ref/run.h"

#include <string.h>

#define MR_BITS 64
#include "ref/real.h"
#include "ref/state.h"

/* The other precision's entry points; state.h above declared those of double. */
idx     mr_run_size_f32(const mr_model *model, const mr_run_options *options);
mr_run *mr_run_init_f32(const mr_model *model, const mr_run_options *options, void *memory);

bool mr_engine_built(mr_engine engine) {
#ifdef MR_BLAS
    return engine == MR_PLAIN_ENGINE || engine == MR_BLAS_ENGINE;
#else
    return engine == MR_PLAIN_ENGINE;
#endif
}

idx mr_run_size(const mr_model *model, const mr_run_options *options) {
    return options->precision == MR_F64_RUN ? mr_run_size_f64(model, options)
                                            : mr_run_size_f32(model, options);
}

mr_status mr_run_init(const mr_model *model, const mr_run_options *o, void *memory, mr_run **out,
                      mr_err *err) {
    if (!mr_engine_built(o->engine))
        return mr_fail(err, MR_USAGE,
                       "this build has no BLAS engine; use --engine plain or build with BLAS=1");
    if (o->train && model->config.storage != MR_STORE_WIDE)
        return mr_fail(err, MR_USAGE, "a training run computes in f32 or f64, found 16-bit "
                       "storage; choose --precision f32 or f64");
    if (o->train && o->last_only)
        return mr_fail(err, MR_USAGE, "a training run has the logits of every token; drop "
                       "last_only");
    memset(memory, 0, (size_t)mr_run_size(model, o));
    *out = o->precision == MR_F64_RUN ? mr_run_init_f64(model, o, memory)
                                      : mr_run_init_f32(model, o, memory);
    return MR_OK;
}

mr_status mr_run_open(const mr_model *model, const mr_run_options *options, mr_run **out,
                      mr_err *err) {
    idx bytes = mr_run_size(model, options);
    *out = NULL;
    if (!mr_add(bytes, 63, &bytes)) bytes = -1;   /* room to align */
    char *memory = mr_alloc(bytes, 1, err);
    if (memory == NULL) return MR_BAD;
    char *aligned = memory + (64 - (uintptr_t)memory % 64) % 64;
    const mr_status status = mr_run_init(model, options, aligned, out, err);
    if (status != MR_OK) mr_free(memory);
    else (*out)->owned = memory;
    return status;
}

void mr_run_close(mr_run *run) {
    if (run != NULL) mr_free(run->owned);
}

void mr_run_reset(mr_run *run, idx b, int64_t first) { run->reset(run, b, first); }

mr_status mr_run_forward(mr_run *run, const int32_t *tokens, const idx *length, mr_err *err) {
    return run->forward(run, tokens, length, err);
}

idx mr_run_rows(const mr_run *run) { return run->rows; }

void mr_run_logits(const mr_run *run, idx row, double *out) { run->logits(run, row, out); }

double mr_run_log_probability(const mr_run *run, idx row, int32_t target) {
    return run->log_probability(run, row, target);
}

double mr_run_cross_entropy(const mr_run *run, const int32_t *targets) {
    return run->cross_entropy(run, targets);
}

void mr_run_show_cache(mr_run *run) { run->show_cache(run); }

idx mr_run_seen(const mr_run *run, idx b) { return run->seen[b]; }

void mr_run_log_probability_backward(mr_run *run, idx row, int32_t target, double dlogp) {
    run->log_probability_backward(run, row, target, dlogp);
}

void mr_run_token_losses(mr_run *run, double *loss, const int32_t *targets, const double *weight,
                         bool back) {
    run->token_losses(run, loss, targets, weight, back);
}

void mr_run_logit_backward(mr_run *run, idx row, idx column, double dz) {
    run->logit_backward(run, row, column, dz);
}

double mr_run_router_loss(mr_run *run) { return run->router_loss(run); }

mr_status mr_run_backward(mr_run *run, const mr_model *gradients, mr_err *err) {
    if (run->backward == NULL)
        return mr_fail(err, MR_USAGE, "this run keeps no activations; open it with options.train");
    return run->backward(run, gradients, err);
}
