/* Every term of the bounds of gradients (V13)-(V15), alone, against arithmetic by hand. */
#include "tests/bounds.h"

#include "golden/replay_backward.h"

#define W 0x1p-10   /* of sums: gamma_n = n / (1024 - n) */
#define U 0x1p-8    /* of stores */
#define G(n) ((n) / (1024.0 - (n)))

/* (V13) two tokens, one row, two columns: 2 * 5 - 3 * 7. */
static void test_linear_weight(void **state) {
    numbers dy = {{2, -3}, {0}, {0}}, x = {{9, 5, 9, 7}, {0}, {0}}, dW;
    (void)state;
    mr_bound_linear_weight(of(&dW), of(&dy), of(&x), 2, 1, 2, UNITS(.sum = W));
    assert_true(dW.v[0] == -9 && dW.v[1] == -11);
    check_is("sum", 31 * G(2), dW.e[1]);
    mr_bound_linear_weight(of(&dW), of(&dy), of(&x), 2, 1, 2, UNITS(.operand = W));
    check_is("matrix operands", 31 * (2 * W + W * W), dW.e[1]);
    mr_bound_linear_weight(of(&dW), of(&dy), of(&x), 2, 1, 2, UNITS(.store = U, .tiny = 1));
    check_is("store", 11 * U + 1, dW.e[1]);
    dy.e[0] = 0.125, dy.e[1] = 0.25, x.e[1] = 0.5, x.e[3] = 0.0625;
    /* 17/8 * 1/2 + 5/8 + 13/4 * 1/16 + 7/4, 17/8 * 11/2 + 13/4 * 113/16 */
    mr_bound_linear_weight(of(&dW), of(&dy), of(&x), 2, 1, 2, UNITS(.sum = W));
    check_is("operands", 3.640625 + 34.640625 * G(2), dW.e[1]);
    check_is("sum, likely", 6 * sqrt(2) * W * sqrt(100 + 441 + 121), dW.s[1]);
    mr_bound_linear_weight(of(&dW), of(&dy), of(&x), 2, 1, 2, UNITS(.operand = W));
    check_is("matrix operands, likely", 6 * W * sqrt(541), dW.s[1]);
    dy.s[0] = 0.0625, dy.s[1] = 0.125, x.s[1] = 0.25, x.s[3] = 0.03125;
    mr_bound_linear_weight(of(&dW), of(&dy), of(&x), 2, 1, 2, EXACT);
    check_is("likely", sqrt(0.25 + 0.09765625 + 0.0087890625 + 0.765625), dW.s[1]);
}

/* (V14) x = (1, 7), eps 11: r = 1/6, r^3/d = 1/432. g = (2, -5), dy = (3, 4): n = (6, -20),
 * sum n x = -134, sum |n x| = 146. Two equal tokens. */
static void norm(numbers *dx, numbers *dg, numbers *dy, numbers *x, const mr_arithmetic *a) {
    static const float gain[] = {2, -5};
    const mr_matrix g = {gain, MR_F32, 1, 2, 2, 1};
    double room[2];
    for (int i = 0; i < 2; i++) {
        dy->v[i] = dy->v[i + 2] = 3 + i;
        x->v[i] = x->v[i + 2] = 1 + 6 * i;
        dy->e[i + 2] = dy->e[i];
        x->e[i + 2] = x->e[i];
    }
    mr_bound_rmsnorm_backward(of(dx), of(dg), of(dy), of(x), &g, 2, 11, a, room);
}

static void test_rmsnorm_inputs(void **state) {
    numbers dy = {{0}, {0.125, 0.25}, {0}}, x = {{0}, {0}, {0}}, dx, dg;
    const mr_matrix none = {"", MR_BF16, 1, 0, 0, 1};
    (void)state;
    norm(&dx, &dg, &dy, &x, EXACT);
    check_is("dx[0]", 1 + 134.0 / 432, dx.v[2]);
    check_is("dx[1]", -20.0 / 6 + 7 * 134.0 / 432, dx.v[3]);
    check_is("dg[0]", 2 * 3.0 / 6, dg.v[0]);
    check_is("dg[1]", 2 * 28.0 / 6, dg.v[1]);
    /* e_n = 1/4, 5/4; sum e_n |x| = 9 */
    check_is("dy: dx[0]", 9.0 / 432 + 0.25 / 6, dx.e[2]);
    check_is("dy: dx[1]", 63.0 / 432 + 1.25 / 6, dx.e[3]);
    check_is("dy: dg[1]", 2 * 0.25 * 7 / 6, dg.e[1]);
    assert_true(dx.s[3] == dx.e[3] && dg.s[1] == dg.e[1]);
    /* root off by (9/64 + 29/16) / 2 / 36; sum |n| e_x = 6/8 + 20/4 */
    const double off = 125.0 / 64 / 72, wider = (1 + off) * (1 + off) * (1 + off) - 1;
    dy.e[0] = dy.e[1] = 0, x.e[0] = 0.125, x.e[1] = 0.25;
    norm(&dx, &dg, &dy, &x, EXACT);
    check_is("x: dx[0]", (1.125 * (5.75 + wider * 139.75) + 0.125 * 134) / 432 + off * 6 / 6,
             dx.e[0]);
    check_is("x: dx[1]", (7.25 * (5.75 + wider * 139.75) + 0.25 * 134) / 432 + off * 20 / 6,
             dx.e[1]);
    check_is("x: dg[1]", 2 * 4 * (0.25 / 6 * (1 + off) + 7.0 / 6 * off), dg.e[1]);
    /* both: dg_1 = sum (|dy| + e_dy) e_n + e_dy n */
    dy.e[1] = 0.25;
    norm(&dx, &dg, &dy, &x, EXACT);
    const double en = 0.25 / 6 * (1 + off) + 7.0 / 6 * off;
    check_is("both: dg[1]", 2 * (4 * en + 0.25 * (7.0 / 6 + en)), dg.e[1]);
    mr_bound_rmsnorm_backward(of(&dx), (mr_bounded){NULL, NULL, NULL}, of(&dy), of(&x), &none, 1,
                              11, EXACT, NULL);
}

