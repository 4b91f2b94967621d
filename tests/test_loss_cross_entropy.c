/* Log-probability and mean cross-entropy. */
#include "tests/check.h"

#include <math.h>

#include "ref/mr.h"

/* log_softmax of (1,2,3) and (0.5,-1,4), computed elsewhere in double. */
static void worked_example(void **state) {
    (void)state;
    const double logits[] = {1, 2, 3, 0.5, -1, 4};
    const float narrow[] = {1, 2, 3, 0.5F, -1, 4};
    const double want[] = {-2.4076059644443806,  -1.4076059644443804, -0.4076059644443804,
                           -3.5362695651247793, -5.036269565124779,  -0.03626956512477912};
    for (int32_t i = 0; i < 6; i++) {
        const double wide = mr_log_probability_f64(logits + i / 3 * 3, 3, i % 3);
        const double same = mr_log_probability_f32(narrow + i / 3 * 3, 3, i % 3);
        check_close("log p", &want[i], &wide, 1, EPS_F64, 5, 4);
        check_bits("both in double", &wide, &same, 1, sizeof same);
    }
    const int32_t targets[] = {0, 1};
    check_number("mean", (2.4076059644443806 + 5.036269565124779) / 2,
                 mr_cross_entropy_f64(logits, targets, 2, 3), 8);
    check_number("mean", (2.4076059644443806 + 5.036269565124779) / 2,
                 mr_cross_entropy_f32(narrow, targets, 2, 3), 8);
}

/* Equal logits: log V. A row with target < 0 is left out of sum and count; none scored gives 0. */
static void unscored_rows(void **state) {
    (void)state;
    const double logits[] = {1, 2, 3, 0.5, -1, 4, 7, 7, 7};
    const int32_t targets[] = {-1, 1, -100, 0}, last[] = {-1, -1, 2}, none[] = {-1, -1, -1};
    check_number("second", 5.036269565124779, mr_cross_entropy_f64(logits, targets, 3, 3), 4);
    check_number("third", log(3), mr_cross_entropy_f64(logits, last, 3, 3), 4);
    assert_true(mr_cross_entropy_f64(logits, none, 3, 3) == 0);
    assert_true(mr_cross_entropy_f64(logits, targets, 0, 3) == 0);
    assert_true(mr_cross_entropy_f32(NULL, NULL, 0, 3) == 0);
}

/* Sizes to 1000: probabilities sum to 1, a common offset of 1000 cancels, one entry has probability
 * 1. */
static void properties(void **state) {
    (void)state;
    const idx sizes[] = {1, 2, 3, 5, 10, 50, 1000};
    double z[1000];
    for (int k = 0; k < 7; k++) {
        const idx V = sizes[k];
        double sum = 0;
        fill_f64(z, V, 1 + (uint64_t)k);
        /* so that adding 1000 is exact */
        for (idx v = 0; v < V; v++) z[v] = rint(z[v] * 4096) / 256;
        const double first = mr_log_probability_f64(z, V, 0);
        for (int32_t v = 0; v < V; v++) sum += exp(mr_log_probability_f64(z, V, v));
        check_number("sum", 1, sum, 10.0 + (double)V);
        for (idx v = 0; v < V; v++) z[v] += 1000;
        check_close("offset", &first, &(double){mr_log_probability_f64(z, V, 0)}, 1, EPS_F64, 32,
                    2);
    }
    assert_true(mr_log_probability_f64(z, 1, 0) == 0);
}

/* Differences of thousands neither overflow nor give NaN; the largest may be anywhere; -inf is
 * "impossible". */
static void extremes(void **state) {
    (void)state;
    const double z[] = {-1e4, 1e4, 0}, last[] = {0, -1e4, 1e4},
                 forbidden[] = {-(double)INFINITY, 2, 2};
    check_number("impossible", -2e4, mr_log_probability_f64(z, 3, 0), 1);
    assert_true(mr_log_probability_f64(z, 3, 1) == 0);
    assert_true(mr_log_probability_f64(last, 3, 2) == 0);
    assert_true(mr_log_probability_f64(last, 3, 0) == -1e4);
    assert_true(mr_log_probability_f64(forbidden, 3, 0) == -(double)INFINITY);
    check_number("half", -log(2), mr_log_probability_f64(forbidden, 3, 1), 2);
    const double broken[] = {1, (double)NAN, 2};
    assert_true(isnan(mr_log_probability_f64(broken, 3, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(unscored_rows),
        cmocka_unit_test(properties), cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
