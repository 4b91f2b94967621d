/* The two engines: the same sums wherever the rows of a matrix lie, and the pool that BLAS has. */
#include <string.h>

#include "ref/mr.h"
#include "tests/check.h"

/* Rows that overlap, 1 2 3 and 2 3 4, and rows at an odd address, as a file may have them: y = W x
 * with x = 1 is 6 and 9, or 3 and 7, in every engine, for one token and for the least that BLAS
 * takes. */
static void rows_anywhere(void **state) {
    enum { T = MR_BLAS_TOKENS };
    const float values[4] = {1, 2, 3, 4}, want[3][2] = {{6, 9}, {6, 9}, {3, 7}};
    unsigned char bytes[sizeof values + 1];
    float scratch[mr_linear_scratch(3)], x[3 * T], y[2 * T];
    (void)state;
    memcpy(bytes + 1, values, sizeof values);
    for (int i = 0; i < 3 * T; i++) x[i] = 1;
    const mr_matrix W[] = {{values, MR_F32, 2, 3, 1, 1}, {bytes + 1, MR_F32, 2, 3, 1, 1},
                           {bytes + 1, MR_F32, 2, 2, 2, 1}};
    for (int i = 0; i < 3; i++)
        for (int engine = MR_PLAIN_ENGINE; engine <= MR_BLAS_ENGINE; engine++)
            for (idx tokens = 1; tokens <= T; tokens += T - 1) {
                mr_linear_f32(y, x, &W[i], tokens, MR_STORE_WIDE, (mr_engine)engine, scratch);
                for (idx t = 0; t < tokens; t++) check_bits("y", want[i], y + 2 * t, 2, sizeof *y);
            }
}

/* One of the words that the documents use. */
static void pool(void **state) {
    const char *name = mr_blas_pool();
    (void)state;
    assert_true(strcmp(name, "OpenMP") == 0 || strcmp(name, "pthread") == 0 ||
                strcmp(name, "one thread") == 0 || strcmp(name, "none") == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_anywhere), cmocka_unit_test(pool)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
