/* KL estimates, policy gradients and value losses against golden/losses/policy.json. */
#include "tests/losses_golden.h"

#include "ref/mr.h"

static void estimators(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    const char *const names[] = {"kl/k1", "kl/k2", "kl/k3"};
    idx n;
    const double *delta = golden(root, "kl/delta", &n), *slope = golden(root, "kl/slope3", NULL);
    assert_true(n == 12);
    for (int k = 0; k < 3; k++) {
        const double *want = golden(root, names[k], NULL);
        for (idx i = 0; i < n; i++) {
            const mr_term got = mr_kl((mr_kl_kind)k, delta[i]);
            check_each(names[k], want + i, &got.value, 1, 4);
            const double slopes[] = {1, delta[i], slope[i]};
            check_each("slope", slopes + k, &got.slope, 1, 2);
        }
    }
    json_decref(root);
}

static void exact(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    idx n, size;
    const double *value = golden(root, "kl/exact/value", &n);
    const double *z = golden(root, "kl/exact/logits", &size);
    const double *q = golden(root, "kl/exact/reference", NULL);
    const double *want = golden(root, "kl/exact/gradient", NULL);
    assert_true(n == 4 && size == 28);
    float z32[28], q32[28], dz32[28] = {0};
    double dz[28] = {0};
    for (idx i = 0; i < size; i++) z32[i] = (float)z[i], q32[i] = (float)q[i];
    for (idx r = 0; r < n; r++) {
        const idx at = r * 7;
        const double got = mr_kl_exact_f64(z + at, q + at, 7);
        const double got32 = mr_kl_exact_f32(z32 + at, q32 + at, 7);
        check_number("kl", value[r], got, 32);
        check_bits("both in double", &got, &got32, 1, sizeof got);
        mr_kl_exact_backward_f64(dz + at, z + at, q + at, 7, 1);
        mr_kl_exact_backward_f32(dz32 + at, z32 + at, q32 + at, 7, 1);
        check_close("dz", want + at, dz + at, 7, EPS_F64, golden_size(want + at, 7) + 1e-300, 64);
        check_close_f32("dz", want + at, dz32 + at, 7, golden_size(want + at, 7) + 1e-300, 1);
    }
    const double never[] = {0, -1e4}, sure[] = {-1e4, 0};
    check_number("disjoint", 1e4, mr_kl_exact_f64(never, sure, 2), 2);
    json_decref(root);
}

static void penalties(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    idx n;
    double got[4], sum = 0, want = 0;
    const double *logp = golden(root, "policy/rewards/logp", &n);
    const double *ref = golden(root, "policy/rewards/ref_logp", NULL);
    assert_true(n == 4);
    mr_kl_rewards(got, logp, ref, n, MR_KL_K3, 0.05, 1.25);
    check_close("k3", golden(root, "policy/rewards/k3", NULL), got, n, EPS_F64, 1, 4);
    mr_kl_rewards(got, logp, ref, n, MR_KL_K1, 0.05, 1.25);
    check_each("k1", golden(root, "policy/rewards/k1", NULL), got, n, 4);
    for (idx t = 0; t < n; t++) sum += got[t], want += logp[t] - ref[t];
    check_number("sum", 1.25 - 0.05 * want, sum, 4);
    json_decref(root);
}

static void advantages(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    idx n;
    double got[8];
    const double *reward = golden(root, "policy/rloo/reward", &n);
    assert_true(n == 8);
    mr_rloo(got, reward, 2, 4, false);
    check_each("leave one out", golden(root, "policy/rloo/plain", NULL), got, n, 8);
    mr_rloo(got, reward, 2, 4, true);
    check_close("normalised", golden(root, "policy/rloo/normalised", NULL), got, n, EPS_F64, 1, 16);
    mr_rloo(got, reward, 8, 1, true);
    for (idx i = 0; i < n; i++) assert_true(got[i] == 0);
    mr_rloo(got, reward, 1, 1, true);
    assert_true(got[0] == 0);
    json_decref(root);
}

