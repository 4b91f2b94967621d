/* Bounds of a port, against arithmetic by hand. */
#include "tests/check.h"

#include <math.h>

#include "golden/replay_round.h"
#include "golden/replay_verify.h"

/* y = W x of one number: in f16 nothing from 65520 on is stored as a number. */
static void test_overflow(void **state) {
    (void)state;
    const float three_hundred[] = {300}, one_hundred[] = {100};
    double x = 300, v, e, s, zero[2] = {0, 0}, room[2];
    mr_arithmetic a;
    assert_true(mr_arithmetic_of("f16", "f32", &a));
    const mr_bounded in = {&x, zero, zero + 1}, out = {&v, &e, &s};
    const mr_matrix large = {three_hundred, MR_F32, 1, 1, 1, 1},
                    small = {one_hundred, MR_F32, 1, 1, 1, 1};
    mr_bound_linear(out, in, &large, 1, &a, room);
    assert_true(v == 90000 && isinf(e));
    assert_true(mr_error_ratio(v, (double)INFINITY, e) == 0);
    mr_bound_linear(out, in, &small, 1, &a, room);
    assert_true(v == 30000 && e < 32);          /* 30000 has steps of 16 */
    assert_true(isinf(mr_error_ratio(v, (double)INFINITY, e)));
    assert_true(isinf(mr_error_ratio(v, (double)NAN, e)));
}

/* Scores ln 2 and 0: probabilities 2/3 and 1/3; v = 1 and 0. However bf16 rounds them (171/256 and
 * 171/512, or 1 and 1/2 before the division), the result is 2/3 within 2^-9, which is stored as
 * 171/256. The bound that any rounding obeys allows 172/256 as well. */
static void test_few_keys(void **state) {
    (void)state;
    double p[] = {2.0 / 3, 1.0 / 3}, pe[] = {1e-7, 1e-7}, v[] = {1, 0}, zero[] = {0, 0};
    const idx keys[] = {0, 1};
    const double found[] = {171.0 / 256, 172.0 / 256};
    mr_arithmetic a;
    assert_true(mr_arithmetic_of("bf16", "f32", &a));
    a.inside = 0x1p-24;
    for (int n = 0; n < 2; n++) {
        double o, e, s;
        const mr_bounded out = {&o, &e, &s}, probs = {p, pe, pe}, values = {v, zero, zero};
        mr_bound_weighted_sum(out, probs, values, keys, 2, 1, 1, &a);
        assert_true(mr_error_ratio(o, found[n], e) <= 1);
        mr_bound_few(out, probs, log(2), values, keys, 2, 1, 1, found + n, &a);
        assert_true((mr_error_ratio(o, found[n], e) <= 1) == (n == 0));
    }
}

/* One key has one way, and from five on nobody counts them: (V7) stays, whatever was found. */
static void test_not_few_keys(void **state) {
    double p[] = {0.2, 0.2, 0.2, 0.2, 0.2}, v[] = {1, 2, 4, 8, 16}, zero[5] = {0};
    const idx keys[] = {0, 1, 2, 3, 4};
    const double found[] = {173.0 / 256};
    mr_arithmetic a;
    (void)state;
    assert_true(mr_arithmetic_of("bf16", "f32", &a));
    a.inside = 0x1p-24;
    for (idx n = 1; n <= 5; n++) {
        double o, e, s, before;
        const mr_bounded out = {&o, &e, &s}, probs = {p, zero, zero}, values = {v, zero, zero};
        if (n == 1) p[0] = 1;
        else for (idx i = 0; i < n; i++) p[i] = 1.0 / (double)n;
        mr_bound_weighted_sum(out, probs, values, keys, n, 1, 1, &a);
        before = e;
        mr_bound_few(out, probs, 0, values, keys, n, 1, 1, found, &a);
        assert_true((e == before) == (n == 1 || n == 5));
    }
}

/* 16-bit numbers lose nothing on their way into a tf32 product. */
static void test_tf32_operands(void **state) {
    (void)state;
    mr_arithmetic a;
    assert_true(mr_arithmetic_of("f32", "tf32", &a) && a.operand == 0x1p-11);
    assert_true(mr_arithmetic_of("bf16", "tf32", &a) && a.operand == 0);
    assert_true(mr_arithmetic_of("f16", "tf32", &a) && a.operand == 0);
    assert_false(mr_arithmetic_of("tf32", "f32", &a));
}

/* 1 computed in double lies within 2^-24 of what a float32 file has; what the file says of a
 * float32 run it says exactly. A bf16 run in an f16 file keeps its 8 digits, but 1e-6 loses some
 * of them and 1e6 is infinite there. NaN and infinity have no error. */
static void test_recording(void **state) {
    (void)state;
    double v, e, s;
    const mr_bounded x = {&v, &e, &s};
    mr_arithmetic wide, f32, bf16;
    assert_true(mr_arithmetic_of("f64", "f32", &wide) && mr_arithmetic_of("f32", "f32", &f32) &&
                mr_arithmetic_of("bf16", "f32", &bf16));
    const mr_recording float32 = mr_recording_of("h", MR_F32, &wide),
                       none = mr_recording_of("h", MR_F32, &f32),
                       half = mr_recording_of("h", MR_F16, &bf16);
    v = 1, e = s = 0;
    mr_recorded(x, 0, &float32);
    assert_true(e >= 0x1p-24 && e < 1.001 * 0x1p-24);
    mr_take_recorded(x, 0, 3, &float32);
    assert_true(v == 3 && e >= 3 * 0x1p-24 && e < 3.001 * 0x1p-24);
    v = (double)NAN, e = s = 0;
    mr_recorded(x, 0, &none);
    mr_recorded(x, 0, &float32);
    assert_true(e == 0);
    mr_take_recorded(x, 0, 3, &none);
    assert_true(v == 3 && e == 0);
    v = 1e-6, e = s = 0;
    mr_recorded(x, 0, &half);
    assert_true(half.unit == 0 && e == 0x1p-24);
    v = 1e6, e = s = 0;
    mr_recorded(x, 0, &half);
    mr_take_recorded(x, 0, (double)INFINITY, &half);
    assert_true(v == 1e6 && isinf(e));
    assert_true(mr_recording_of("scores", MR_BF16, &bf16).unit == 0);
    bf16.inside = 0x1p-24;
    assert_true(mr_recording_of("scores", MR_BF16, &bf16).unit == 0x1p-8);
    assert_true(mr_recording_of("h", MR_BF16, &bf16).unit == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_few_keys),      cmocka_unit_test(test_recording),
        cmocka_unit_test(test_tf32_operands), cmocka_unit_test(test_not_few_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
