/* Shared by the benchmarks. */
#define _GNU_SOURCE   /* madvise, posix_fadvise */
#define _FILE_OFFSET_BITS 64
#include "bench/measure.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

double mr_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

void mr_rounds_add(mr_rounds *r, double value) {
    if (r->count < MR_ROUNDS) r->value[r->count++] = value;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double mr_rounds_median(mr_rounds *r) {
    qsort(r->value, (size_t)r->count, sizeof *r->value, ascending);
    return (r->value[(r->count - 1) / 2] + r->value[r->count / 2]) / 2;
}

void mr_rounds_print(const char *name, mr_rounds *r, bool json) {
    const double median = mr_rounds_median(r);
    const double low = r->value[0], high = r->value[r->count - 1];
    if (json)
        printf(", \"%s\": {\"median\": %.5g, \"low\": %.5g, \"high\": %.5g}", name, median, low,
               high);
    else printf("  %s %.4g (%.4g to %.4g)", name, median, low, high);
}

/* ---- options --------------------------------------------------------------------------------- */

static int number(const char *text, const char *usage) {
    char *end;
    const long value = text == NULL ? 0 : strtol(text, &end, 10);
    if (text == NULL || *end != '\0' || value < 1 || value > MR_ROUNDS) {
        fprintf(stderr, "usage: %s\n", usage);
        exit(MR_USAGE);
    }
    return (int)value;
}

mr_bench mr_bench_options(int argc, char **argv, const char *usage) {
    mr_bench b = {.threads = 1, .rounds = 5, .rest = argv};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) b.json = true;
        else if (strcmp(argv[i], "--threads") == 0) b.threads = number(argv[++i], usage);
        else if (strcmp(argv[i], "--rounds") == 0) b.rounds = number(argv[++i], usage);
        else if (strncmp(argv[i], "--", 2) == 0) number(NULL, usage);
        else b.rest[b.count++] = argv[i];
    }
    mr_set_threads(b.threads);
    return b;
}

/* ---- limits of the machine ------------------------------------------------------------------- */

/* Sums 64-bit words in `streams` parts at once, a line of eight words from each in turn. */
CLONES static uint64_t sum_words(const uint64_t *words, idx n, idx streams) {
    const idx part = n / streams / 8 * 8;
    uint64_t lane[8] = {0}, sum = 0;
    for (idx i = 0; i < part; i += 8)
        for (idx s = 0; s < streams; s++)
            SIMD
            for (idx l = 0; l < 8; l++) lane[l] += words[s * part + i + l];
    for (idx l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

double mr_read_rate(const void *memory, idx bytes, int threads, int streams) {
    static volatile uint64_t total;
    const idx words = bytes / 8;
    uint64_t part[MR_ROUNDS];
    const double start = mr_now();
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads)
#endif
    for (int t = 0; t < threads; t++)
        part[t] = sum_words((const uint64_t *)memory + t * (words / threads), words / threads,
                            streams);
    const double seconds = mr_now() - start;
    for (int t = 0; t < threads; t++) total += part[t];   /* or nothing would have to be read */
    (void)total;
    return 1e-9 * (double)bytes / seconds;
}

const void *mr_bench_memory(void) {
    const size_t bytes = MR_READ_BYTES;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(MR_BAD);
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    return memset(memory, 1, bytes);
}

double mr_gemm_rate(mr_precision precision, idx n) {
    static double *a, *c;
    /* a tenth of a second or more: one product of 10 ms is too short to be typical */
    const int runs = 1 + (int)(2e10 / (2.0 * (double)n * (double)n * (double)n));
    mr_err err = {0};
    if (!mr_engine_built(MR_BLAS_ENGINE)) return 0;
    if (a == NULL) a = mr_alloc(2 * n * n, sizeof *a, &err);
    if (c == NULL) c = mr_alloc(n * n, sizeof *c, &err);
    if (err.code) mr_bench_stop(&err);
    const mr_dtype dtype = precision == MR_F64_RUN ? MR_F64 : MR_F32;
    const mr_matrix W = {a + n * n, dtype, n, n, n, 1};
    const double start = mr_now();
    for (int r = 0; r < runs; r++)
        if (precision == MR_F64_RUN)
            mr_linear_f64(c, a, &W, n, MR_STORE_WIDE, MR_BLAS_ENGINE, NULL);
        else mr_linear_f32((float *)c, (float *)a, &W, n, MR_STORE_WIDE, MR_BLAS_ENGINE, NULL);
    return 2e-9 * runs * (double)n * (double)n * (double)n / (mr_now() - start);
}

double mr_private_bytes(void) {
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0) kilobytes = strtod(line + 8, NULL);
    if (file != NULL) fclose(file);
    return 1024 * kilobytes;
}

/* ---- models ---------------------------------------------------------------------------------- */

int mr_open_cold(const char *path) {
    const int fd = open(path, O_RDONLY);
    if (fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) {
        perror(path);
        exit(MR_BAD);
    }
    return fd;
}

void mr_bench_stop(const mr_err *err) {
    fprintf(stderr, "bench: %s\n", err->text);
    exit((int)err->code);
}

void mr_bench_open(const char *folder, mr_checkpoint *out) {
    mr_err err = {0};
    if (mr_checkpoint_open(folder, out, &err)) mr_bench_stop(&err);
}

mr_run *mr_bench_run(const mr_model *model, mr_engine engine, idx capacity, idx max_tokens,
                     bool last_only) {
    mr_err err = {0};
    mr_run *run;
    const mr_run_options o = {.engine = engine, .n_seqs = 1, .capacity = &capacity,
                              .max_tokens = max_tokens, .last_only = last_only};
    if (mr_run_open(model, &o, &run, &err)) mr_bench_stop(&err);
    return run;
}

void mr_bench_feed(mr_run *run, const mr_model *model, idx n) {
    mr_err err = {0};
    int32_t *tokens = mr_alloc(n, sizeof *tokens, &err);
    if (tokens == NULL) mr_bench_stop(&err);
    for (idx i = 0; i < n; i++) {
        const idx at = mr_run_seen(run, 0) + i;
        tokens[i] = (int32_t)((at * at * 37 + at * 11 + 5) % model->config.vocab_size);
    }
    if (mr_run_forward(run, tokens, &n, &err)) mr_bench_stop(&err);
    mr_free(tokens);
}

const void *mr_bench_file(const mr_checkpoint *c, idx *bytes) {
    uintptr_t first = UINTPTR_MAX, end = 0;
    for (idx i = 0; i < c->tensors.count; i++) {
        const mr_tensor *t = &c->tensors.tensor[i];
        const uintptr_t at = (uintptr_t)t->data;
        first = at < first ? at : first;
        end = at + (uintptr_t)mr_tensor_bytes(t) > end ? at + (uintptr_t)mr_tensor_bytes(t) : end;
    }
    first = (first + 63) / 64 * 64;
    *bytes = (idx)(end - first) < MR_READ_BYTES ? (idx)(end - first) : MR_READ_BYTES;
    return (const void *)first;
}

double mr_bench_active_bytes(const mr_model *model) {
    const mr_sizes s = mr_config_sizes(&model->config);
    return (double)s.flops_token / 2 * (double)mr_dtype_size(model->output.dtype);
}

const char *mr_bench_name(const char *folder) {
    const char *slash = strrchr(folder, '/');
    return slash == NULL ? folder : slash + 1;
}
