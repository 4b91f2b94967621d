/* Every term of the bounds (V1)-(V9), alone, against arithmetic by hand: a term too large lets
 * wrong kernels pass, one too small calls right ones wrong. */
#include "tests/bounds.h"

#define W 0x1p-10   /* of sums: gamma_n = n / (1024 - n) */
#define U 0x1p-8    /* of stores */
#define G(n) ((n) / (1024.0 - (n)))

/* (V1) A table is copied; one in double is stored. */
static void test_embedding(void **state) {
    static const double wide[] = {9, 9, 3, -5};
    static const float  narrow[] = {9, 9, 3, -5};
    const mr_matrix f64 = {wide, MR_F64, 2, 2, 2, 1}, f32 = {narrow, MR_F32, 2, 2, 2, 1},
                    none = {NULL, MR_F32, 2, 2, 2, 1};
    const int32_t token = 1;
    numbers y = {{0}, {7, 7}, {7, 7}};
    (void)state;
    mr_bound_embedding(of(&y), &token, &f32, 1, UNITS(.store = U));
    assert_true(y.v[0] == 3 && y.v[1] == -5 && y.e[0] == 0 && y.e[1] == 0 && y.s[1] == 0);
    mr_bound_embedding(of(&y), &token, &f64, 1, UNITS(.store = U));
    assert_true(y.v[1] == -5 && y.e[0] == 3 * U && y.e[1] == 5 * U && y.s[1] == y.e[1]);
    mr_bound_embedding(of(&y), &token, &none, 1, EXACT);
    assert_true(y.v[1] == 0 && isinf(y.e[1]) && isinf(y.s[1]) && y.v[2] == 0 && y.e[2] == 0);
}

/* (V2) x = (1, 7), eps 11: r = 1/6. g = (2, -5): y = (1/3, -35/6). */
static void test_rmsnorm(void **state) {
    static const float gain[] = {2, -5};
    const mr_matrix g = {gain, MR_F32, 1, 2, 2, 1};
    numbers x = {{1, 7}, {0}, {0}}, y;
    (void)state;
    mr_bound_rmsnorm(of(&y), of(&x), &g, 1, 11, UNITS(.sum = W));
    check_is("y[0]", 1.0 / 3, y.v[0]);
    check_is("y[1]", -35.0 / 6, y.v[1]);
    check_is("sum", 35.0 / 6 * (G(4) / 2 + 4 * W), y.e[1]);
    mr_bound_rmsnorm(of(&y), of(&x), &g, 1, 11, UNITS(.store = U, .tiny = 1));
    check_is("stores", 2 * U * 35 / 6 + 2, y.e[1]);
    assert_true(y.s[1] == y.e[1]);   /* two roundings cannot reach six deviations */
    /* sum (|x| + e) e = 9/64 + 29/16 = 125/64; over d, times r^2 */
    const double relative = 125.0 / 64 / 2 / 36;
    x.e[0] = 0.125, x.e[1] = 0.25;
    mr_bound_rmsnorm(of(&y), of(&x), &g, 1, 11, EXACT);
    check_is("operand[0]", 2.0 / 6 * 0.125 * (1 + relative) + relative / 3, y.e[0]);
    check_is("operand[1]", 5.0 / 6 * 0.25 * (1 + relative) + relative * 35 / 6, y.e[1]);
    x.e[0] = x.e[1] = 1, x.s[0] = 0.125, x.s[1] = 0.25;
    mr_bound_rmsnorm(of(&y), of(&x), &g, 1, 11, EXACT);
    const double likely = sqrt(1.0 / 64 + 49.0 / 16) / 2 / 36;
    check_is("likely", hypot(5.0 / 6 * 0.25, 35.0 / 6 * likely), y.s[1]);
    x.s[0] = x.s[1] = 0;
    mr_bound_rmsnorm(of(&y), of(&x), &g, 1, 11, UNITS(.sum = W));
    check_is("sum, likely", 35.0 / 6 * (3 * sqrt(2) + 4) * W, y.s[1]);
}

