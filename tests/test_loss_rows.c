/* Log-probabilities with gradients, and the four ways to weigh tokens (golden/losses/
 * cross_entropy.json: mpmath, and Hugging Face's causal loss). */
#include "tests/losses_golden.h"

#include <math.h>
#include <string.h>

#include "ref/mr.h"

enum { V = 7, ROWS = 20, MANY = 131 };

static void rows(void **state) {
    (void)state;
    json_t *root = golden_open("cross_entropy");
    idx n;
    const double *z = golden(root, "rows/logits", NULL);
    const double *target = golden(root, "rows/targets", &n);
    const double *dlogp = golden(root, "rows/dlogp", NULL), *logp = golden(root, "rows/logp", NULL);
    const double *want = golden(root, "rows/gradient", NULL);
    assert_true(n == 10);
    for (idx r = 0; r < n; r++, z += V, want += V) {
        double dz[V] = {0}, size = golden_size(want, V) + 1e-300;
        float z32[V], dz32[V] = {0};
        const int32_t y = (int32_t)target[r];
        for (idx v = 0; v < V; v++) z32[v] = (float)z[v];
        const double got = mr_log_probability_f64(z, V, y);
        const double same = mr_log_probability_f32(z32, V, y);
        check_close("log p", logp + r, &got, 1, EPS_F64, fabs(logp[r]), 16);
        check_bits("both in double", &got, &same, 1, sizeof got);
        mr_log_probability_backward_f64(dz, z, V, y, dlogp[r], MR_PLAIN_ENGINE);
        mr_log_probability_backward_f32(dz32, z32, V, y, dlogp[r], MR_PLAIN_ENGINE);
        check_close("dz", want, dz, V, EPS_F64, size, 32);
        check_close_f32("dz", want, dz32, V, size > 1e-37 ? size : 1e-37, 1);
        mr_log_probability_backward_f64(dz, z, V, y, -dlogp[r], MR_PLAIN_ENGINE);
        for (idx v = 0; v < V; v++) assert_true(fabs(dz[v]) <= 8 * EPS_F64 * size);   /* added */
    }
    json_decref(root);
}

/* The same rows one after the other, more of them than are taken at a time; every seventh is not
 * scored. */
static void many_rows(void **state) {
    (void)state;
    json_t *root = golden_open("cross_entropy");
    static double z[MANY * V], weight[MANY], got[MANY * V];
    const double *logits = golden(root, "rows/logits", NULL);
    const double *target = golden(root, "rows/targets", NULL);
    const double *dlogp = golden(root, "rows/dlogp", NULL), *logp = golden(root, "rows/logp", NULL);
    const double *want = golden(root, "rows/gradient", NULL);
    int32_t targets[MANY];
    double loss = 1, value = 1, sum = 1, size = 1;
    for (idx t = 0; t < MANY; t++) {
        const idx r = t % 10;
        memcpy(z + t * V, logits + r * V, V * sizeof *z);
        weight[t] = -dlogp[r];
        targets[t] = t % 7 == 3 ? -1 : (int32_t)target[r];
        if (targets[t] < 0) continue;
        sum += dlogp[r] * logp[r];
        size += fabs(dlogp[r] * logp[r]);
    }
    mr_token_losses_f64(&loss, got, z, targets, weight, MANY, V, MR_PLAIN_ENGINE);
    mr_token_losses_f64(&value, NULL, z, targets, weight, MANY, V, MR_PLAIN_ENGINE);
    check_close("loss, added", &sum, &loss, 1, EPS_F64, size, MANY);
    check_bits("without a derivative", &loss, &value, 1, sizeof value);
    for (idx t = 0; t < MANY; t++) {
        const double zero[V] = {0}, *row = targets[t] < 0 ? zero : want + t % 10 * V;
        check_close("dz", row, got + t * V, V, EPS_F64, golden_size(row, V) + 1e-300, 32);
    }
    json_decref(root);
}

/* The nearly certain target of the document keeps its digits: -1e-8, not -9.99999993922529e-09. */
static void near_zero(void **state) {
    (void)state;
    const double z[] = {18.420680743952367, 0};
    double dz[2] = {0};
    check_number("log p", -9.99999995e-9, mr_log_probability_f64(z, 2, 0), 64);
    mr_log_probability_backward_f64(dz, z, 2, 0, 1, MR_PLAIN_ENGINE);
    check_number("1 - p", 9.9999999e-9, dz[0], 64);
}

