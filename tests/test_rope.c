/* Rotary embedding: angles near and far, both layouts, both rounding conventions. */
#include "tests/check.h"

#include <math.h>

#include "ref/mr.h"

/* By hand. Pair 0 makes a quarter turn (cos 0, sin 1), pair 1 stays: interleaved (1,2) -> (-2,1);
 * half-split the pairs are (1,3) -> (-3,1) and (2,4) -> (2,4). The second token turns pair 1
 * instead. Both heads turn alike. */
static void worked_example(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}, c[] = {0, 1, 1, 0},
                 s[] = {1, 0, 0, 1};
    const double inter[] = {-2, 1, 3, 4, -6, 5, 7, 8, 1, 2, -4, 3, 5, 6, -8, 7};
    const double half[] = {-3, 2, 1, 4, -7, 6, 5, 8, 1, -4, 3, 2, 5, -8, 7, 6};
    const float x32[] = {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}, c32[] = {0, 1, 1, 0},
                s32[] = {1, 0, 0, 1};
    double y[16];
    float y32[16];
    mr_rope_f64(y, x, c, s, 2, 2, 4, MR_INTERLEAVED, MR_STORE_WIDE, MR_NATIVE);
    check_close("interleaved", inter, y, 16, EPS_F64, 1, 0);
    mr_rope_f64(y, x, c, s, 2, 2, 4, MR_HALF_SPLIT, MR_STORE_WIDE, MR_NATIVE);
    check_close("half-split", half, y, 16, EPS_F64, 1, 0);
    mr_rope_f32(y32, x32, c32, s32, 2, 2, 4, MR_INTERLEAVED, MR_STORE_WIDE, MR_HF);
    check_close_f32("f32", inter, y32, 16, 1, 0);
}

/* D = 4, theta = 1e4: frequencies 1 and 0.01. cos 3, cos 0.03, sin 3, sin 0.03; position 0 is the
 * identity. */
static void table_near(void **state) {
    (void)state;
    const int64_t position[] = {0, 3};
    const double want_cos[] = {1, 1, -0.9899924966004454, 0.9995500337489875};
    const double want_sin[] = {0, 0, 0.1411200080598672, 0.02999550020249566};
    double c[4], s[4];
    float c32[4], s32[4];
    mr_rope_table_f64(c, s, position, 2, 4, 1e4, MR_ANGLES_EXACT);
    check_close("cos", want_cos, c, 4, EPS_F64, 1, 2);
    check_close("sin", want_sin, s, 4, EPS_F64, 1, 2);
    mr_rope_table_f32(c32, s32, position, 2, 4, 1e4, MR_ANGLES_EXACT);
    check_close_f32("cos", want_cos, c32, 4, 1, 0.51);
    check_close_f32("sin", want_sin, s32, 4, 1, 0.51);
    check_bits("identity", want_cos, c, 2, sizeof *c);
    check_bits("identity", want_sin, s, 2, sizeof *s);
}

/* Position 131071, D = 128: what PyTorch's float32 path gives (frequency, product and cosine each a
 * float), to the bit. */
static void table_far_in_float(void **state) {
    (void)state;
    const struct { double theta; int pair; double cos, sin; } want[] = {
        {1e4, 0, -0.8179835081100464, -0.5752416849136353},
        {1e4, 1, -0.9777132272720337, -0.20994475483894348},
        {1e4, 17, -0.957097053527832, 0.2897675633430481},
        {1e4, 40, 0.9785860776901245, -0.205838143825531},
        {1e4, 63, -0.8407545685768127, 0.5414164662361145},
        {1e6, 1, -0.5900049805641174, 0.8073996305465698},
        {1e6, 17, -0.8445166945457458, -0.5355291962623596},
        {1e6, 40, -0.25114065408706665, -0.9679505825042725},
        {1e6, 63, 0.9868014454841614, 0.1619347482919693},
    };
    const int64_t position = 131071;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double c[64], s[64];
        float c32[64], s32[64];
        mr_rope_table_f64(c, s, &position, 1, 128, want[i].theta, MR_ANGLES_F32);
        check_bits("cos", &want[i].cos, &c[want[i].pair], 1, sizeof *c);
        check_bits("sin", &want[i].sin, &s[want[i].pair], 1, sizeof *s);
        mr_rope_table_f32(c32, s32, &position, 1, 128, want[i].theta, MR_ANGLES_F32);
        check_close_f32("cos", &want[i].cos, &c32[want[i].pair], 1, 1, 0);
        check_close_f32("sin", &want[i].sin, &s32[want[i].pair], 1, 1, 0);
    }
}

/* The same position exactly (40-digit arithmetic): in double, one unit of the angle's rounding is
 * about 131071 eps. */