/* (V3) W = (2 -3; 1 1), x = (5, 7) and (1, -1): y = -11, 12, 5, 0. */
static void test_linear(void **state) {
    static const float weights[] = {2, -3, 1, 1};
    const mr_matrix m = {weights, MR_F32, 2, 2, 2, 1};
    numbers x = {{5, 7, 1, -1}, {0.125, 0.25, 0, 0.5}, {0}}, y;
    double room[4];
    (void)state;
    mr_bound_linear(of(&y), of(&x), &m, 2, UNITS(.sum = W), room);
    assert_true(y.v[0] == -11 && y.v[1] == 12 && y.v[2] == 5 && y.v[3] == 0);
    check_is("sum[0]", 1 + 32 * G(2), y.e[0]);          /* 2 * 41/8 + 3 * 29/4 = 32 */
    check_is("sum[1]", 0.375 + 12.375 * G(2), y.e[1]);
    check_is("sum[2]", 1.5 + 6.5 * G(2), y.e[2]);
    check_is("sum[3]", 0.5 + 2.5 * G(2), y.e[3]);
    check_is("sum, likely", 6 * sqrt(2) * W * sqrt(100 + 441 + 121), y.s[0]);
    mr_bound_linear(of(&y), of(&x), &m, 1, UNITS(.operand = 0x1p-10), room);
    check_is("operand", 1 + 32 * (0x1p-9 + 0x1p-20), y.e[0]);
    check_is("operand, likely", 6 * 0x1p-10 * sqrt(100 + 441), y.s[0]);
    mr_bound_linear(of(&y), of(&x), &m, 1, UNITS(.store = U, .tiny = 0x1p-3), room);
    check_is("store", 1 + 12 * U + 0x1p-3, y.e[0]);
    check_is("store, likely", 3.5 * 11 * U + 0x1p-3, y.s[0]);
    x.s[0] = 0.125, x.s[1] = 0.25;
    mr_bound_linear(of(&y), of(&x), &m, 1, EXACT, room);
    check_is("errors, likely", hypot(0.25, 0.75), y.s[0]);
}

/* (V4) theta 4, D 4: frequencies 1 and 1/2, whose angles are off by 1 and 10 units of 2^-24. */
static void test_rope_angles(void **state) {
    const mr_rotation by = {.theta = 4, .angles = MR_ANGLES_EXACT};
    const double turned[] = {0x1p-4, 5 * 0x1p-4};   /* 2^20 2^-24, 10 * 2^19 2^-24 */
    int64_t position = 1 << 20;
    numbers x = {{3, -4, 5, 12}, {0}, {0}}, y;
    (void)state;
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, EXACT);
    check_is("turned, pair 0", 7 * (turned[0] + 0x1p-23), y.e[0]);
    check_is("turned, pair 1", 17 * (turned[1] + 0x1p-23), y.e[3]);
    check_is("turned, likely", 13 * (turned[1] + 0x1p-23), y.s[2]);
    position = (int64_t)1 << 40;
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, EXACT);
    check_is("nothing is known", 7 * 2, y.e[1]);
    position = 0;
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, UNITS(.inside = U, .sum = W));
    assert_true(y.v[0] == 3 && y.v[1] == -4 && y.v[2] == 5 && y.v[3] == 12);
    check_is("cosines kept", 7 * (0x1p-23 + 3 * U), y.e[0]);
    x.e[0] = 1;
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, UNITS(.inside = U, .sum = W));
    check_is("cosines kept, likely", sqrt(32) * (0x1p-23 + 4.5 * U), y.s[0]);
    x.e[0] = 0;
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, UNITS(.inside = W, .sum = U));
    check_is("sums", 17 * (0x1p-23 + 3 * U), y.e[2]);
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, UNITS(.store = U));
    check_is("store", 17 * 0x1p-23 + U * (12 + 17 * 0x1p-23), y.e[3]);
    x.e[2] = 0.5, x.e[3] = 0.25, x.s[2] = 0.125, x.s[3] = 0.0625, position = 2;
    mr_bound_rope(of(&y), of(&x), &position, 1, 1, 4, &by, EXACT);
    const double c = cos(1), s = sin(1), off = 10 * 0x1p-24 + 0x1p-23;
    check_is("y[2]", 5 * c - 12 * s, y.v[2]);
    check_is("y[3]", 12 * c + 5 * s, y.v[3]);
    check_is("operand[2]", 0.5 * c + 0.25 * s + 17.75 * off, y.e[2]);
    check_is("operand[3]", 0.25 * c + 0.5 * s + 17.75 * off, y.e[3]);
    check_is("operand, likely", hypot(hypot(0.125, 0.0625), hypot(5.5, 12.25) * off), y.s[3]);
}

/* Two tokens of two heads, halves as pairs; theta another from position 2 on; rounded frequencies:
 * 10^-1/2 = 0.3162 is 162/512 in bf16. */
