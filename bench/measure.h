/* What every benchmark needs: a clock, medians with their spread, the machine's limits, a model. */
#ifndef MR_BENCH_MEASURE_H
#define MR_BENCH_MEASURE_H

#include "ref/mr.h"
#include "weights/checkpoint.h"

enum { MR_ROUNDS = 64, MR_READ_BYTES = 1 << 28 };

/* Figures of one quantity, one per round. */
typedef struct {
    double value[MR_ROUNDS];
    int    count;
} mr_rounds;

void   mr_rounds_add(mr_rounds *r, double value);
double mr_rounds_median(mr_rounds *r);   /* sorts */
/* Prints "median (least to most)", or in JSON {"median":..,"low":..,"high":..}. */
void   mr_rounds_print(const char *name, mr_rounds *r, bool json);

double mr_now(void);   /* seconds */

/* Options all programs share, taken out of argv: --json, --threads N, --rounds N. Stops with
 * status 2 and the usage when another option is found. */
typedef struct {
    bool json;
    int  threads, rounds;   /* defaults 1 and 5 */
    char **rest;            /* what is no option */
    int  count;
} mr_bench;

mr_bench mr_bench_options(int argc, char **argv, const char *usage);

/* Gigabytes per second of reading memory: every thread reads its part in `streams` places at
 * once. */
double mr_read_rate(const void *memory, idx bytes, int threads, int streams);

/* MR_READ_BYTES of memory of the process, in 4 KiB pages. */
const void *mr_bench_memory(void);

/* Bytes of this process that no file backs, in memory now; 0 where /proc does not say. */
double mr_private_bytes(void);

/* GFLOP/s of OpenBLAS for two n x n matrices; 0 in a build without it. */
double mr_gemm_rate(mr_precision precision, idx n);

/* Opens a file for reading with nothing of it in memory, or stops with a message. */
int mr_open_cold(const char *path);

/* Stops with a message. */
void mr_bench_stop(const mr_err *err);

/* Where a checkpoint of one file is mapped, at most MR_READ_BYTES of it: the pages its weights
 * come from. */
const void *mr_bench_file(const mr_checkpoint *checkpoint, idx *bytes);

/* A checkpoint, and a run of it with one sequence. */
void    mr_bench_open(const char *folder, mr_checkpoint *out);
mr_run *mr_bench_run(const mr_model *model, mr_engine engine, idx capacity, idx max_tokens,
                     bool last_only);

/* Feeds n tokens made from their positions by a formula. */
void mr_bench_feed(mr_run *run, const mr_model *model, idx n);

/* Bytes of the weights that one token reads: every matrix it is multiplied with. */
double mr_bench_active_bytes(const mr_model *model);

const char *mr_bench_name(const char *folder);   /* last part of a path */

#endif
