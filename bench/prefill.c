/* Prefill of 512 tokens, all logits: floating-point operations per second of its matrix products
 * and attention, as a fraction of sgemm's of the same round. Asserts nothing.
 *     prefill MODEL... [--threads N] [--rounds N] [--json] */
#include <stdio.h>

#include "bench/measure.h"

enum { TOKENS = 512 };

/* Multiplications and additions of the whole prompt. */
static double work(const mr_config *c) {
    const mr_sizes s = mr_config_sizes(c);
    double keys = 0;
    for (idx t = 0; t < TOKENS; t++) {
        const idx window = mr_config_window(c, 0);
        keys += (double)(window > 0 && window <= t ? window : t + 1);
    }
    return (double)s.flops_token * TOKENS + (double)s.flops_key * keys;
}

static double prefill(mr_run *run, const mr_model *model) {
    mr_run_reset(run, 0, 0);
    const double start = mr_now();
    mr_bench_feed(run, model, TOKENS);
    return mr_now() - start;
}

static void measure(const mr_bench *b, const char *folder, mr_engine engine) {
    mr_checkpoint c;
    mr_rounds rate = {0}, part = {0};
    mr_bench_open(folder, &c);
    mr_run *run = mr_bench_run(&c.model, engine, TOKENS, TOKENS, false);
    const double operations = 1e-9 * work(&c.model.config);
    prefill(run, &c.model);
    for (int r = 0; r < b->rounds; r++) {
        const double before = mr_gemm_rate(MR_F32_RUN, 1024);
        const double seconds = prefill(run, &c.model);
        const double after = mr_gemm_rate(MR_F32_RUN, 1024);
        mr_rounds_add(&rate, TOKENS / seconds);
        if (before > 0) mr_rounds_add(&part, operations / seconds / ((before + after) / 2));
    }
    printf(b->json ? "{\"bench\": \"prefill\", \"model\": \"%s\", \"engine\": \"%s\", "
                     "\"threads\": %d" : "prefill, %s, %s, %d threads:", mr_bench_name(folder),
           engine == MR_PLAIN_ENGINE ? "plain" : "blas", b->threads);
    mr_rounds_print("tokens/s", &rate, b->json);
    if (part.count > 0) mr_rounds_print("of sgemm", &part, b->json);
    puts(b->json ? "}" : "");
    mr_run_close(run);
    mr_checkpoint_close(&c);
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv,
                                  "prefill MODEL... [--threads N] [--rounds N] [--json]");
    for (int i = 0; i < b.count; i++) {
        if (mr_engine_built(MR_BLAS_ENGINE)) measure(&b, b.rest[i], MR_BLAS_ENGINE);
        measure(&b, b.rest[i], MR_PLAIN_ENGINE);
    }
    return MR_OK;
}
