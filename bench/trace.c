/* How fast traces are written and compared, against zlib's own rate over the same bytes in memory
 * and against a plain program that writes (and fsyncs) or reads the same files; and how memory
 * grows with the number of tensors. MB are those of the tensors; what is read was put out of memory
 * before. Asserts nothing.
 *     trace FOLDER [--threads N] [--rounds N] [--json] */
#define _POSIX_C_SOURCE 200112L   /* fsync */
#define _FILE_OFFSET_BITS 64

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "bench/measure.h"
#include "golden/compare.h"
#include "golden/trace.h"

enum { TENSORS = 8, ELEMENTS = 1 << 20, EARLY = 2, LEVEL = 1 };   /* of golden/zip_write.c */

static const double MEGABYTES = 1e-6 * TENSORS * ELEMENTS * sizeof(float);

/* What one round gives, in seconds, and growth in bytes. */
typedef struct {
    double ours, zlib, disk, grows;
} times;

static float  tensor[TENSORS][ELEMENTS];
static Bytef *packed[TENSORS];
static uLong  packed_bytes[TENSORS];

static void stop(const char *path) {
    perror(path);
    exit(MR_BAD);
}

/* Close to bell-shaped, as activations are: sums of four uniform numbers. The port's are off by a
 * rounding or two. */
static void fill(bool port) {
    uint64_t z = 1;
    for (int k = 0; k < TENSORS; k++)
        for (int i = 0; i < ELEMENTS; i++) {
            double sum = -2;
            for (int n = 0; n < 4; n++) {
                z = z * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                sum += (double)(z >> 40) / (1 << 24);
            }
            tensor[k][i] = (float)(sum * (port ? 1 + 1e-7 * (double)(z >> 62) : 1));
        }
}

/* ---- ours ------------------------------------------------------------------------------------ */

static double write_trace(const char *path, double *grows) {
    mr_err err = {0};
    mr_trace_writer *w;
    double early = 0;
    const double start = mr_now();
    if (mr_trace_create(path, 1, &w, &err)) mr_bench_stop(&err);
    for (int k = 0; k < TENSORS; k++) {
        char name[64];
        snprintf(name, sizeof name, "layers.%d.h", k);
        const mr_tensor t = {name, MR_F32, 2, {ELEMENTS / 1024, 1024}, tensor[k]};
        if (mr_trace_add(w, &t, &err)) mr_bench_stop(&err);
        if (k == EARLY) early = mr_private_bytes();
    }
    *grows = mr_private_bytes() - early;
    if (mr_trace_finish(w, "{}", &err)) mr_bench_stop(&err);
    return mr_now() - start;
}

/* What `compare` without a model does with every tensor. */
static double compare(const char *golden, const char *port, double *grows) {
    static volatile double found;
    mr_err err = {0};
    mr_trace *a, *b;
    double early = 0;
    const double start = mr_now();
    double *want = mr_alloc(ELEMENTS, sizeof *want, &err);
    double *got = mr_alloc(ELEMENTS, sizeof *got, &err);
    if (err.code || mr_trace_open(golden, &a, &err) || mr_trace_open(port, &b, &err))
        mr_bench_stop(&err);
    for (idx i = 0; i < mr_trace_count(b); i++) {
        if (mr_trace_read(a, i, want, &err) || mr_trace_read(b, i, got, &err)) mr_bench_stop(&err);
        found = mr_compare(want, got, ELEMENTS, 24).relative;
        if (i == EARLY) early = mr_private_bytes();
    }
    *grows = mr_private_bytes() - early;
    (void)found;
    mr_trace_close(a);
    mr_trace_close(b);
    mr_free(want);
    mr_free(got);
    return mr_now() - start;
}

/* ---- the limits ------------------------------------------------------------------------------ */