static void test_rope_places(void **state) {
    const mr_rotation halves = {.theta = 4, .layout = MR_HALF_SPLIT, .table = 2, .table_theta = 1,
                                .angles = MR_ANGLES_EXACT},
                      rounded = {.theta = 10, .frequencies = MR_STORE_BF16};
    const int64_t position[] = {1, 2};
    double xv[16] = {0}, zero[16] = {0}, v[16], e[16], s[16];
    const mr_bounded x = {xv, zero, zero}, y = {v, e, s};
    (void)state;
    for (int head = 0; head < 4; head++) xv[4 * head + 1] = head + 1;
    mr_bound_rope(y, x, position, 2, 2, 4, &halves, EXACT);
    check_is("token 0, head 1", 2 * cos(0.5), v[5]);
    check_is("token 0, head 1", 2 * sin(0.5), v[7]);
    check_is("token 1, head 0", 3 * cos(2), v[9]);
    check_is("token 1, head 1", 4 * sin(2), v[15]);
    assert_true(v[4] == 0 && v[6] == 0 && v[12] == 0);
    xv[2] = 1;
    mr_bound_rope(y, x, position, 1, 1, 4, &rounded, EXACT);
    check_is("rounded", cos(162.0 / 512), v[2]);
    check_is("rounded", sin(162.0 / 512), v[3]);
}

/* The widest head: its last pair, halves apart, at frequency theta^-(1 - 2/D). */
static void test_rope_widest(void **state) {
    enum { D = MR_MAX_HEAD_DIM };
    static double x[3][D], v[3][D];
    const mr_rotation by = {.theta = 4, .layout = MR_HALF_SPLIT, .angles = MR_ANGLES_EXACT};
    const int64_t position = 1;
    (void)state;
    x[0][D / 2 - 1] = 1;
    mr_bound_rope((mr_bounded){v[0], v[1], v[2]}, (mr_bounded){x[0], x[1], x[2]}, &position, 1, 1,
                  D, &by, EXACT);
    const double angle = pow(4, -(D - 2.0) / D);
    check_is("cosine", cos(angle), v[0][D / 2 - 1]);
    check_is("sine", sin(angle), v[0][D - 1]);
}

/* (V5) q = (1, -2), k = (3, 5) in row 1 of width 3: (3 - 10) / 2. */
static void test_scores(void **state) {
    numbers q = {{1, -2}, {0.125, 0.25}, {0}}, y,
            k = {{9, 9, 9, 3, 5}, {9, 9, 9, 0.5, 0.0625}, {0}};
    const idx key = 1;
    (void)state;
    mr_bound_scores(of(&y), of(&q), of(&k), &key, 1, 2, 3, 0.5, EXACT);
    assert_true(y.v[0] == -3.5);
    /* 9/8 * 1/2 + 1/8 * 3, 9/4 * 1/16 + 1/4 * 5 */
    check_is("operands", (0.9375 + 1.390625) / 2, y.e[0]);
    const double all = 1.125 * 3.5 + 2.25 * 5.0625;
    mr_bound_scores(of(&y), of(&q), of(&k), &key, 1, 2, 3, 0.5, UNITS(.sum = W));
    check_is("sum", (2.328125 + G(3) * all) / 2, y.e[0]);
    check_is("sum, likely", 3 * sqrt(2) * W * sqrt(9 + 100 + 49), y.s[0]);
    mr_bound_scores(of(&y), of(&q), of(&k), &key, 1, 2, 3, 0.5, UNITS(.operand = W));
    check_is("matrix operands", (2.328125 + 2 * W * all) / 2, y.e[0]);
    check_is("matrix operands, likely", 3 * W * sqrt(109), y.s[0]);
    mr_bound_scores(of(&y), of(&q), of(&k), &key, 1, 2, 3, 0.5,
                    UNITS(.inside = U, .store = 1, .tiny = 0x1p-4));
    check_is("kept twice", 1.1640625 + 2 * U * (3.5 + 1.1640625) + 0x1p-3, y.e[0]);
    q.s[0] = 0.0625, q.s[1] = 0.125, k.s[3] = 0.25, k.s[4] = 0.03125;
    mr_bound_scores(of(&y), of(&q), of(&k), &key, 1, 2, 3, 0.5, EXACT);
    check_is("likely", sqrt(0.0625 + 0.03515625 + 0.00390625 + 0.390625) / 2, y.s[0]);
}

