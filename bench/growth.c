/* How time grows: of a token at positions W, 4 W, 16 W, 64 W of a model with window W, against the
 * first of them in turn; of a prompt of T tokens beyond W; and, the window taken away, of
 * attention alone. Plain engine. Asserts nothing.
 *     growth MODEL... [--threads N] [--rounds N] [--json] */
#include <math.h>
#include <stdio.h>

#include "bench/measure.h"

enum { POINTS = 4, STEPS = 64, CHUNK = 256, PROMPTS = 3, FEWEST = 2 };

static void head(const mr_bench *b, const char *bench, const char *folder, idx window) {
    printf(b->json ? "{\"bench\": \"%s\", \"model\": \"%s\", \"threads\": %d, \"window\": %td"
                   : "%s, %s, %d threads, window %td:", bench, mr_bench_name(folder), b->threads,
           window);
}

/* One run per position, all fed in advance, so that the positions can take turns, token by token;
 * a round's figure is the median of its turns. */
static void positions(const mr_bench *b, const char *folder, const mr_model *m, idx window) {
    mr_run *run[POINTS];
    mr_rounds ratio[POINTS] = {{.count = 0}};
    const idx last = window * 64 + STEPS * (b->rounds + 1);
    for (int p = 0; p < POINTS; p++) {
        run[p] = mr_bench_run(m, MR_PLAIN_ENGINE, last, CHUNK, true);
        for (idx n = 0; n < window << (2 * p); n += CHUNK) mr_bench_feed(run[p], m, CHUNK);
    }
    for (int r = 0; r <= b->rounds; r++) {
        mr_rounds seconds[POINTS] = {{.count = 0}};
        for (int s = 0; s < STEPS; s++)
            for (int p = 0; p < POINTS; p++) {
                const double start = mr_now();
                mr_bench_feed(run[(p + s) % POINTS], m, 1);
                mr_rounds_add(&seconds[(p + s) % POINTS], mr_now() - start);
            }
        for (int p = 0; p < POINTS && r > 0; p++)   /* the first round only warms up */
            mr_rounds_add(&ratio[p], mr_rounds_median(&seconds[p]) / mr_rounds_median(&seconds[0]));
    }
    for (int p = 0; p < POINTS; p++) {
        head(b, "growth", folder, window);
        printf(b->json ? ", \"position\": %td" : " position %td,", window << (2 * p));
        mr_rounds_print("of the first", &ratio[p], b->json);
        puts(b->json ? "}" : "");
        mr_run_close(run[p]);
    }
}

/* Seconds of prompts of T, 2 T and 4 T tokens in one call each, of which only the last token has
 * logits: the least of a few turns. */
static void prompt_seconds(double seconds[PROMPTS], const mr_model *m, idx T) {
    for (int p = 0; p < PROMPTS; p++) seconds[p] = INFINITY;
    mr_run *run = mr_bench_run(m, MR_PLAIN_ENGINE, 4 * T, 4 * T, true);
    for (int turn = 0; turn < FEWEST; turn++)
        for (int p = 0; p < PROMPTS; p++) {
            mr_run_reset(run, 0, 0);
            const double start = mr_now();
            mr_bench_feed(run, m, T << p);
            seconds[p] = fmin(seconds[p], mr_now() - start);
        }
    mr_run_close(run);
}

/* The exponent of a growth by 2; a round in which noise left no growth at all is counted. */
static void add_exponent(mr_rounds *r, double far, double near, int *lost) {
    if (far > 0 && near > 0) mr_rounds_add(r, log2(far / near));
    else ++*lost;
}

/* With window: exponent of the whole time between 4 W and 16 W, in which the first W tokens see
 * fewer keys than the others; and of what the second half of a prompt takes, from 8 W to 16 W,
 * where all see as many. Without: time = a T + b T^2, and t(2T) - 2 t(T) = 2 b T^2 leaves
 * attention's part alone, whose growth from T = 4 W to 8 W gives the exponent. */
static void prompts(const mr_bench *b, const char *folder, const mr_model *m, idx window) {
    mr_rounds linear = {0}, beyond = {0}, square = {0};
    int lost = 0;
    mr_model open = *m;
    open.config.n_windows = 0;
    for (int r = 0; r < b->rounds; r++) {
        double t[PROMPTS];
        prompt_seconds(t, m, 4 * window);
        mr_rounds_add(&linear, log2(t[2] / t[0]) / 2);
        add_exponent(&beyond, t[2] - t[1], t[1] - t[0], &lost);
        prompt_seconds(t, &open, 4 * window);
        add_exponent(&square, t[2] - 2 * t[1], t[1] - 2 * t[0], &lost);
    }
    head(b, "prompt growth", folder, window);
    mr_rounds_print("exponent", &linear, b->json);
    if (beyond.count > 0) mr_rounds_print("beyond W", &beyond, b->json);
    if (square.count > 0) mr_rounds_print("attention without window", &square, b->json);
    printf(b->json ? ", \"lost to noise\": %d" : "  %d lost to noise", lost);
    puts(b->json ? "}" : "");
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
