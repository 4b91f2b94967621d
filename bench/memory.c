/* Private memory, and the time of opening: after opening a model, and after 1,000 and MOST tokens
 * generated one at a time; and how fast these are, for a model of 256 MiB or more as a fraction of
 * reading all of the mapped file after every token. Asserts nothing.
 *     memory MODEL MOST [--threads N] [--json] */
#include <stdio.h>
#include <stdlib.h>

#include "bench/measure.h"
#include "weights/pages.h"

enum { FIRST = 1000, PROMPT = 64 };

/* Private MB that the process had more than `before`. */
static double more(double before) { return 1e-6 * (mr_private_bytes() - before); }

static double megabytes(const mr_checkpoint *c) {
    return 1e-6 * (double)mr_config_sizes(&c->model.config).total *
           (double)mr_dtype_size(c->model.output.dtype);
}

/* Seconds of `most` tokens one at a time. early: private MB at the 1000th. of_read: for a model of
 * 256 MiB or more. */
static double decode(mr_run *run, const mr_checkpoint *c, idx most, int threads, double empty,
                     double *early, mr_rounds *of_read) {
    const double active = 1e-9 * mr_bench_active_bytes(&c->model);
    double sum = 0;
    idx bytes;
    const void *file = mr_bench_file(c, &bytes);
    const bool large = bytes == MR_READ_BYTES;
    if (large) bytes = (idx)(1e6 * megabytes(c)) - 64;   /* it begins within the first 64 bytes */
    for (idx n = 0; n < most; n++) {
        if (n == FIRST) *early = more(empty);
        const double start = mr_now();
        mr_bench_feed(run, &c->model, 1);
        const double seconds = mr_now() - start;
        sum += seconds;
        if (large)
            mr_rounds_add(of_read, active / seconds / mr_read_rate(file, bytes, threads, 1));
    }
    return sum;
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv, "memory MODEL MOST [--threads N] [--json]");
    const idx most = b.count == 2 ? (idx)strtol(b.rest[1], NULL, 10) : 0, capacity = PROMPT + most;
    if (most < 1) {
        fprintf(stderr, "usage: memory MODEL MOST [--threads N] [--json]\n");
        return MR_USAGE;
    }
    mr_checkpoint c;
    mr_err err = {0};
    mr_run *run;
    mr_rounds of_read = {0};
    double early = 0;
    const double empty = mr_private_bytes(), start = mr_now();
    mr_bench_open(b.rest[0], &c);
    const double opened = mr_now(), open = more(empty);
    const mr_run_options o = {.n_seqs = 1, .capacity = &capacity, .max_tokens = PROMPT,
                              .last_only = true, .coming = mr_pages_coming};
    if (mr_run_open(&c.model, &o, &run, &err)) mr_bench_stop(&err);
    const double feeding = mr_now();
    mr_bench_feed(run, &c.model, PROMPT);
    const double prefill = mr_now() - feeding;
    const double decoding = decode(run, &c, most, b.threads, empty, &early, &of_read);
    printf(b.json ? "{\"bench\": \"memory\", \"model\": \"%s\", \"threads\": %d, "
                    "\"file MB\": %.1f, \"open ms\": %.2f, \"open MB\": %.2f, "
                    "\"prefill 64 tokens/s\": %.3g, \"tokens\": %td, \"tokens/s\": %.4g, "
                    "\"GB/s\": %.3g, \"MB at the end\": %.2f, \"MB of mr_run_size\": %.2f"
                  : "memory, %s, %d threads, file %.1f MB: open %.2f ms and %.2f MB; prefill of 64 "
                    "tokens %.3g tokens/s; %td tokens at %.4g tokens/s, %.3g GB/s; private MB at "
                    "the end %.2f, of mr_run_size %.2f",
           mr_bench_name(b.rest[0]), b.threads, megabytes(&c), 1e3 * (opened - start), open,
           PROMPT / prefill, most, (double)most / decoding,
           1e-9 * mr_bench_active_bytes(&c.model) * (double)most / decoding, more(empty),
           1e-6 * (double)mr_run_size(&c.model, &o));
    if (early > 0) printf(b.json ? ", \"MB at 1000\": %.2f" : ", at 1000 %.2f", early);
    if (of_read.count > 0) mr_rounds_print("of read", &of_read, b.json);
    puts(b.json ? "}" : "");
    mr_run_close(run);
    mr_checkpoint_close(&c);
    return MR_OK;
}