/* (V6) scores 0 and ln 3: 1/4 and 3/4. */
static void test_softmax(void **state) {
    numbers z = {{0, log(3)}, {0.125, 0.0625}, {0}}, p, rare = {{0, log(99)}, {1, 0}, {0}};
    (void)state;
    mr_bound_softmax(of(&p), of(&z), 2, EXACT);
    check_is("p[0]", 0.25, p.v[0]);
    check_is("p[1]", 0.75, p.v[1]);
    const double mean = 0.25 * 0.125 + 0.75 * 0.0625;
    check_is("up[0]", 0.25 * expm1(0.125 + mean), p.e[0]);
    check_is("up[1]", 0.75 * expm1(0.0625 + mean), p.e[1]);
    mr_bound_softmax(of(&p), of(&rare), 2, EXACT);   /* the rare one may grow by e */
    check_is("down", 0.99 * (1 - 1 / (1 + 0.01 * expm1(1))), p.e[1]);
    z.e[0] = z.e[1] = 0;
    mr_bound_softmax(of(&p), of(&z), 2, UNITS(.sum = W));
    const double weight = 0.25 * (log(3) + 4) + 0.75 * 4, own = G(2) + 4 * W;
    check_is("sum[0]", 0.25 * expm1((log(3) + 4 + weight) * W + own), p.e[0]);
    check_is("sum[1]", 0.75 * expm1((4 + weight) * W + own), p.e[1]);
    mr_bound_softmax(of(&p), of(&z), 2, UNITS(.inside = U, .store = 1, .tiny = 0x1p-5));
    check_is("kept", 0.75 * U + 0x1p-5, p.e[1]);
    z.e[0] = z.e[1] = 1, z.s[0] = 0.125, z.s[1] = 0.0625;
    mr_bound_softmax(of(&p), of(&z), 2, EXACT);
    const double all = hypot(0.25 * 0.125, 0.75 * 0.0625);
    check_is("likely", 0.25 * expm1(0.125 + all), p.s[0]);
    z.s[0] = z.s[1] = 0;
    mr_bound_softmax(of(&p), of(&z), 2, UNITS(.sum = W));
    const double exps = hypot(0.25 * (log(3) + 4), 0.75 * 4) * W;
    check_is("sum, likely", 0.75 * expm1(4 * W + hypot(exps, 6 * sqrt(2) * W)), p.s[1]);
}

/* (V7) p = (1/4, 3/4), v = (2, -4) in rows 2 and 0: -5/2. */
static void test_weighted_sum(void **state) {
    numbers p = {{0.25, 0.75, 1}, {0}, {0}}, v = {{-4, 9, 2}, {0}, {0}}, o;
    const idx keys[] = {2, 0};
    (void)state;
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 2, 1, 1, UNITS(.sum = W));
    assert_true(o.v[0] == -2.5);
    check_is("sum", 3.5 * G(8), o.e[0]);
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 2, 1, 1, UNITS(.operand = W));
    check_is("matrix operands", 3.5 * 2 * W, o.e[0]);
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 2, 1, 1, UNITS(.store = U, .tiny = 1));
    check_is("stores", 3.5 * U + 6 + U * (2.5 + 3.5 * U + 6) + 1, o.e[0]);
    p.e[0] = 0.125, p.e[1] = 0.0625, v.e[2] = 0.25, v.e[0] = 0.5;
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 2, 1, 1, UNITS(.sum = W));
    check_is("operands", 1 + 4.5 * G(8), o.e[0]);   /* 9/32 + 1/16 + 9/32 + 3/8, 27/32 + 117/32 */
    check_is("sum, likely", 6 * sqrt(2) * W * sqrt(0.25 + 9 + 6.25), o.s[0]);
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 2, 1, 1, UNITS(.operand = W));
    check_is("matrix operands, likely", 6 * W * sqrt(9.25), o.s[0]);
    p.s[0] = 0.125, p.s[1] = 0.0625, v.s[2] = 0.0625, v.s[0] = 0.125;
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 2, 1, 1, EXACT);
    /* the row as a whole moves by 1/12 */
    check_is("likely", hypot(hypot(0.25, 0.25), 2.5 / 12) + 0.25 / 16 + 0.75 / 8, o.s[0]);
    mr_bound_weighted_sum(of(&o), of(&p), of(&v), keys, 0, 1, 1, EXACT);
    assert_true(o.v[0] == 0 && o.e[0] == 0 && o.s[0] == 0);
}