static void reduction(const json_t *root, const char *name, mr_reduction kind,
                      const double *logits, const int32_t *targets, const idx *length,
                      const idx *micro) {
    double weight[ROWS], dz[ROWS * V] = {0}, loss = 0;
    char path[64];
    mr_loss_weights(weight, targets, length, 4, micro, kind);
    for (idx t = 0; t < ROWS; t++) assert_true(targets[t] >= 0 || weight[t] == 0);
    mr_token_losses_f64(&loss, dz, logits, targets, weight, ROWS, V, MR_PLAIN_ENGINE);
    check_number(name, golden_at(root, "reductions", name, NULL)[0], loss, 32);
    snprintf(path, sizeof path, "%s_gradient", name);
    const double *want = golden_at(root, "reductions", path, NULL);
    check_close(name, want, dz, ROWS * V, EPS_F64, golden_size(want, ROWS * V), 32);
}

static void reductions(void **state) {
    (void)state;
    json_t *root = golden_open("cross_entropy");
    const double *length_ = golden(root, "reductions/length", NULL);
    const double *token = golden(root, "reductions/tokens", NULL);
    const double *mask = golden(root, "reductions/scored", NULL);
    const double *logits = golden(root, "reductions/logits", NULL);
    int32_t tokens[ROWS], targets[ROWS];
    uint8_t scored[ROWS];
    idx length[4];
    const idx micro[] = {2, 2};
    for (idx b = 0; b < 4; b++) length[b] = (idx)length_[b];
    for (idx t = 0; t < ROWS; t++) tokens[t] = (int32_t)token[t], scored[t] = mask[t] != 0;
    mr_next_tokens(targets, tokens, scored, length, 4);
    reduction(root, "token", MR_LOSS_TOKEN, logits, targets, length, NULL);
    reduction(root, "sequence", MR_LOSS_SEQUENCE, logits, targets, length, NULL);
    reduction(root, "microbatch", MR_LOSS_MICROBATCH, logits, targets, length, micro);
    reduction(root, "sum", MR_LOSS_SUM, logits, targets, length, NULL);
    check_number("mean", golden(root, "reductions/token", NULL)[0],
                 mr_cross_entropy_f64(logits, targets, ROWS, V), 32);
    json_decref(root);
}

/* Nothing scored: every weight 0. What has no scored token does not enter a mean. */
static void nothing_scored(void **state) {
    (void)state;
    const int32_t none[] = {-1, -1, -1}, some[] = {3, -1, -1, 4, 5};
    const idx length[] = {1, 0, 2}, four[] = {2, 1, 0, 2};
    const idx micro[] = {1, 0, 2}, halves[] = {1, 1, 2};
    double w[5];
    for (int k = MR_LOSS_TOKEN; k <= MR_LOSS_SUM; k++) {
        mr_loss_weights(w, none, length, 3, micro, (mr_reduction)k);
        assert_true(w[0] == 0 && w[1] == 0 && w[2] == 0);
    }
    mr_loss_weights(w, some, four, 4, halves, MR_LOSS_SEQUENCE);
    assert_true(w[0] == 0.5 && w[1] == 0 && w[2] == 0 && w[3] == 0.25 && w[4] == 0.25);
    mr_loss_weights(w, some, four, 4, halves, MR_LOSS_MICROBATCH);
    assert_true(w[0] == 0.5 && w[2] == 0 && w[3] == 0.25 && w[4] == 0.25);
    mr_loss_weights(w, some, four, 4, NULL, MR_LOSS_TOKEN);
    check_number("third", 1.0 / 3, w[3], 0);
    mr_loss_weights(w, some, four, 4, NULL, MR_LOSS_SUM);
    assert_true(w[0] == 1 && w[1] == 0 && w[4] == 1);
}

/* The last row of a sequence has no target, and the first token is never one. */
static void boundaries(void **state) {
    (void)state;
    const int32_t tokens[] = {5, 6, 7, 8, 9, 4};
    const idx length[] = {3, 0, 1, 2};
    const uint8_t scored[] = {1, 0, 1, 1, 1, 1};
    const int32_t all[] = {6, 7, -1, -1, 4, -1}, some[] = {-1, 7, -1, -1, 4, -1};
    int32_t targets[6];
    mr_next_tokens(targets, tokens, NULL, length, 4);
    check_bits("all", all, targets, 6, sizeof *all);
    mr_next_tokens(targets, tokens, scored, length, 4);
    check_bits("some", some, targets, 6, sizeof *some);
    assert_int_equal(mr_score_row(length, 0), 2);
    assert_int_equal(mr_score_row(length, 1), -1);
    assert_int_equal(mr_score_row(length, 2), 3);
    assert_int_equal(mr_score_row(length, 3), 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),           cmocka_unit_test(near_zero),
        cmocka_unit_test(reductions),     cmocka_unit_test(nothing_scored),
        cmocka_unit_test(boundaries),     cmocka_unit_test(many_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
