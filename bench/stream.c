/* A prompt of 256 tokens through a model that is not in memory: bytes of the file per second, as a
 * fraction of what the disk gives to a program that only reads, and operations per second, as a
 * fraction of sgemm's. Run it where memory is limited (bench/report.py does) to see a model larger
 * than memory; the hash of the logits tells whether anything changed. Asserts nothing.
 *     stream MODEL... [--threads N] [--rounds N] [--json] */
#define _POSIX_C_SOURCE 200112L   /* read */
#define _FILE_OFFSET_BITS 64

#include <stdio.h>
#include <unistd.h>

#include "bench/measure.h"
#include "weights/pages.h"

enum { TOKENS = 256, BLOCK = 1 << 22 };

/* Gigabytes per second of reading the file from its beginning to its end; nothing of it stays in
 * memory. */
static double disk_rate(const char *path) {
    static char block[BLOCK];
    const int fd = mr_open_cold(path);
    double bytes = 0;
    const double start = mr_now();
    for (ssize_t n = 1; n > 0; bytes += (double)n) n = read(fd, block, sizeof block);
    const double seconds = mr_now() - start;
    close(fd);
    close(mr_open_cold(path));
    return 1e-9 * bytes / seconds;
}

/* FNV-1a over the last token's logits. */
static uint64_t hash_of(const mr_run *run, idx V) {
    mr_err err = {0};
    uint64_t hash = UINT64_C(14695981039346656037);
    double *logits = mr_alloc(V, sizeof *logits, &err);
    if (err.code) mr_bench_stop(&err);
    mr_run_logits(run, 0, logits);
    const unsigned char *byte = (const unsigned char *)logits;
    for (idx i = 0; i < V * (idx)sizeof *logits; i++)
        hash = (hash ^ byte[i]) * UINT64_C(1099511628211);
    mr_free(logits);
    return hash;
}

/* Seconds from opening the model to its logits. */
static double prefill(const char *folder, double *bytes, double *work, uint64_t *hash) {
    mr_err err = {0};
    mr_checkpoint c;
    mr_run *run;
    const idx capacity = TOKENS;
    const mr_run_options o = {.n_seqs = 1, .capacity = &capacity, .max_tokens = TOKENS,
                              .engine = mr_engine_built(MR_BLAS_ENGINE) ? MR_BLAS_ENGINE
                                                                        : MR_PLAIN_ENGINE,
                              .last_only = true, .coming = mr_pages_coming};
    const double start = mr_now();
    mr_bench_open(folder, &c);
    if (mr_run_open(&c.model, &o, &run, &err)) mr_bench_stop(&err);
    mr_bench_feed(run, &c.model, TOKENS);
    const double seconds = mr_now() - start;
    const mr_sizes s = mr_config_sizes(&c.model.config);
    *bytes = (double)s.total * (double)mr_dtype_size(c.model.output.dtype);
    *work = (double)s.flops_token * TOKENS;
    *hash = hash_of(run, c.model.output.rows);
    mr_run_close(run);
    mr_checkpoint_close(&c);
    return seconds;
}

static void measure(const mr_bench *b, const char *folder) {
    mr_rounds disk = {0}, of_disk = {0}, of_gemm = {0};
    double bytes = 0, work = 0;
    uint64_t hash = 0;
    char path[4096];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    double before = disk_rate(path);
    for (int r = 0; r < b->rounds; r++) {
        const double gemm = mr_gemm_rate(MR_F32_RUN, 1024);
        const double seconds = prefill(folder, &bytes, &work, &hash);
        const double after = disk_rate(path), rate = (before + after) / 2;
        before = after;
        mr_rounds_add(&disk, rate);
        mr_rounds_add(&of_disk, 1e-9 * bytes / seconds / rate);
        if (gemm > 0) mr_rounds_add(&of_gemm, 1e-9 * work / seconds / gemm);
    }
    printf(b->json ? "{\"bench\": \"stream\", \"model\": \"%s\", \"threads\": %d, \"GB\": %.2f, "
                     "\"hash\": \"%016llx\"" : "stream, %s, %d threads, %.2f GB, logits %016llx:",
           mr_bench_name(folder), b->threads, 1e-9 * bytes, (unsigned long long)hash);
    mr_rounds_print("disk GB/s", &disk, b->json);
    mr_rounds_print("of disk", &of_disk, b->json);
    if (of_gemm.count > 0) mr_rounds_print("of sgemm", &of_gemm, b->json);
    puts(b->json ? "}" : "");
}

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv,
                                  "stream MODEL... [--threads N] [--rounds N] [--json]");
    for (int i = 0; i < b.count; i++) measure(&b, b.rest[i]);
    return MR_OK;
}
