/* How time and memory grow with the position, in a model with a sliding window W: time of a token
 * at W, 4 W, 16 W, 64 W against the first of them in turn, and of a prompt of T tokens. Asserts
 * nothing.
 *     growth MODEL... [--threads N] [--rounds N] [--json] */
#include <math.h>
#include <stdio.h>

#include "bench/measure.h"

enum { POINTS = 4, STEPS = 16, CHUNK = 64 };

/* One run per position, all fed in advance, so that the positions can take turns. */
static void positions(const mr_bench *b, const char *folder, const mr_model *m, idx window) {
    mr_run *run[POINTS];
    mr_rounds ratio[POINTS] = {{.count = 0}};
    const idx last = window * 64 + STEPS * (b->rounds + 1);
    for (int p = 0; p < POINTS; p++) {
        run[p] = mr_bench_run(m, MR_PLAIN_ENGINE, last, CHUNK);
        for (idx n = 0; n < window << (2 * p); n += CHUNK) mr_bench_feed(run[p], m, CHUNK);
    }
    for (int r = 0; r < b->rounds; r++) {
        double seconds[POINTS] = {0};
        for (int s = 0; s < STEPS; s++)
            for (int p = 0; p < POINTS; p++) {
                const double start = mr_now();
                mr_bench_feed(run[p], m, 1);
                seconds[p] += mr_now() - start;
            }
        for (int p = 0; p < POINTS; p++) mr_rounds_add(&ratio[p], seconds[p] / seconds[0]);
    }
    for (int p = 0; p < POINTS; p++) {
        printf(b->json ? "{\"bench\": \"growth\", \"model\": \"%s\", \"window\": %td, "
                         "\"position\": %td" : "a token, %s, window %td, position %td:",
               mr_bench_name(folder), window, window << (2 * p));
        mr_rounds_print("of the first", &ratio[p], b->json);
        puts(b->json ? "}" : "");
        mr_run_close(run[p]);
    }
}

/* Exponent of the time of a prompt between 8 W and 16 W tokens, fed in chunks of W. */
static void prompts(const mr_bench *b, const char *folder, const mr_model *m, idx window) {
    mr_rounds exponent = {0};
    mr_run *run = mr_bench_run(m, MR_PLAIN_ENGINE, 16 * window, window);
    for (int r = 0; r < b->rounds; r++) {
        double seconds[2];
        for (int half = 1; half >= 0; half--) {
            const double start = mr_now();
            mr_run_reset(run, 0, 0);
            for (idx n = 0; n < (half ? 8 : 16) * window; n += window)
                mr_bench_feed(run, m, window);
            seconds[half] = mr_now() - start;
        }
        mr_rounds_add(&exponent, log2(seconds[0] / seconds[1]));
    }
    printf(b->json ? "{\"bench\": \"prompt growth\", \"model\": \"%s\", \"window\": %td"
                   : "a prompt, %s, window %td, 8 W to 16 W tokens:", mr_bench_name(folder),
           window);
    mr_rounds_print("exponent", &exponent, b->json);
    puts(b->json ? "}" : "");
    mr_run_close(run);
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv,
                                  "growth MODEL... [--threads N] [--rounds N] [--json]");
    for (int i = 0; i < b.count; i++) {
        mr_checkpoint c;
        mr_bench_open(b.rest[i], &c);
        const idx window = mr_config_window(&c.model.config, 0);
        if (window > 0) {
            positions(&b, b.rest[i], &c.model, window);
            prompts(&b, b.rest[i], &c.model, window);
        }
        mr_checkpoint_close(&c);
    }
    return MR_OK;
}
