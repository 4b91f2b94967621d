/* RMSNorm: each token divided by its own root mean square, then scaled. */
#include "tests/check.h"

#include <math.h>

#include "ref/mr.h"

enum { MOST = 600 };

static mr_matrix gains(const void *g, mr_dtype dtype, idx d) {
    return (mr_matrix){g, dtype, 1, d, d, 1};
}

static void fill_both(double *wide, float *narrow, idx n, uint64_t stream) {
    fill_f32(narrow, n, stream);
    for (idx i = 0; i < n; i++) wide[i] = (double)narrow[i];
}

/* By hand: the mean square of (3,4) is 12.5; with eps 3.5 the root is 4, so (3,4)/4 = (0.75,1),
 * times g = (2,-1). Added to the sum (25), outside the root, or with gains 1+g, the result would
 * differ. The second token, (0,8): root of 32 + 3.5. */
static void worked_example(void **state) {
    (void)state;
    const double x[] = {3, 4, 0, 8}, g[] = {2, -1};
    const double want[] = {1.5, -1, 0, -8 / sqrt(35.5)};
    const float narrow[] = {3, 4, 0, 8};
    const mr_matrix G = gains(g, MR_F64, 2);
    double y[4];
    float y32[4];
    mr_rmsnorm_f64(y, x, &G, 2, 3.5, MR_STORE_WIDE);
    check_close("f64", want, y, 4, EPS_F64, 2, 1);
    mr_rmsnorm_f32(y32, narrow, &G, 2, 3.5, MR_STORE_WIDE);
    check_close_f32("f32", want, y32, 4, 2, 1);
}

/* The definition, written as plainly as possible. */
static double plain(const double *x, const double *g, idx d, double eps, idx i) {
    double sum = 0;
    for (idx j = 0; j < d; j++) sum += x[j] * x[j];
    return g[i] * x[i] / sqrt(sum / (double)d + eps);
}

/* Both sides of the block of 256 gains and of the 16 lanes. f32 forms the mean square in double and
 * rounds twice, half a unit each; f64 has besides that the sum of squares, all positive, in at most
 * 38 additions. */
static void sizes_and_precisions(void **state) {
    (void)state;
    const idx sizes[] = {1, 2, 3, 5, 10, 16, 17, 50, 255, 256, 257, 512, 513};
    double x[3 * MOST], g[MOST], y[3 * MOST];
    float x32[3 * MOST], g32[MOST], y32[3 * MOST];
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const idx d = sizes[k];
        fill_both(x, x32, 3 * d, (uint64_t)d);
        fill_both(g, g32, d, 1000 + (uint64_t)d);
        const mr_matrix G = gains(g, MR_F64, d), G32 = gains(g32, MR_F32, d);
        mr_rmsnorm_f64(y, x, &G, 3, 1e-5, MR_STORE_WIDE);
        mr_rmsnorm_f32(y32, x32, &G32, 3, 1e-5, MR_STORE_WIDE);
        for (idx i = 0; i < 3 * d; i++) {
            const double want = plain(x + i / d * d, g, d, 1e-5, i % d);
            check_close("f64", &want, y + i, 1, EPS_F64, fabs(want), 45);
            check_close_f32("f32", &want, y32 + i, 1, fabs(want), 1.01);
        }
    }
}

/* Rows do not know of each other, and y may be x. */
static void rows_and_aliasing(void **state) {
    (void)state;
    enum { T = 4, d = 300 };
    double x[T * d], g[d], together[T * d], alone[d];
    fill_f64(x, T * d, 1);
    fill_f64(g, d, 2);
    const mr_matrix G = gains(g, MR_F64, d);
    mr_rmsnorm_f64(together, x, &G, T, 1e-5, MR_STORE_WIDE);
    for (idx t = 0; t < T; t++) {
        mr_rmsnorm_f64(alone, x + t * d, &G, 1, 1e-5, MR_STORE_WIDE);
        check_bits("alone", together + t * d, alone, d, sizeof *alone);
    }
    mr_rmsnorm_f64(x, x, &G, T, 1e-5, MR_STORE_WIDE);
    check_bits("in place", together, x, T * d, sizeof *x);
    mr_rmsnorm_f64(x, x, &G, 0, 1e-5, MR_STORE_WIDE);
    check_bits("no rows", together, x, T * d, sizeof *x);
}

/* Without eps the result does not change when the row is scaled by a power of two; its mean square
 * is 1. No mean is subtracted: a constant row stays constant, with its sign. */
