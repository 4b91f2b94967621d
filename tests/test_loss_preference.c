/* Bradley-Terry and DPO against TRL's trainers (golden/losses/preference.json). */
#include "tests/losses_golden.h"

#include <math.h>

#include "ref/losses.h"

#define LIMIT 8   /* roundings of a result, relative to itself */

static void bradley_terry(void **state) {
    (void)state;
    json_t *root = golden_open("preference");
    idx n;
    const double *w = golden(root, "bradley_terry/chosen", &n);
    const double *l = golden(root, "bradley_terry/rejected", NULL);
    const double *margin = golden(root, "bradley_terry/margin", NULL);
    const double *centring = golden(root, "bradley_terry/centring", NULL);
    assert_true(n == 11);
    for (idx i = 0; i < n; i++) {
        const mr_pair_loss got = mr_bradley_terry(w[i], l[i], margin[i], centring[i]);
        check_each("loss", golden(root, "bradley_terry/loss", NULL) + i, &got.loss, 1, LIMIT);
        check_each("dw", golden(root, "bradley_terry/d_chosen", NULL) + i, &got.d_chosen, 1, LIMIT);
        check_each("dl", golden(root, "bradley_terry/d_rejected", NULL) + i, &got.d_rejected, 1,
                   LIMIT);
    }
    json_decref(root);
}

static void ranked_and_metrics(void **state) {
    (void)state;
    json_t *root = golden_open("preference");
    idx K, n;
    const double *r = golden(root, "bradley_terry/ranked/reward", &K);
    double dr[4];
    assert_true(K == 4);
    const double loss = mr_bradley_terry_ranked(dr, r, K, 0.1, 0.01);
    check_each("ranked", golden(root, "bradley_terry/ranked/loss", NULL), &loss, 1, LIMIT);
    check_each("gradient", golden(root, "bradley_terry/ranked/gradient", NULL), dr, K, LIMIT);
    const double *chosen = golden(root, "bradley_terry/batch/chosen", &n);
    const double *rejected = golden(root, "bradley_terry/batch/rejected", NULL);
    const mr_reward_metrics m = mr_reward_summary(chosen, rejected, n);
    const double got[] = {m.accuracy, m.margin, m.least, m.mean, m.most};
    check_each("metrics", golden(root, "bradley_terry/batch/metrics", NULL), got, 5, LIMIT);
    json_decref(root);
}

/* The pairs of the document under one loss. */
static void dpo_kind(const json_t *root, const char *name, const mr_dpo_options *options) {
    idx n;
    char where[64];
    snprintf(where, sizeof where, "dpo/%s", name);
    const double *lw = golden(root, "dpo/chosen", &n), *ll = golden(root, "dpo/rejected", NULL);
    const double *rw = golden(root, "dpo/ref_chosen", NULL);
    const double *rl = golden(root, "dpo/ref_rejected", NULL);
    const double *nw = golden(root, "dpo/n_chosen", NULL);
    const double *nl = golden(root, "dpo/n_rejected", NULL);
    assert_true(n == 8);
    for (idx i = 0; i < n; i++) {
        const mr_dpo_pair pair = {lw[i], ll[i], rw[i], rl[i], (idx)nw[i], (idx)nl[i]};
        const mr_dpo_result got = mr_dpo(&pair, options);
        check_each(name, golden_at(root, where, "loss", NULL) + i, &got.loss, 1, LIMIT);
        check_each(name, golden_at(root, where, "d_chosen", NULL) + i, &got.d_chosen, 1, LIMIT);
        check_each(name, golden_at(root, where, "d_rejected", NULL) + i, &got.d_rejected, 1, LIMIT);
        check_number("reward", 0.1 * (lw[i] - rw[i]), got.reward_chosen, 2);
        check_number("reward", 0.1 * (ll[i] - rl[i]), got.reward_rejected, 2);
    }
}

static void dpo(void **state) {
    (void)state;
    json_t *root = golden_open("preference");
    for (int k = 0; k < MR_DPO_KINDS; k++) {
        mr_dpo_kind kind;
        assert_true(mr_dpo_parse(mr_dpo_name((mr_dpo_kind)k), &kind) && (int)kind == k);
        dpo_kind(root, mr_dpo_name(kind), &(mr_dpo_options){kind, 0.1, 0.1, false});
    }
    dpo_kind(root, "reference_free", &(mr_dpo_options){MR_DPO_SIGMOID, 0.1, 0, true});
    json_decref(root);
}

