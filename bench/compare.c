/* How fast two traces are compared, against reading both files once. Asserts nothing.
 *     compare [megabytes per trace] [folder] */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "golden/compare.h"
#include "golden/record.h"
#include "golden/trace.h"

enum { ELEMENTS = 1 << 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Tensors of 4 MB; every element of the second trace is off by a little. */
static void write_trace(const char *path, int tensors, float off) {
    static float x[ELEMENTS];
    const int64_t dims[] = {ELEMENTS / 1024, 1024};
    mr_record trace = mr_record_open(path, "{}");
    for (int k = 0; k < tensors; k++) {
        char name[64];
        for (int i = 0; i < ELEMENTS; i++)
            x[i] = (float)(((unsigned)i * 2654435761u + (unsigned)k) % 100003u) * 1e-5f * (1 + off);
        snprintf(name, sizeof name, "layers.%d.h", k);
        mr_record_add(&trace, name, MR_REC_F32, 2, dims, x);
    }
    if (mr_record_close(&trace) != 0) fprintf(stderr, "%s\n", trace.error), exit(3);
}

static double read_once(const char *path) {
    static char buffer[1 << 20];
    const double start = now();
    FILE *file = fopen(path, "rb");
    if (file == NULL) exit(3);
    setvbuf(file, NULL, _IONBF, 0);
    while (fread(buffer, 1, sizeof buffer, file) > 0) {}
    fclose(file);
    return now() - start;
}

/* What compare without --model does with every tensor. */
static double compare(const char *golden, const char *port, double *relative) {
    const double start = now();
    mr_trace *a, *b;
    mr_err err = {0};
    double *want = mr_alloc(ELEMENTS, sizeof *want, &err);
    double *got = mr_alloc(ELEMENTS, sizeof *got, &err);
    if (err.code || mr_trace_open(golden, &a, &err) || mr_trace_open(port, &b, &err)) exit(3);
    for (idx i = 0; i < mr_trace_count(a); i++) {
        if (mr_trace_read(a, i, want, &err) || mr_trace_read(b, i, got, &err)) exit(3);
        *relative += mr_compare(want, got, ELEMENTS, 24).relative;
    }
    mr_trace_close(a);
    mr_trace_close(b);
    mr_free(want);
    mr_free(got);
    return now() - start;
}

int main(int argc, char **argv) {
    const int tensors = (argc > 1 ? atoi(argv[1]) : 512) / 4;
    const char *folder = argc > 2 ? argv[2] : ".";
    char golden[512], port[512];
    double relative = 0;
    snprintf(golden, sizeof golden, "%s/bench_golden.npz", folder);
    snprintf(port, sizeof port, "%s/bench_port.npz", folder);
    write_trace(golden, tensors, 0);
    write_trace(port, tensors, 1e-6f);
    const double gigabytes = 2e-9 * 4 * ELEMENTS * tensors;
    const double cold = read_once(golden) + read_once(port);
    const double once = read_once(golden) + read_once(port);
    const double whole = compare(golden, port, &relative);
    printf("%.2f GB: read once %.2f GB/s (first time %.2f), compared %.2f GB/s, ratio %.1f; mean "
           "relative error %.2g\n", gigabytes, gigabytes / once, gigabytes / cold,
           gigabytes / whole, whole / once, relative / tensors);
    remove(golden);
    remove(port);
    return 0;
}
