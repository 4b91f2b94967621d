/* Losses where two values are equal: who counts as larger, and on which side of a limit it lies. */
#include "tests/check.h"

#include "ref/mr.h"

enum { E = 3, K = 1 };

/* softplus(0) = ln 2, and a density of G0 = 1 / (sqrt(2 pi) ln 2) where the threshold is met. */
static const double G0 = 0.57555204953608122;

/* One token with noisy logits 5 5 1: expert 0 is the first, expert 1 the next. The loads are
 * Phi(0), Phi(0) and Phi(-4 / ln 2). */
static void load_of_equal_logits(void **state) {
    (void)state;
    const double h[E] = {5, 5, 1}, spread[E] = {0};
    double load[E] = {1, 2, 0};
    mr_load_add_f64(load, h, spread, h, 1, E, K);
    check_number("first", 1.5, load[0], 1);
    check_number("equal", 2.5, load[1], 1);
    check_number("third", 3.945267940807324e-9, load[2], 64);
}

/* The threshold of expert 0 is the next one, 1; that of the others is the first, 0. What one gains
 * the threshold loses; the slope by a spread of 0 is -G u / 2. */
static void slopes_of_equal_logits(void **state) {
    (void)state;
    const double h[E] = {5, 5, 1}, spread[E] = {0}, normal[E] = {0};
    const double G = 3.378065753068374e-8, want_spread[E] = {0, 0, 9.747037419497171e-8};
    const double want[E][E] = {{G0, -G0, 0}, {-G0, G0, 0}, {-G, 0, G}};
    for (int e = 0; e < E; e++) {
        double load[E] = {0}, clean[E] = {0}, wide[E] = {0};
        load[e] = 1;
        mr_load_backward_f64(clean, wide, h, spread, normal, h, load, 1, E, K);
        check_close("clean", want[e], clean, E, EPS_F64, e < 2 ? G0 : G, 64);
        check_close("spread", e < 2 ? spread : want_spread, wide, E, EPS_F64, G, 128);
    }
}

/* A ratio that is exactly at its limit is not clipped: the slope is that of the plain product. */
static void clipped_from_above_the_limit(void **state) {
    (void)state;
    const mr_term up = mr_ppo_clip(0, 2, 0), down = mr_ppo_clip(0, -2, 0);
    assert_true(up.value == -2 && up.slope == -2);
    assert_true(down.value == 2 && down.slope == 2);
}

/* Averages over 2 and 4 tokens: h = (-3+1)/2 - (-5+1)/4 = 0, so the loss is log 2 and the slopes
 * are -b/2 over the counts; one token or none counts as one. */
static void averages_of_few_tokens(void **state) {
    (void)state;
    const mr_dpo_options options = {MR_DPO_SIGMOID_NORM, 0.5, 0, false};
    const mr_dpo_pair pair = {-3, -5, -1, -1, 2, 4}, one = {-3, -3, -1, -1, 1, 0};
    const mr_dpo_result got = mr_dpo(&pair, &options), single = mr_dpo(&one, &options);
    check_number("loss", 0.69314718055994531, got.loss, 1);
    check_number("chosen", -0.125, got.d_chosen, 1);
    check_number("rejected", 0.0625, got.d_rejected, 1);
    check_number("chosen", -0.25, single.d_chosen, 1);
    check_number("rejected", 0.25, single.d_rejected, 1);
}

/* Without the reference the averages are of the policy alone: h = -3/2 + 4/4 = -1/2, b h = -1/4;
 * the loss is log(1 + e^(1/4)), the slopes -b sigma(1/4) over the counts. */
static void averages_without_reference(void **state) {
    (void)state;
    const mr_dpo_options options = {MR_DPO_SIGMOID_NORM, 0.5, 0, true};
    const mr_dpo_pair pair = {-3, -4, -1, -7, 2, 4};
    const mr_dpo_result got = mr_dpo(&pair, &options);
    check_number("loss", 0.82593941987884360, got.loss, 2);
    check_number("chosen", -0.5 * 0.56217650088579807 / 2, got.d_chosen, 2);
    check_number("rejected", 0.5 * 0.56217650088579807 / 4, got.d_rejected, 2);
}

/* Two prompts of two answers, in place: each reward less the other one. */
static void advantages_in_place(void **state) {
    (void)state;
    double x[] = {1, 3, 10, 20, -7};
    const double want[] = {-2, 2, -10, 10, -7};
    mr_rloo(x, x, 2, 2, false);
    check_bits("advantage", want, x, 5, sizeof *x);
}

/* 1 and 3: the mean is 2, the variance with n-1 is 2. The number behind them stays. */
static void whitening_stays_inside(void **state) {
    (void)state;
    double x[] = {1, 3, 7};
    const double want[] = {-0.70710678118654752, 0.70710678118654752};
    mr_whiten(x, 2);
    check_close("x", want, x, 2, 1e-8, 1, 1);
    assert_true(x[2] == 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_of_equal_logits), cmocka_unit_test(slopes_of_equal_logits),
        cmocka_unit_test(clipped_from_above_the_limit), cmocka_unit_test(averages_of_few_tokens),
        cmocka_unit_test(averages_without_reference), cmocka_unit_test(advantages_in_place),
        cmocka_unit_test(whitening_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