static void terms(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    const double *logp = golden(root, "policy/reinforce/sums", NULL);
    const double *reward = golden(root, "policy/reinforce/reward", NULL);
    const double *slope = golden(root, "policy/reinforce/slope", NULL);
    const double *fresh = golden(root, "policy/sequence_ratio/new", NULL);
    const double *old = golden(root, "policy/sequence_ratio/old", NULL);
    const double *clipped = golden(root, "policy/sequence_ratio/slope", NULL);
    double sum = 0, mean = 0;
    for (idx i = 0; i < 4; i++) {
        const mr_term plain = mr_reinforce(logp[i], reward[i], 0.25);
        const mr_term ratio = mr_ppo_clip(fresh[i] - old[i], reward[i], 0.2);
        sum += plain.value;
        mean += ratio.value / 4;
        check_number("reinforce", slope[i], plain.slope, 2);
        check_close("sequence", clipped + i, &(double){ratio.slope / 4}, 1, EPS_F64, 1, 4);
    }
    check_number("sum", golden(root, "policy/reinforce/loss", NULL)[0], sum, 8);
    check_number("mean", golden(root, "policy/sequence_ratio/loss", NULL)[0], mean, 8);
    json_decref(root);
}

static void token_ratios(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    idx n;
    const double *ratio = golden(root, "policy/token_ratio/log_ratio", &n);
    const double *gain = golden(root, "policy/token_ratio/advantage", NULL);
    const double *loss = golden(root, "policy/token_ratio/loss", NULL);
    const double *slope = golden(root, "policy/token_ratio/slope", NULL);
    assert_true(n == 11);
    for (idx i = 0; i < n; i++) {
        const mr_term got = mr_ppo_clip(ratio[i], gain[i], 0.2);
        check_each("loss", loss + i, &got.value, 1, 4);
        check_each("slope", slope + i, &got.slope, 1, 4);
    }
    const mr_term none = mr_ppo_clip(1000, 0, 0.2), capped = mr_ppo_clip(1000, 1, 0.2);
    assert_true(none.value == 0 && none.slope == 0);
    assert_true(capped.value == -1.2 && capped.slope == 0);
    json_decref(root);
}

static void values(void **state) {
    (void)state;
    json_t *root = golden_open("policy");
    const double *reward = golden(root, "value/reward", NULL);
    const double *value = golden(root, "value/value", NULL);
    double advantage[5], returns[5], x[9];
    const char *const cases[] = {"value/gae_1_0.95", "value/gae_0.9_0.5"};
    for (int c = 0; c < 2; c++) {
        const double *a = golden_at(root, cases[c], "advantage", NULL);
        const double *r = golden_at(root, cases[c], "returns", NULL);
        mr_gae(advantage, returns, reward, value, 5, c == 0 ? 1 : 0.9, c == 0 ? 0.95 : 0.5);
        check_close("A", a, advantage, 5, EPS_F64, 3, 8);
        check_close("R", r, returns, 5, EPS_F64, 3, 8);
    }
    memcpy(x, golden(root, "value/whiten/x", NULL), sizeof x);
    mr_whiten(x, 9);
    check_close("whiten", golden(root, "value/whiten/result", NULL), x, 9, EPS_F64, 1, 16);
    mr_whiten(x, 1);
    assert_true(x[0] == 0);
    const double *v = golden(root, "value/loss/value", NULL);
    const double *old = golden(root, "value/loss/old", NULL);
    const double *ret = golden(root, "value/loss/returns", NULL);
    for (idx i = 0; i < 6; i++) {
        const mr_term got = mr_value_loss(v[i], old[i], ret[i], 0.2);
        check_number("loss", golden(root, "value/loss/loss", NULL)[i], got.value, 4);
        check_number("slope", golden(root, "value/loss/slope", NULL)[i], got.slope, 4);
    }
    json_decref(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimators), cmocka_unit_test(exact),  cmocka_unit_test(penalties),
        cmocka_unit_test(advantages), cmocka_unit_test(terms),  cmocka_unit_test(token_ratios),
        cmocka_unit_test(values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