static void properties(void **state) {
    (void)state;
    enum { d = 50 };
    double x[d], y[d], z[d], one[d], sum = 0;
    for (idx i = 0; i < d; i++) one[i] = 1;
    const mr_matrix G = gains(one, MR_F64, d);
    fill_f64(x, d, 5);
    mr_rmsnorm_f64(y, x, &G, 1, 0, MR_STORE_WIDE);
    for (idx i = 0; i < d; i++) sum += y[i] * y[i];
    check_number("mean square", 1, sum / d, 20);
    for (idx i = 0; i < d; i++) x[i] *= 0x1p-20;
    mr_rmsnorm_f64(z, x, &G, 1, 0, MR_STORE_WIDE);
    check_bits("scaled", y, z, d, sizeof *z);
    for (idx i = 0; i < d; i++) x[i] = -7;
    mr_rmsnorm_f64(y, x, &G, 1, 0, MR_STORE_WIDE);
    for (idx i = 0; i < d; i++) check_number("constant", -1, y[i], 2);
}

/* At a root mean square of 3e-3, eps = 1e-5 is more than half of the sum: a wrong eps cannot hide.
 * Zeros stay zeros, and numbers whose squares would overflow a float are fine. */
static void small_zero_and_large(void **state) {
    (void)state;
    const float small[] = {3e-3F, -3e-3F}, zero[] = {0, 0}, large[] = {3e30F, 4e30F},
                one[] = {1, 1};
    const mr_matrix G = gains(one, MR_F32, 2);
    float y[2];
    mr_rmsnorm_f32(y, small, &G, 1, 1e-5, MR_STORE_WIDE);
    const double s = (double)small[0] / sqrt((double)small[0] * (double)small[0] + 1e-5),
                 want[] = {s, -s};
    check_close_f32("small", want, y, 2, s, 1);
    mr_rmsnorm_f32(y, zero, &G, 1, 1e-5, MR_STORE_WIDE);
    assert_true(y[0] == 0 && y[1] == 0);
    mr_rmsnorm_f32(y, large, &G, 1, 1e-5, MR_STORE_WIDE);
    const double l[] = {3 / sqrt(12.5), 4 / sqrt(12.5)};
    check_close_f32("large", l, y, 2, 1, 2);
}

/* bf16 by hand: x = 1 + 3/2^8 with eps = 4 - x^2 has root 2, so x/2 = 0.5 + 3/2^9, halfway between
 * 0.5 + 2^-8 (odd) and 0.5 + 2^-7 (even): it becomes 0.5078125 *before* the gain 3, giving
 * 1.5234375; rounding only after would give 1.515625. The gain 3 + 2^-9 is rounded to 3 because its
 * file is wider than bf16. */
static void rounds_before_the_gain(void **state) {
    (void)state;
    const double x = 1 + 3 * 0x1p-8, eps = 4 - x * x, g = 3 + 0x1p-9, want = 1.5234375;
    const float x32 = (float)x;
    const mr_matrix G = gains(&g, MR_F64, 1);
    double y;
    float y32;
    mr_rmsnorm_f64(&y, &x, &G, 1, eps, MR_STORE_BF16);
    check_bits("f64", &want, &y, 1, sizeof y);
    mr_rmsnorm_f32(&y32, &x32, &G, 1, eps, MR_STORE_BF16);
    check_close_f32("f32", &want, &y32, 1, 1, 0);
    /* half holds x/2 and the gain */
    const double half = 3 * (0.5 + 3 * 0x1p-9) + 0x1p-9 * (0.5 + 3 * 0x1p-9);
    mr_rmsnorm_f64(&y, &x, &G, 1, eps, MR_STORE_F16);
    check_bits("f16", &half, &y, 1, sizeof y);
}

/* A gain vector as a column of another matrix. */
static void strided_gain(void **state) {
    (void)state;
    const float g[] = {2, 99, -1, 99};
    const double x[] = {3, 4}, want[] = {1.5, -1};
    const mr_matrix G = {g, MR_F32, 1, 2, 4, 2};
    double y[2];
    mr_rmsnorm_f64(y, x, &G, 1, 3.5, MR_STORE_WIDE);
    check_bits("strided", want, y, 2, sizeof *y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(sizes_and_precisions),
        cmocka_unit_test(rows_and_aliasing), cmocka_unit_test(properties),
        cmocka_unit_test(small_zero_and_large), cmocka_unit_test(rounds_before_the_gain),
        cmocka_unit_test(strided_gain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