/* (V8) 3 - 5; silu(ln 3) = 3/4 ln 3, times 2. */
static void test_add_and_swiglu(void **state) {
    numbers a = {{1, 3}, {0, 0.125}, {0, 0.0625}}, b = {{1, -5}, {0, 0.25}, {0, 0.125}}, y,
            gate = {{log(3)}, {0}, {0}}, up = {{2}, {0}, {0}};
    const double silu = 0.75 * log(3);
    (void)state;
    mr_bound_add(of(&y), of(&a), of(&b), 2, UNITS(.store = U, .tiny = 0x1p-9));
    assert_true(y.v[0] == 2 && y.v[1] == -2);
    check_is("store", 0.375 + U * 2.375 + 0x1p-9, y.e[1]);
    check_is("likely", hypot(hypot(0.0625, 0.125), 7 * U) + 0x1p-9, y.s[1]);

    mr_bound_swiglu(of(&y), of(&gate), of(&up), 1, UNITS(.sum = W));
    check_is("silu", 2 * silu, y.v[0]);
    check_is("functions", 2 * (log(3) + 8) * W * silu, y.e[0]);
    mr_bound_swiglu(of(&y), of(&gate), of(&up), 1, UNITS(.store = U, .tiny = 1));
    const double first = U * silu + 1;
    check_is("stores", 2 * first + U * (2 * silu + 2 * first) + 1, y.e[0]);
    up.e[0] = 0.25, gate.e[0] = 0.125;
    mr_bound_swiglu(of(&y), of(&gate), of(&up), 1, EXACT);
    check_is("operands", 1.1 * 0.125 * 2.25 + silu * 0.25, y.e[0]);
    up.s[0] = 0.0625, gate.s[0] = 0.03125;
    mr_bound_swiglu(of(&y), of(&gate), of(&up), 1, EXACT);
    check_is("likely", hypot(2 * 1.1 * 0.03125, silu * 0.0625), y.s[0]);
    up.s[0] = up.e[0] = gate.s[0] = 0;
    /* below -88 exp(-x) may be infinite in float, and 0 is right */
    gate.v[0] = -87.9, gate.e[0] = 0;
    mr_bound_swiglu(of(&y), of(&gate), of(&up), 1, UNITS(.sum = W));
    assert_true(y.e[0] < 0.1 * fabs(y.v[0]));
    gate.v[0] = -88.1;
    mr_bound_swiglu(of(&y), of(&gate), of(&up), 1, UNITS(.sum = W));
    assert_true(y.e[0] >= fabs(y.v[0]));
}

/* (V9) 1/4 * 8 - 3/4 * 4. */
static void test_combine(void **state) {
    numbers w = {{0.25, 0.75}, {0}, {0}}, a = {{9, 8}, {0}, {0}}, b = {{9, -4}, {0}, {0}}, y;
    const mr_bounded outs[] = {of(&a), of(&b)};
    (void)state;
    mr_bound_combine(of(&y), of(&w), outs, 2, 2, UNITS(.sum = W));
    assert_true(y.v[0] == 9 && y.v[1] == -1);
    check_is("sums", 3 * W * 5, y.e[1]);
    mr_bound_combine(of(&y), of(&w), outs, 2, 2, UNITS(.store = U, .tiny = 1));
    check_is("stores", 15 * U + 2 + U * (1 + 15 * U + 2) + 1, y.e[1]);
    w.e[0] = 0.125, w.e[1] = 0.0625, a.e[1] = 0.5, b.e[1] = 0.25;
    /* 17/16 + 1/8 + 17/64 + 3/16 */
    mr_bound_combine(of(&y), of(&w), outs, 2, 2, UNITS(.sum = W));
    check_is("operands", 1.640625 + 3 * W * (5 + 1.640625), y.e[1]);
    mr_bound_combine(of(&y), of(&w), outs, 2, 2, UNITS(.store = U));
    check_is("stores, likely", hypot(3.5 * sqrt(3) * U * 5, 3.5 * U), y.s[1]);
    w.s[0] = 0.0625, w.s[1] = 0.03125, a.s[1] = 0.25, b.s[1] = 0.125;
    mr_bound_combine(of(&y), of(&w), outs, 2, 2, EXACT);
    check_is("likely", sqrt(0.25 + 0.00390625 + 0.015625 + 0.0087890625), y.s[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedding),     cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_linear),        cmocka_unit_test(test_rope_angles),
        cmocka_unit_test(test_rope_places),   cmocka_unit_test(test_rope_widest),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_softmax),       cmocka_unit_test(test_weighted_sum),
        cmocka_unit_test(test_add_and_swiglu), cmocka_unit_test(test_combine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
