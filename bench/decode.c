/* Decoding one token at a time: bytes of active weights per second, as a fraction of the rate
 * of reading the mapped file in the same round. Asserts nothing.
 *     decode MODEL... [--threads N] [--rounds N] [--json] */
#include <stdio.h>

#include "bench/measure.h"

enum { PROMPT = 8 };

/* Tokens per second: as many as take about a quarter of a second. */
static double decode(mr_run *run, const mr_model *model) {
    const double start = mr_now();
    idx n = 0;
    mr_run_reset(run, 0, 0);
    mr_bench_feed(run, model, PROMPT);
    const double begin = mr_now();
    for (; n < 4 || (mr_now() - start < 0.25 && n < 500); n++) mr_bench_feed(run, model, 1);
    return (double)n / (mr_now() - begin);
}

static void measure(const mr_bench *b, const char *folder) {
    mr_checkpoint c;
    mr_rounds rate = {0}, one = {0}, four = {0};
    idx size;
    mr_bench_open(folder, &c);
    const void *file = mr_bench_file(&c, &size);
    mr_run *run = mr_bench_run(&c.model, MR_PLAIN_ENGINE, PROMPT + 512, PROMPT, false);
    const double bytes = 1e-9 * mr_bench_active_bytes(&c.model);
    decode(run, &c.model);   /* the file comes into memory */
    for (int r = 0; r < b->rounds; r++) {
        const double single = mr_read_rate(file, size, b->threads, 1);
        const double most = mr_read_rate(file, size, b->threads, 4);
        const double tokens = decode(run, &c.model);
        mr_rounds_add(&rate, tokens);
        mr_rounds_add(&one, bytes * tokens / single);
        mr_rounds_add(&four, bytes * tokens / most);
    }
    printf(b->json ? "{\"bench\": \"decode\", \"model\": \"%s\", \"threads\": %d"
                   : "decode, %s, %d threads:", mr_bench_name(folder), b->threads);
    mr_rounds_print("tokens/s", &rate, b->json);
    mr_rounds_print("of read", &one, b->json);
    mr_rounds_print("of read in 4 streams", &four, b->json);
    puts(b->json ? "}" : "");
    mr_run_close(run);
    mr_checkpoint_close(&c);
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv,
                                  "decode MODEL... [--threads N] [--rounds N] [--json]");
    for (int i = 0; i < b.count; i++) measure(&b, b.rest[i]);
    return MR_OK;
}