static void table_far_exactly(void **state) {
    (void)state;
    const struct { double theta; int pair; double cos, sin; } want[] = {
        {1e4, 1, -0.978270912936452238, -0.207330704196171307},
        {1e4, 17, -0.957302329414112372, 0.289088654392237059},
        {1e6, 1, -0.58556921072653811, 0.810622414844975284},
        {1e6, 40, -0.251140992375436194, -0.967950516270682661},
    };
    const int64_t position = 131071;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double c[64], s[64];
        mr_rope_table_f64(c, s, &position, 1, 128, want[i].theta, MR_ANGLES_EXACT);
        check_close("cos", &want[i].cos, &c[want[i].pair], 1, EPS_F64, 131071, 2);
        check_close("sin", &want[i].sin, &s[want[i].pair], 1, EPS_F64, 131071, 2);
    }
}

/* 2^24 + 1 is no float: float angles see position 2^24, exact ones do not. */
static void beyond_2_to_24(void **state) {
    (void)state;
    const int64_t position[] = {16777216, 16777217};
    double c[2], s[2];
    mr_rope_table_f64(c, s, position, 2, 2, 1e4, MR_ANGLES_F32);
    assert_true(c[0] == c[1] && s[0] == s[1]);
    check_close("float", &(double){(double)(float)cos(16777216.0)}, c, 1, EPS_F64, 1, 0);
    mr_rope_table_f64(c, s, position, 2, 2, 1e4, MR_ANGLES_EXACT);
    for (int t = 0; t < 2; t++) {
        check_number("cos", cos((double)position[t]), c[t], 0);
        check_number("sin", sin((double)position[t]), s[t], 0);
    }
}