/* Far beyond what float64 can exponentiate, values and slopes go to their limits, without NaN. */
static void far_away(void **state) {
    (void)state;
    const mr_dpo_options sigmoid = {MR_DPO_SIGMOID, 1, 0, false}, robust = {MR_DPO_ROBUST, 1, 0.25,
                                                                           false};
    const mr_dpo_pair up = {1e6, 0, 0, 0, 1, 1}, down = {-1e6, 0, 0, 0, 1, 1};
    assert_true(mr_dpo(&up, &sigmoid).loss == 0 && mr_dpo(&up, &sigmoid).d_chosen == 0);
    assert_true(mr_dpo(&down, &sigmoid).loss == 1e6 && mr_dpo(&down, &sigmoid).d_chosen == -1);
    check_number("robust", -5e5, mr_dpo(&up, &robust).loss, 2);
    check_number("robust", 1.5e6, mr_dpo(&down, &robust).loss, 2);
    assert_true(mr_bradley_terry(-1e300, 1e300, 0, 0).loss == 2e300);
    assert_true(mr_log_sigmoid(-1e308) == -1e308 && mr_log_sigmoid(1e308) == 0);
    assert_true(mr_sigmoid(-1e308) == 0 && mr_sigmoid(1e308) == 1 && mr_sigmoid(0) == 0.5);
    assert_true(isnan(mr_sigmoid((double)NAN)));
}

/* At the start policy and reference are one: log 2, no reward, accuracy 0. A hinge is flat from
 * where its margin is reached. */
static void edges(void **state) {
    (void)state;
    const mr_dpo_options sigmoid = {MR_DPO_SIGMOID, 0.1, 0, false};
    const mr_dpo_pair same = {-3, -5, -3, -5, 2, 2}, won = {-3, -5, -3.25, -5, 2, 2};
    const mr_dpo_result result[] = {mr_dpo(&same, &sigmoid), mr_dpo(&won, &sigmoid)};
    check_number("log 2", log(2), result[0].loss, 1);
    assert_true(result[0].reward_chosen == 0 && result[0].reward_rejected == 0);
    const mr_dpo_metrics m = mr_dpo_summary(result, 2);
    check_number("accuracy", 0.5, m.accuracy, 1);
    check_number("margin", 0.0125, m.margin, 1);
    check_number("loss", (log(2) + result[1].loss) / 2, m.loss, 2);
    check_number("chosen", 0.0125, m.reward_chosen, 1);
    assert_true(m.reward_rejected == 0 && mr_dpo_summary(result, 1).accuracy == 0);
    const mr_dpo_options hinge = {MR_DPO_HINGE, 0.5, 0, false};
    const mr_dpo_pair reached = {2, 0, 0, 0, 1, 1};
    assert_true(mr_dpo(&reached, &hinge).loss == 0 && mr_dpo(&reached, &hinge).d_chosen == 0);
}

static void refusals(void **state) {
    (void)state;
    const mr_dpo_options good = {MR_DPO_CDPO, 0.1, 0.49, false};
    assert_int_equal(mr_dpo_check(&good, NULL), MR_OK);
    const double betas[] = {0, -1, (double)NAN, (double)INFINITY}, e[] = {-0.1, 0.5, (double)NAN};
    for (int i = 0; i < 4; i++) {
        mr_err err = {0};
        const mr_dpo_options bad = {MR_DPO_SIGMOID, betas[i], 0, false};
        check_refused(mr_dpo_check(&bad, &err), MR_USAGE, &err, "beta");
    }
    for (int i = 0; i < 3; i++) {
        mr_err err = {0};
        const mr_dpo_options bad = {MR_DPO_CDPO, 0.1, e[i], false};
        check_refused(mr_dpo_check(&bad, &err), MR_USAGE, &err, "smoothing");
    }
    mr_dpo_kind kind;
    assert_false(mr_dpo_parse("Sigmoid", &kind));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bradley_terry), cmocka_unit_test(ranked_and_metrics),
        cmocka_unit_test(dpo),           cmocka_unit_test(far_away),
        cmocka_unit_test(edges),         cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
