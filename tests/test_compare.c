/* Measures against numbers worked out by hand; NaN and infinity may never look like agreement. */
#include "tests/check.h"

#include <float.h>
#include <math.h>

#include "golden/compare.h"

/* The macros of <math.h> are floats. */
#define NAN64 ((double)NAN)
#define INF64 ((double)INFINITY)

static void same(double got, double want) {
    if (!(got == want || (isnan(got) && isnan(want)))) fail_msg("got %.17g, want %.17g", got, want);
}

/* One pair of numbers. */
static mr_measure one(double want, double got,
                      int digits) { return mr_compare(&want, &got, 1, digits); }

static void test_by_hand(void **state) {
    static const double want[] = {3, 4, 0, 0}, got[] = {3, 4.5, 0, -1.2};
    (void)state;
    mr_measure m = mr_compare(want, got, 4, 24);
    assert_int_equal(m.count, 4);
    assert_int_equal(m.differ, 2);
    assert_int_equal(m.worst, 3);
    same(m.want, 0);
    same(m.got, -1.2);
    same(m.max_abs, 1.2);
    same(m.norm, 5);
    check_number("relative", 1.3 / 5, m.relative, 4);   /* 5, 12, 13 */
}

static void test_equal(void **state) {
    static const double x[] = {1, -0.0, NAN64, INF64, -INF64, DBL_MAX}, y[] = {1, 0.0, NAN64, INF64,
                                                                               -INF64, DBL_MAX};
    (void)state;
    mr_measure m = mr_compare(x, y, 6, 53);
    assert_int_equal(m.differ, 0);
    assert_int_equal(m.worst, -1);
    same(m.max_abs, 0);
    same(m.relative, 0);
    same(m.max_ulp, 0);
    same(m.norm, DBL_MAX);

    m = mr_compare(NULL, NULL, 0, 24);
    assert_int_equal(m.count, 0);
    assert_int_equal(m.worst, -1);
    same(m.relative, 0);
    same(m.norm, 0);
}

/* relative <= limit must fail for every limit. */
static void disagrees(mr_measure m) {
    assert_int_equal(m.differ > 0, 1);
    assert_false(m.relative <= DBL_MAX);
    assert_false(m.max_abs <= DBL_MAX);
    assert_false(m.max_ulp <= DBL_MAX);
}

static void test_not_finite(void **state) {
    (void)state;
    disagrees(one(1, NAN64, 24));
    disagrees(one(NAN64, 1, 24));
    disagrees(one(NAN64, INF64, 24));
    disagrees(one(INF64, NAN64, 24));
    disagrees(one(INF64, -INF64, 24));
    disagrees(one(INF64, 1, 24));
    disagrees(one(0, -INF64, 24));
    same(one(1, NAN64, 24).relative, NAN64);
    same(one(NAN64, 0, 24).max_abs, NAN64);
    same(one(0, NAN64, 24).relative, NAN64);
    same(one(INF64, 1, 24).relative, INF64);
    same(one(INF64, -INF64, 24).max_abs, INF64);
    same(one(0, 1, 24).relative, INF64);          /* x/0 */

    /* NaN beats infinity beats numbers, wherever they stand; worst is the first of its kind. */
    static const double want[] = {0, 0, 0, 0, 0, 0}, got[] = {1e300, INF64, NAN64, 5, NAN64,
                                                              -INF64};
    mr_measure m = mr_compare(want, got, 6, 24);
    assert_int_equal(m.differ, 6);
    assert_int_equal(m.worst, 2);
    same(m.max_abs, NAN64);
    same(m.max_ulp, NAN64);
    same(m.relative, NAN64);
    m = mr_compare(want, got, 2, 24);
    assert_int_equal(m.worst, 1);
    same(m.max_abs, INF64);
    same(m.relative, INF64);

    /* Only the finite elements of want count for its norm. */
    static const double mixed[] = {3, NAN64, INF64, -4};
    m = mr_compare(mixed, mixed, 4, 24);
    same(m.norm, 5);
    same(m.relative, 0);
}

