/* What this machine can do: reading memory, and OpenBLAS. Asserts nothing.
 *     limits [--threads N] [--rounds N] [--json] */
#include <stdio.h>

#include "bench/measure.h"

int main(int argc, char **argv) {
    mr_bench b = mr_bench_options(argc, argv, "limits [--threads N] [--rounds N] [--json]");
    const void *memory = mr_bench_memory();
    mr_rounds one = {0}, four = {0}, single = {0}, wide = {0};
    for (int r = 0; r < b.rounds; r++) {
        mr_rounds_add(&one, mr_read_rate(memory, MR_READ_BYTES, b.threads, 1));
        mr_rounds_add(&four, mr_read_rate(memory, MR_READ_BYTES, b.threads, 4));
        mr_rounds_add(&single, mr_gemm_rate(MR_F32_RUN, 1024));
        mr_rounds_add(&wide, mr_gemm_rate(MR_F64_RUN, 1024));
    }
    printf(b.json ? "{\"bench\": \"limits\", \"threads\": %d, \"OpenBLAS\": \"%s\""
                  : "limits, %d threads, OpenBLAS with %s:", b.threads, mr_blas_pool());
    mr_rounds_print("read GB/s", &one, b.json);
    mr_rounds_print("read in 4 streams GB/s", &four, b.json);
    mr_rounds_print("sgemm GFLOP/s", &single, b.json);
    mr_rounds_print("dgemm GFLOP/s", &wide, b.json);
    puts(b.json ? "}" : "");
    return MR_OK;
}