static double dot(const double *a, const double *b, idx n) {
    double sum = 0;
    for (idx i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Every pair keeps its length; q . k depends on the distance of their positions only. */
static void norm_and_offset(void **state) {
    (void)state;
    enum { D = 8, T = 4 };
    const int64_t position[T] = {2, 7, 131002, 131007};
    double q[D], k[D], c[T * D / 2], s[T * D / 2], rq[T][D], rk[T][D];
    fill_f64(q, D, 1);
    fill_f64(k, D, 2);
    mr_rope_table_f64(c, s, position, T, D, 1e4, MR_ANGLES_EXACT);
    for (int layout = 0; layout < 2; layout++) {
        for (idx t = 0; t < T; t++) {
            const double *ct = c + t * D / 2, *st = s + t * D / 2;
            mr_rope_f64(rq[t], q, ct, st, 1, 1, D, (mr_rope_layout)layout, MR_STORE_WIDE,
                        MR_NATIVE);
            mr_rope_f64(rk[t], k, ct, st, 1, 1, D, (mr_rope_layout)layout, MR_STORE_WIDE,
                        MR_NATIVE);
            check_number("norm", dot(q, q, D), dot(rq[t], rq[t], D), 16);
        }
        const double near = dot(rq[1], rk[0], D), far = dot(rq[3], rk[2], D),
                     other = dot(rq[2], rk[0], D);
        check_close("offset 5", &near, &far, 1, EPS_F64, 131007.0 * D, 1);
        assert_true(fabs(near - other) > 1e-3);
    }
}

/* f32 against f64 of the same floats: two products and a sum, half a unit each. */
static void precisions(void **state) {
    (void)state;
    enum { T = 3, H = 2, D = 10, n = T * H * D };
    float x32[n], c32[T * D / 2], s32[T * D / 2], y32[n];
    double x[n], c[T * D / 2], s[T * D / 2], y[n];
    fill_f32(x32, n, 1);
    fill_f32(c32, T * D / 2, 2);
    fill_f32(s32, T * D / 2, 3);
    for (int i = 0; i < n; i++) x[i] = (double)x32[i];
    for (int i = 0; i < T * D / 2; i++) c[i] = (double)c32[i], s[i] = (double)s32[i];
    mr_rope_f64(y, x, c, s, T, H, D, MR_HALF_SPLIT, MR_STORE_WIDE, MR_NATIVE);
    mr_rope_f32(y32, x32, c32, s32, T, H, D, MR_HALF_SPLIT, MR_STORE_WIDE, MR_NATIVE);
    check_close_f32("y", y, y32, n, 2, 1);
    mr_rope_f32(x32, x32, c32, s32, T, H, D, MR_HALF_SPLIT, MR_STORE_WIDE, MR_NATIVE);
    check_bits("in place", y32, x32, n, sizeof *x32);
}

/* D = 6: interleaved (0 1 2 3 4 5) is half-split (0 2 4 1 3 5), for every head and token; and
 * back. */
static void relayout(void **state) {
    (void)state;
    double x[] = {0,  1,  2,  3,  4,  5,  10, 11, 12, 13, 14, 15,
                  20, 21, 22, 23, 24, 25, 30, 31, 32, 33, 34, 35};
    const double half[] = {0,  2,  4,  1,  3,  5,  10, 12, 14, 11, 13, 15,
                           20, 22, 24, 21, 23, 25, 30, 32, 34, 31, 33, 35};
    double y[24];
    for (int i = 0; i < 24; i++) y[i] = x[i];
    mr_rope_relayout_f64(y, 2, 2, 6, MR_INTERLEAVED, MR_INTERLEAVED);
    check_bits("same", x, y, 24, sizeof *y);
    mr_rope_relayout_f64(y, 2, 2, 6, MR_INTERLEAVED, MR_HALF_SPLIT);
    check_bits("to half-split", half, y, 24, sizeof *y);
    mr_rope_relayout_f64(y, 2, 2, 6, MR_HALF_SPLIT, MR_INTERLEAVED);
    check_bits("back", x, y, 24, sizeof *y);
    float y32[6] = {0, 2, 4, 1, 3, 5};
    mr_rope_relayout_f32(y32, 1, 1, 6, MR_HALF_SPLIT, MR_INTERLEAVED);
    for (int i = 0; i < 6; i++) assert_true(y32[i] == (float)i);
}

/* Rotating in one layout is rotating in the other between two reorderings, bit for bit, at the
 * largest D as well. */
static void layouts_agree(void **state) {
    (void)state;
    enum { D = MR_MAX_HEAD_DIM };
    static double x[D], a[D], b[D], c[D / 2], s[D / 2];
    const int64_t position = 77;
    fill_f64(x, D, 1);
    mr_rope_table_f64(c, s, &position, 1, D, 1e6, MR_ANGLES_EXACT);
    mr_rope_f64(a, x, c, s, 1, 1, D, MR_INTERLEAVED, MR_STORE_WIDE, MR_NATIVE);
    mr_rope_relayout_f64(x, 1, 1, D, MR_INTERLEAVED, MR_HALF_SPLIT);
    mr_rope_f64(b, x, c, s, 1, 1, D, MR_HALF_SPLIT, MR_STORE_WIDE, MR_NATIVE);
    mr_rope_relayout_f64(b, 1, 1, D, MR_HALF_SPLIT, MR_INTERLEAVED);
    check_bits("layouts", a, b, D, sizeof *a);
}

/* bf16, x = (1 + 2^-7, 1), c = 0.75 + 2^-9, s = 0.5 + 3/2^9. The hf convention rounds c to 0.75 and
 * s to 0.5078125 (ties to even), then x0 c = 0.755859375 to 0.7578125 (a tie again) and x0 s =
 * 0.5117797... to 0.51171875; sums are left to the caller. native rounds nothing here; and with an
 * hf model in wide storage nothing is rounded either. */
static void storage_conventions(void **state) {
    (void)state;
    const double x[] = {1 + 0x1p-7, 1}, c = 0.75 + 0x1p-9, s = 0.5 + 3 * 0x1p-9;
    const double hf[] = {0.7578125 - 0.5078125, 0.75 + 0.51171875},
                 wide[] = {x[0] * c - s, c + x[0] * s};
    const float x32[] = {1 + 0x1p-7F, 1}, c32 = (float)c, s32 = (float)s;
    double y[2];
    float y32[2];
    mr_rope_f64(y, x, &c, &s, 1, 1, 2, MR_INTERLEAVED, MR_STORE_BF16, MR_HF);
    check_bits("hf", hf, y, 2, sizeof *y);
    mr_rope_f32(y32, x32, &c32, &s32, 1, 1, 2, MR_INTERLEAVED, MR_STORE_BF16, MR_HF);
    check_close_f32("hf", hf, y32, 2, 1, 0);
    mr_rope_f64(y, x, &c, &s, 1, 1, 2, MR_INTERLEAVED, MR_STORE_BF16, MR_NATIVE);
    check_bits("native", wide, y, 2, sizeof *y);
    mr_rope_f64(y, x, &c, &s, 1, 1, 2, MR_INTERLEAVED, MR_STORE_WIDE, MR_HF);
    check_bits("wide", wide, y, 2, sizeof *y);
    /* half of 0.5 + 2^-12 is a tie: 0.5 */
    const double fine = 0.5 + 0x1p-12, half[] = {0.5, 0.5};
    mr_rope_f64(y, (const double[]){1, 0}, &fine, &fine, 1, 1, 2, MR_INTERLEAVED, MR_STORE_F16,
                MR_HF);
    check_bits("half", half, y, 2, sizeof *y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(table_near),
        cmocka_unit_test(table_far_in_float), cmocka_unit_test(table_far_exactly),
        cmocka_unit_test(beyond_2_to_24), cmocka_unit_test(norm_and_offset),
        cmocka_unit_test(precisions), cmocka_unit_test(relayout), cmocka_unit_test(layouts_agree),
        cmocka_unit_test(storage_conventions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