/* Squares of these overflow or vanish; the measures do not. */
static void test_extremes(void **state) {
    static const double huge[] = {3e300, 4e300}, huge2[] = {3e300, 4.5e300};
    static const double tiny[] = {3e-320, 4e-320}, tiny2[] = {3e-320, 4.5e-320};
    (void)state;
    mr_measure m = mr_compare(huge, huge2, 2, 53);
    check_number("norm", 5e300, m.norm, 4);
    check_number("relative", 0.1, m.relative, 4);
    m = mr_compare(tiny, tiny2, 2, 53);
    assert_true(m.relative > 0.0999 && m.relative < 0.1001);   /* the inputs have 3 digits only */
    m = one(DBL_MAX, -DBL_MAX, 53);
    same(m.max_abs, INF64);                                 /* 2 DBL_MAX is no double ... */
    same(m.relative, 2);                                       /* ... but the ratio is */
    same(m.max_ulp, 2 * (ldexp(1, 53) - 1));
    m = one(1e-300, 1e300, 53);
    assert_true(m.relative > DBL_MAX);                         /* 1e600: too large, and not small */
    m = one(1e300, 1e300 + 1e285, 53);
    check_number("relative", 1e-15, m.relative, 1e15);
    static const double spread[] = {1e300, 1e-300};
    same(mr_compare(spread, spread, 2, 53).norm, 1e300);
}

/* One step of each type is one ulp: at 1, below 1, at the smallest normal number, between
 * subnormals, at the top. */
static void test_ulps(void **state) {
    static const struct {
        int digits, emin, emax;
    } type[] = {{53, -1022, 1023}, {24, -126, 127}, {11, -14, 15}, {8, -126, 127}};
    (void)state;
    for (size_t i = 0; i < sizeof type / sizeof *type; i++) {
        int d = type[i].digits;
        double eps = ldexp(1, 1 - d), normal = ldexp(1, type[i].emin), least = normal * eps;
        double top = ldexp(2 - eps, type[i].emax);
        same(one(1, 1 + eps, d).max_ulp, 1);
        same(one(-1, -1 - eps, d).max_ulp, 1);
        same(one(1, 1 - eps / 2, d).max_ulp, 0.5);        /* the units are those of want */
        same(one(1 - eps / 2, 1, d).max_ulp, 1);
        same(one(2 - eps, 2, d).max_ulp, 1);
        same(one(normal, normal - least, d).max_ulp, 1);
        same(one(normal, normal + least, d).max_ulp, 1);
        same(one(least, 2 * least, d).max_ulp, 1);
        same(one(0, least, d).max_ulp, 1);
        same(one(least, -least, d).max_ulp, 2);
        same(one(0, 1, d).max_ulp, ldexp(1, d - 1 - type[i].emin));
        same(one(top, top - ldexp(eps, type[i].emax), d).max_ulp, 1);
        same(one(top, top, d).max_ulp, 0);
    }
    /* f32 against nextafterf, which was not written here. */
    float x[1000];
    fill_f32(x, 1000, 7);
    for (int i = 0; i < 1000; i++) {
        float v = ldexpf(x[i], i % 270 - 145), next = nextafterf(v, 2 * v);
        if (v != 0) same(one((double)v, (double)next, 24).max_ulp, 1);
    }
}

/* Against the plain formula where nothing is extreme. */
static void test_plain(void **state) {
    enum { N = 10007 };
    static double want[N], got[N];
    double sum = 0, norm = 0, most = 0;
    idx worst = -1;
    (void)state;
    fill_f64(want, N, 3);
    fill_f64(got, N, 4);
    for (idx i = 0; i < N; i++) {
        got[i] = want[i] + 1e-6 * got[i];
        double d = got[i] - want[i];
        if (fabs(d) > most) {
            most = fabs(d);
            worst = i;
        }
        sum += d * d;
        norm += want[i] * want[i];
    }
    mr_measure m = mr_compare(want, got, N, 24);
    assert_int_equal(m.worst, worst);
    same(m.max_abs, most);
    check_number("norm", sqrt(norm), m.norm, 100);
    check_number("relative", sqrt(sum / norm), m.relative, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_ulps),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests_name("compare", tests, NULL, NULL);
}
