/* SwiGLU's gate: silu of the first operand only, safe at any size. */
#include "tests/check.h"

#include <math.h>

#include "ref/mr.h"

/* silu(z) = z / (1 + exp(-z)) with 30 digits of arithmetic, times u. */
static void worked_example(void **state) {
    (void)state;
    const double a[] = {0, 1, -1, 2, -0.5, 10, -20, -100}, u[] = {5, 2, 2, -1, 4, 1, 1, 1};
    const double silu[] = {0,
                           0.73105857863000488,
                           -0.26894142136999512,
                           1.7615941559557649,
                           -0.18877033439907272,
                           9.9995460213129757,
                           -4.1223072363804072e-8,
                           -3.720075976020836e-42};
    double got[8];
    float a32[8], u32[8], got32[8];
    for (int i = 0; i < 8; i++) a32[i] = (float)a[i], u32[i] = (float)u[i];
    mr_swiglu_f64(got, a, u, 8, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    mr_swiglu_f32(got32, a32, u32, 8, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    for (int i = 0; i < 8; i++) {
        check_number("f64", silu[i] * u[i], got[i], 4);
        /* silu in double, rounded to float, then times u */
        const double want = (double)(float)silu[i] * u[i];
        check_close_f32("f32", &want, &got32[i], 1, fabs(want) + 1e-45, 0.51);
    }
}

/* silu(-5) is small and silu(5) is not: swapped operands cannot agree. silu(z) + silu(-z) = z
 * tanh(z/2). */
static void the_gate_is_the_first(void **state) {
    (void)state;
    const double gate[] = {-5, 5}, up[] = {5, -5};
    double right[2], swapped[2];
    mr_swiglu_f64(right, gate, up, 2, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    mr_swiglu_f64(swapped, up, gate, 2, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_number("gate -5", -25 / (1 + exp(5)), right[0], 4);
    check_number("gate 5", -25 / (1 + exp(-5)), right[1], 4);
    check_bits("swapped", &right[0], &swapped[1], 1, sizeof *right);
    assert_true(fabs(right[0] - swapped[0]) > 20);
}

static void identity(void **state) {
    (void)state;
    double a[100], minus[100], one[100], up[100], down[100];
    fill_f64(a, 100, 1);
    for (int i = 0; i < 100; i++) minus[i] = -(a[i] *= 20), one[i] = 1;
    mr_swiglu_f64(up, a, one, 100, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    mr_swiglu_f64(down, minus, one, 100, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    for (int i = 0; i < 100; i++) {
        const double sum = up[i] + down[i], want = a[i] * tanh(a[i] / 2),
                     difference = up[i] - down[i];
        check_close("even part", &want, &sum, 1, EPS_F64, fabs(a[i]), 4);
        check_close("odd part", &a[i], &difference, 1, EPS_F64, fabs(a[i]), 4);
    }
}

/* exp must not overflow: far left is zero, far right is z. In place into either operand; n = 0 does
 * nothing. */
static void extremes_and_aliasing(void **state) {
    (void)state;
    double a[] = {1e308, -1e308, 800, -800, -0.0, 1}, u[] = {1, 1, 2, 2, 3, 3}, want[6];
    mr_swiglu_f64(want, a, u, 6, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    assert_true(want[0] == 1e308 && want[1] == 0 && want[2] == 1600 && want[3] == 0 &&
                want[4] == 0);
    mr_swiglu_f64(u, a, u, 6, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_bits("into u", want, u, 6, sizeof *u);
    const double again[] = {1, 1, 2, 2, 3, 3};
    mr_swiglu_f64(a, a, again, 6, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_bits("into a", want, a, 6, sizeof *a);
    mr_swiglu_f64(a, a, again, 0, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    check_bits("nothing", want, a, 6, sizeof *a);
    const float far_left = -200, far_right = 200, two = 2;
    float y;
    mr_swiglu_f32(&y, &far_left, &two, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    assert_true(y == 0);
    mr_swiglu_f32(&y, &far_right, &two, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    assert_true(y == 400);
    const double nan_ = (double)NAN;
    mr_swiglu_f64(a, &nan_, again, 1, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    assert_true(isnan(a[0]));
}

/* bf16: silu(1) = 0.7310... becomes 0.73046875, silu(-1) becomes -0.26953125, *then* times u; the
 * product is left alone. */
static void storage(void **state) {
    (void)state;
    const double a[] = {1, -1}, u[] = {1 + 0x1p-7, 3},
                 want[] = {0.73046875 * (1 + 0x1p-7), -0.26953125 * 3};
    const float a32[] = {1, -1}, u32[] = {1 + 0x1p-7F, 3};
    double y[2];
    float y32[2];
    mr_swiglu_f64(y, a, u, 2, MR_STORE_BF16, MR_PLAIN_ENGINE);
    check_bits("f64", want, y, 2, sizeof *y);
    mr_swiglu_f32(y32, a32, u32, 2, MR_STORE_BF16, MR_PLAIN_ENGINE);
    check_close_f32("f32", want, y32, 2, 1, 0);
}

/* The BLAS engine's exponentials: within 2 units of the last place (f32: little more than half of
 * one), NaN kept, what is below e^-708 as good as nothing. */
static void blas_exponentials(void **state) {
    (void)state;
    enum { N = 3000 };
    static double z[N], one[N], want[N], got[N], da[2 * N], du[2 * N];
    static float z32[N], one32[N], got32[N];
    for (int i = 0; i < N; i++) {
        z[i] = (double)(z32[i] = (float)(i - N / 2) * (i % 3 ? 0.013F : 0.49F));
        one[i] = (double)(one32[i] = 1);
    }
    mr_swiglu_f64(want, z, one, N, MR_STORE_WIDE, MR_PLAIN_ENGINE);
    mr_swiglu_f64(got, z, one, N, MR_STORE_WIDE, MR_BLAS_ENGINE);
    mr_swiglu_f32(got32, z32, one32, N, MR_STORE_WIDE, MR_BLAS_ENGINE);
    for (int i = 0; i < N; i++) {
        if (z[i] < -708) continue;
        check_number("f64", want[i], got[i], 4);
        if (z[i] > -80) check_close_f32("f32", &want[i], &got32[i], 1, fabs(want[i]), 0.6);
    }
    const double odd[] = {-1e300, -709, (double)NAN, -(double)INFINITY};
    mr_swiglu_f64(got, odd, one, 4, MR_STORE_WIDE, MR_BLAS_ENGINE);
    assert_true(got[0] == 0 && fabs(got[1]) < 1e-300 && isnan(got[2]) && isnan(got[3]));
    for (int engine = 0; engine < 2; engine++)
        mr_swiglu_backward_f64(da + engine * N, du + engine * N, one, z, one, N,
                               (mr_engine)engine);
    check_close("da", da, da + N, N, EPS_F64, 1, 8);
    check_close("du", du, du + N, N, EPS_F64, 1, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(the_gate_is_the_first),
        cmocka_unit_test(identity), cmocka_unit_test(extremes_and_aliasing),
        cmocka_unit_test(storage), cmocka_unit_test(blas_exponentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
