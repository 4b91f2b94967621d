/* Private memory, and the time of opening: after opening a model, and after 1,000 and MOST tokens
 * generated one at a time. Asserts nothing.
 *     memory MODEL MOST [--threads N] [--json] */
#include <stdio.h>
#include <stdlib.h>

#include "bench/measure.h"

enum { FIRST = 1000, PROMPT = 64 };

/* Private MB that the process had more than `before`. */
static double more(double before) { return 1e-6 * (mr_private_bytes() - before); }

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv, "memory MODEL MOST [--threads N] [--json]");
    const idx most = b.count == 2 ? (idx)strtol(b.rest[1], NULL, 10) : 0;
    if (most < 1) {
        fprintf(stderr, "usage: memory MODEL MOST [--threads N] [--json]\n");
        return MR_USAGE;
    }
    mr_checkpoint c;
    double early = 0;
    const double empty = mr_private_bytes(), start = mr_now();
    mr_bench_open(b.rest[0], &c);
    const double opened = mr_now(), open = more(empty);
    mr_run *run = mr_bench_run(&c.model, MR_PLAIN_ENGINE, PROMPT + most, PROMPT, true);
    const double feeding = mr_now();
    mr_bench_feed(run, &c.model, PROMPT);
    const double begin = mr_now();
    for (idx n = 0; n < most; n++) {
        if (n == FIRST) early = more(empty);
        mr_bench_feed(run, &c.model, 1);
    }
    const double decoding = mr_now() - begin;
    const idx capacity = PROMPT + most;
    const mr_run_options o = {.n_seqs = 1, .capacity = &capacity, .max_tokens = PROMPT,
                              .last_only = true};
    const double megabytes = 1e-6 * (double)mr_config_sizes(&c.model.config).total *
                             (double)mr_dtype_size(c.model.output.dtype);
    printf(b.json ? "{\"bench\": \"memory\", \"model\": \"%s\", \"threads\": %d, "
                    "\"file MB\": %.1f, \"open ms\": %.2f, \"open MB\": %.2f, "
                    "\"prefill 64 tokens/s\": %.3g, \"tokens\": %td, \"tokens/s\": %.4g, "
                    "\"GB/s\": %.3g, \"MB at 1000\": %.2f, \"MB at the end\": %.2f, "
                    "\"MB of mr_run_size\": %.2f}\n"
                  : "memory, %s, %d threads, file %.1f MB: open %.2f ms and %.2f MB; prefill of 64 "
                    "tokens %.3g tokens/s; %td tokens at %.4g tokens/s, %.3g GB/s; private MB at "
                    "1000 %.2f, at the end %.2f, of mr_run_size %.2f\n",
           mr_bench_name(b.rest[0]), b.threads, megabytes, 1e3 * (opened - start), open,
           PROMPT / (begin - feeding), most, (double)most / decoding,
           1e-9 * mr_bench_active_bytes(&c.model) * (double)most / decoding, early, more(empty),
           1e-6 * (double)mr_run_size(&c.model, &o));
    mr_run_close(run);
    mr_checkpoint_close(&c);
    return MR_OK;
}