/* crc32 and deflate of all tensors, from memory to memory. */
static double deflating(void) {
    const double start = mr_now();
    for (int k = 0; k < TENSORS; k++) {
        z_stream z = {0};
        const uLong most = compressBound(sizeof tensor[k]);
        static volatile uLong sum;
        mr_err err = {0};
        if (packed[k] == NULL) packed[k] = mr_alloc((idx)most, 1, &err);
        if (packed[k] == NULL) mr_bench_stop(&err);
        sum = crc32(0, (Bytef *)tensor[k], sizeof tensor[k]);
        (void)sum;
        deflateInit2(&z, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
        z.next_in = (Bytef *)tensor[k], z.avail_in = sizeof tensor[k];
        z.next_out = packed[k], z.avail_out = (uInt)most;
        deflate(&z, Z_FINISH);
        packed_bytes[k] = z.total_out;
        deflateEnd(&z);
    }
    return mr_now() - start;
}

/* inflate and crc32 of two traces. */
static double inflating(void) {
    static Bytef out[sizeof tensor[0]];
    static volatile uLong sum;
    const double start = mr_now();
    for (int k = 0; k < 2 * TENSORS; k++) {
        z_stream z = {0};
        inflateInit2(&z, -MAX_WBITS);
        z.next_in = packed[k / 2], z.avail_in = (uInt)packed_bytes[k / 2];
        z.next_out = out, z.avail_out = sizeof out;
        inflate(&z, Z_FINISH);
        sum = crc32(0, out, sizeof out);
        inflateEnd(&z);
    }
    (void)sum;
    return mr_now() - start;
}

/* Seconds of reading a file, and the bytes read, if wanted. */
static double reading(const char *path, char *bytes, size_t room, size_t *got) {
    const double start = mr_now();
    const int fd = open(path, O_RDONLY);
    ssize_t n = 1;
    for (*got = 0; n > 0; *got += (size_t)n) n = read(fd, bytes + *got, room - *got);
    if (fd < 0 || n < 0) stop(path);
    close(fd);
    return mr_now() - start;
}

static double writing(const char *path, const char *bytes, size_t count) {
    const double start = mr_now();
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ssize_t n = 1;
    for (size_t at = 0; at < count && n > 0; at += (size_t)n) n = write(fd, bytes + at, count - at);
    if (fd < 0 || n <= 0 || fsync(fd) != 0 || close(fd) != 0) stop(path);
    return mr_now() - start;
}

/* ---- both ------------------------------------------------------------------------------------ */

static void measure(const char *folder, const char *kind, times *write, times *compared) {
    static char bytes[2 * sizeof tensor];
    char golden[512], port[512], plain[512];
    size_t count;
    snprintf(golden, sizeof golden, "%s/bench_golden.%s", folder, kind);
    snprintf(port, sizeof port, "%s/bench_port.%s", folder, kind);
    snprintf(plain, sizeof plain, "%s/bench_plain", folder);
    fill(true);
    write_trace(port, &write->grows);
    fill(false);
    write->zlib = deflating();
    compared->zlib = inflating();
    write->ours = write_trace(golden, &write->grows);
    close(mr_open_cold(golden)), close(mr_open_cold(port));
    compared->disk = reading(port, bytes, sizeof bytes, &count);
    compared->disk += reading(golden, bytes, sizeof bytes, &count);
    write->disk = writing(plain, bytes, count);
    close(mr_open_cold(golden)), close(mr_open_cold(port));
    compared->ours = compare(golden, port, &compared->grows);
    remove(golden), remove(port), remove(plain);
}

static void print(const mr_bench *b, const char *kind, const char *what, double megabytes,
                  const times *t) {
    mr_rounds rate = {0}, zlib = {0}, disk = {0};
    double grows = 0;
    for (int r = 0; r < b->rounds; r++) {
        mr_rounds_add(&rate, megabytes / t[r].ours);
        mr_rounds_add(&zlib, t[r].zlib / t[r].ours);
        mr_rounds_add(&disk, t[r].disk / t[r].ours);
        grows = t[r].grows > grows ? t[r].grows : grows;
    }
    printf(b->json ? "{\"bench\": \"trace\", \"trace\": \"%s %s\", \"grows MB\": %.2f"
                   : "trace, %s %s: grows %.2f MB,", kind, what, 1e-6 * grows);
    mr_rounds_print("MB/s", &rate, b->json);
    if (strcmp(kind, "npz") == 0) mr_rounds_print("of zlib", &zlib, b->json);
    mr_rounds_print("of disk", &disk, b->json);
    puts(b->json ? "}" : "");
}

int main(int argc, char **argv) {
    static const char *const usage = "trace FOLDER [--threads N] [--rounds N] [--json]";
    static const char *const kinds[] = {"npz", "safetensors"};
    const mr_bench b = mr_bench_options(argc, argv, usage);
    if (b.count != 1) {
        fprintf(stderr, "usage: %s\n", usage);
        return MR_USAGE;
    }
    for (int k = 0; k < 2; k++) {
        times write[MR_ROUNDS] = {{0}}, compared[MR_ROUNDS] = {{0}};
        for (int r = 0; r < b.rounds; r++) measure(b.rest[0], kinds[k], &write[r], &compared[r]);
        print(&b, kinds[k], "written", MEGABYTES, write);
        print(&b, kinds[k], "compared", 2 * MEGABYTES, compared);
    }
    return MR_OK;
}
