/* The two engines: the same sums wherever the rows of a matrix lie, and the pool that BLAS has. */
#include <string.h>

#include "ref/mr.h"
#include "tests/check.h"

/* Rows that overlap, 1 2 3 and 2 3 4, and rows at an odd address, as a file may have them: y = W x
 * with x = 1 is 6 and 9 in every engine. */
static void rows_anywhere(void **state) {
    const float values[4] = {1, 2, 3, 4}, x[3] = {1, 1, 1}, want[2] = {6, 9};
    unsigned char bytes[sizeof values + 1];
    float scratch[64 * 3], y[2];
    (void)state;
    memcpy(bytes + 1, values, sizeof values);
    const mr_matrix W[] = {{values, MR_F32, 2, 3, 1, 1}, {bytes + 1, MR_F32, 2, 3, 1, 1}};
    for (int i = 0; i < 2; i++)
        for (int engine = MR_PLAIN_ENGINE; engine <= MR_BLAS_ENGINE; engine++) {
            mr_linear_f32(y, x, &W[i], 1, MR_STORE_WIDE, (mr_engine)engine, scratch);
            check_bits("y", want, y, 2, sizeof *y);
        }
    const mr_matrix apart = {bytes + 1, MR_F32, 2, 2, 2, 1};
    for (int engine = MR_PLAIN_ENGINE; engine <= MR_BLAS_ENGINE; engine++) {
        const float sums[2] = {3, 7};
        mr_linear_f32(y, x, &apart, 1, MR_STORE_WIDE, (mr_engine)engine, scratch);
        check_bits("y", sums, y, 2, sizeof *y);
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
