/* One training step: forward, backward, AdamW on 8 sequences of 128 tokens. Operations per second
 * as a fraction of sgemm's of the same round; backward counts twice forward. Asserts nothing.
 *     train MODEL... [--threads N] [--rounds N] [--json] */
#include <stdio.h>
#include <sys/resource.h>

#include "bench/measure.h"

enum { SEQUENCES = 8, LENGTH = 128, TOKENS = SEQUENCES * LENGTH };

typedef struct {
    mr_model model, gradients;
    float   *memory[4];   /* weights, gradients, first and second moments */
    idx      parameters, steps;
    mr_run  *run;
} trainer;

static void open_trainer(trainer *t, const mr_model *stored, mr_engine engine) {
    mr_err err = {0};
    idx capacity[SEQUENCES];
    for (int b = 0; b < SEQUENCES; b++) capacity[b] = LENGTH;
    const mr_run_options o = {.engine = engine, .n_seqs = SEQUENCES, .capacity = capacity,
                              .max_tokens = TOKENS, .train = true};
    t->parameters = mr_params_count(stored);
    for (int k = 0; k < 4 && !err.code; k++)
        t->memory[k] = mr_alloc(t->parameters, sizeof(float), &err);
    if (err.code || mr_params_like(&t->model, stored, MR_F32, t->memory[0], &err) ||
        mr_params_like(&t->gradients, stored, MR_F32, t->memory[1], &err)) mr_bench_stop(&err);
    mr_params_copy(&t->model, stored);
    if (mr_run_open(&t->model, &o, &t->run, &err)) mr_bench_stop(&err);
}

static void close_trainer(trainer *t) {
    mr_run_close(t->run);
    mr_params_free(&t->model);
    mr_params_free(&t->gradients);
    for (int k = 0; k < 4; k++) mr_free(t->memory[k]);
}

/* Seconds of a step on the mean cross-entropy of all next tokens. */
static double step(trainer *t) {
    mr_err err = {0};
    int32_t tokens[TOKENS], targets[TOKENS];
    double weight[TOKENS], loss = 0;
    idx length[SEQUENCES];
    const mr_adamw adam = mr_adamw_default();
    for (idx i = 0; i < TOKENS; i++)
        tokens[i] = (int32_t)((i * i * 37 + i * 11 + 5) % t->model.config.vocab_size);
    for (int b = 0; b < SEQUENCES; b++) length[b] = LENGTH;
    mr_next_tokens(targets, tokens, NULL, length, SEQUENCES);
    mr_loss_weights(weight, targets, length, SEQUENCES, NULL, MR_LOSS_TOKEN);
    const double start = mr_now();
    for (idx i = 0; i < t->parameters; i++) t->memory[1][i] = 0;
    if (mr_run_forward(t->run, tokens, length, &err)) mr_bench_stop(&err);
    mr_run_token_losses(t->run, &loss, targets, weight, true);
    if (mr_run_backward(t->run, &t->gradients, &err)) mr_bench_stop(&err);
    mr_adamw_f32(t->memory[0], t->memory[2], t->memory[3], t->memory[1], t->parameters, &adam,
                 1e-4, true, ++t->steps);
    return mr_now() - start;
}

static void measure(const mr_bench *b, const char *folder, mr_engine engine) {
    mr_checkpoint c;
    mr_rounds rate = {0}, part = {0};
    trainer t = {0};
    struct rusage use;
    mr_bench_open(folder, &c);
    open_trainer(&t, &c.model, engine);
    const mr_sizes s = mr_config_sizes(&c.model.config);
    const double keys = TOKENS * (LENGTH + 1) / 2.0;
    const double work = 3e-9 * ((double)s.flops_token * TOKENS + (double)s.flops_key * keys);
    step(&t);
    for (int r = 0; r < b->rounds; r++) {
        const double before = mr_gemm_rate(MR_F32_RUN, 1024);
        const double seconds = step(&t);
        const double limit = (before + mr_gemm_rate(MR_F32_RUN, 1024)) / 2;
        mr_rounds_add(&rate, TOKENS / seconds);
        if (limit > 0) mr_rounds_add(&part, work / seconds / limit);
    }
    getrusage(RUSAGE_SELF, &use);
    printf(b->json ? "{\"bench\": \"train\", \"model\": \"%s\", \"engine\": \"%s\", "
                     "\"threads\": %d, \"peak MiB\": %ld"
                   : "train, %s, %s, %d threads, peak of the process %ld MiB:",
           mr_bench_name(folder), engine == MR_PLAIN_ENGINE ? "plain" : "blas", b->threads,
           use.ru_maxrss / 1024);
    mr_rounds_print("tokens/s", &rate, b->json);
    if (part.count > 0) mr_rounds_print("of sgemm", &part, b->json);
    puts(b->json ? "}" : "");
    close_trainer(&t);
    mr_checkpoint_close(&c);
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv, "train MODEL... [--threads N] [--rounds N] [--json]");
    for (int i = 0; i < b.count; i++) {
        if (mr_engine_built(MR_BLAS_ENGINE)) measure(&b, b.rest[i], MR_BLAS_ENGINE);
        measure(&b, b.rest[i], MR_PLAIN_ENGINE);
    }
    return MR_OK;
}