static void test_rmsnorm_roundings(void **state) {
    numbers dy = {{0}, {0}, {0}}, x = {{0}, {0}, {0}}, dx, dg;
    (void)state;
    {   /* sums and functions: e_n = 2 w |n| */
        const double off = G(4) / 2 + 4 * W, wider = (1 + off) * (1 + off) * (1 + off) - 1;
        const double e = (2 * W + G(4)) * 146, n = 7.0 / 6, en = n * off;
        const double first = 20.0 / 6, second = 7 * 134.0 / 432;
        const double near = (40 * W + off * (20 + 40 * W)) / 6;
        const double far = 7 * (e + wider * (134 + e)) / 432;
        norm(&dx, &dg, &dy, &x, UNITS(.sum = W));
        check_is("sum: dx", far + near + 8 * W * (first + near + second + far), dx.e[1]);
        check_is("sum: dg", 2 * (4 * en + (G(2) + 2 * W) * 4 * (n + en)), dg.e[1]);
    }
    {   /* stores: e_n = u |n| + tiny, the product n x once more */
        const double e = 2 * U * 146 + 0x1p-5 * 8, en = 20 * U + 0x1p-5;
        const double first = 20.0 / 6, second = 7 * 134.0 / 432, near = en / 6, far = 7 * e / 432;
        const double formed = far + near + U * (first + near + second + far);
        norm(&dx, &dg, &dy, &x, UNITS(.store = U, .tiny = 0x1p-5));
        check_is("store: dx", formed + U * (first - second + formed) + 0x1p-5, dx.e[1]);
        const double sum = 2 * (2 * U * 28 / 6 + 0x1p-5);
        check_is("store: dg", sum + U * (56.0 / 6 + sum) + 0x1p-5, dg.e[1]);
    }
}

/* (V15) z = ln 3: s = 3/4, silu = 3/4 ln 3, silu' = 3/4 + 3/16 ln 3. u = 2, dy = -3. */
static void test_swiglu(void **state) {
    const double z = log(3), silu = 0.75 * z, slope = 0.75 + 0.1875 * z;
    numbers dy = {{-3}, {0.125}, {0}}, gate = {{log(3)}, {0}, {0}}, up = {{2}, {0}, {0}}, dz, du;
    (void)state;
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1, EXACT);
    check_is("dz", -6 * slope, dz.v[0]);
    check_is("du", -3 * silu, du.v[0]);
    check_is("dy: dz", 0.125 * 2 * slope, dz.e[0]);
    check_is("dy: du", 0.125 * silu, du.e[0]);
    assert_true(dz.s[0] == dz.e[0] && du.s[0] == du.e[0]);
    up.e[0] = 0.25, dy.e[0] = 0;
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1, EXACT);
    check_is("u: dz", 3 * 0.25 * slope, dz.e[0]);
    assert_true(du.e[0] == 0);
    gate.e[0] = 0.0625, dy.e[0] = 0.125;
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1, EXACT);
    check_is("all: dz", 3.125 * 2.25 * 0.03125 + (3.125 * 0.25 + 0.125 * 2) * slope, dz.e[0]);
    check_is("all: du", 3.125 * 1.1 * 0.0625 + 0.125 * silu, du.e[0]);
    gate.e[0] = up.e[0] = dy.e[0] = 0;
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1, UNITS(.sum = W));
    const double unit = (z + 8) * W;
    check_is("sum: du", 3 * unit * silu, du.e[0]);
    check_is("sum: dz", 6 * (unit * (0.75 + 0.375 * z) + 1.5 * z * W) + 18 * W * slope, dz.e[0]);
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1,
                             UNITS(.store = U, .tiny = 1));
    const double kept = 3 * (U * silu + 1), both = 6 + slope + 18 * U * slope;
    check_is("store: du", kept + U * (3 * silu + kept) + 1, du.e[0]);
    check_is("store: dz", both + U * (6 * slope + both) + 1, dz.e[0]);
}

/* Below -88 exp(-z) may be infinite in float, and a gradient of 0 is right. */
static void test_swiglu_far_below_zero(void **state) {
    numbers dy = {{1}, {0}, {0}}, gate = {{-87.9}, {0}, {0}}, up = {{1}, {0}, {0}}, dz, du;
    (void)state;
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1, UNITS(.sum = W));
    assert_true(du.e[0] < 0.1 * fabs(du.v[0]));
    gate.v[0] = -88.1;
    mr_bound_swiglu_backward(of(&dz), of(&du), of(&dy), of(&gate), of(&up), 1, UNITS(.sum = W));
    assert_true(du.e[0] >= fabs(du.v[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_weight),     cmocka_unit_test(test_rmsnorm_inputs),
        cmocka_unit_test(test_rmsnorm_roundings), cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_swiglu_far_below_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
