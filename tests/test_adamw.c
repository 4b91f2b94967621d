/* AdamW and clipping, five steps against torch.optim (golden/losses/optimiser.json). */
#include "tests/losses_golden.h"

#include <math.h>

#include "ref/mr.h"

enum { A = 11, B = 5, N = A + B, STEPS = 5 };

/* PyTorch, two steps: theta 0.5, g 0.2 then -0.1, lr 0.01, decay 0.1. */
static void worked_example(void **state) {
    (void)state;
    mr_adamw options = mr_adamw_default();
    options.decay = 0.1;
    double theta = 0.5, m = 0, v = 0;
    mr_adamw_f64(&theta, &m, &v, &(double){0.2}, 1, &options, 0.01, true, 1);
    check_close("first", &(double){0.4895000005}, &theta, 1, 1e-12, 1, 1);
    mr_adamw_f64(&theta, &m, &v, &(double){-0.1}, 1, &options, 0.01, true, 2);
    check_close("second", &(double){0.486347130271}, &theta, 1, 1e-12, 1, 1);
}

static void five_steps_f64(void **state) {
    (void)state;
    json_t *root = golden_open("optimiser");
    double theta[N], m[N] = {0}, v[N] = {0}, g[N];
    mr_adamw options = {0.9, 0.95, 1e-8, 0.1, false};
    const double *lr = golden(root, "adamw/lr", NULL), *all = golden(root, "adamw/gradient", NULL);
    const double *norms = golden(root, "adamw/f64/norm", NULL);
    const double *want = golden(root, "adamw/f64/theta", NULL);
    memcpy(theta, golden(root, "adamw/theta", NULL), sizeof theta);
    for (idx s = 0; s < STEPS; s++) {
        memcpy(g, all + s * N, sizeof g);
        const double norm = sqrt(mr_squared_norm_f64(g, A) + mr_squared_norm_f64(g + A, B));
        check_number("norm", norms[s], norm, 8);
        mr_scale_f64(g, N, mr_clip_factor(norm, 1.5));
        mr_adamw_f64(theta, m, v, g, A, &options, lr[s], true, s + 1);
        mr_adamw_f64(theta + A, m + A, v + A, g + A, B, &options, lr[s], false, s + 1);
        check_close("theta", want + s * N, theta, N, EPS_F64, golden_size(theta, N), 8);
    }
    json_decref(root);
}

static void five_steps_f32(void **state) {
    (void)state;
    json_t *root = golden_open("optimiser");
    float theta[N], m[N] = {0}, v[N] = {0}, g[N];
    mr_adamw options = {0.9, 0.95, 1e-8, 0.1, false};
    const double *lr = golden(root, "adamw/lr", NULL), *all = golden(root, "adamw/gradient", NULL);
    const double *start = golden(root, "adamw/theta", NULL);
    const double *norms = golden(root, "adamw/f32/norm", NULL);
    const double *want = golden(root, "adamw/f32/theta", NULL);
    for (idx i = 0; i < N; i++) theta[i] = (float)start[i];
    for (idx s = 0; s < STEPS; s++) {
        for (idx i = 0; i < N; i++) g[i] = (float)all[s * N + i];
        const double norm = sqrt(mr_squared_norm_f32(g, A) + mr_squared_norm_f32(g + A, B));
        check_close("norm", norms + s, &norm, 1, EPS_F32, norm, 2);
        mr_scale_f32(g, N, mr_clip_factor(norm, 1.5));
        mr_adamw_f32(theta, m, v, g, A, &options, lr[s], true, s + 1);
        mr_adamw_f32(theta + A, m + A, v + A, g + A, B, &options, lr[s], false, s + 1);
        check_close_f32("theta", want + s * N, theta, N, 2, 2);
    }
    json_decref(root);
}

/* The factor is reported and used only where the norm exceeds the limit; NaN does not hide. */
static void clipping(void **state) {
    (void)state;
    assert_true(mr_clip_factor(0.5, 1) == 1 && mr_clip_factor(0, 1) == 1);
    check_number("factor", 1 / (4 + 1e-6), mr_clip_factor(4, 1), 1);
    assert_true(mr_clip_factor(1e9, 0) == 1);
    assert_true(isnan(mr_clip_factor((double)NAN, 1)));
    assert_true(mr_clip_factor((double)INFINITY, 1) == 0);
    /* squares that overflow float do not overflow the norm */
    const float big[] = {3e30F, 4e30F};
    check_close("norm", &(double){5e30}, &(double){sqrt(mr_squared_norm_f32(big, 2))}, 1, EPS_F32,
                5e30, 1);
}

static void decaying(void **state) {
    (void)state;
    const char *const kept[] = {"norm.weight", "layers.3.attention_norm.weight",
                                "layers.0.ffn_norm.weight"};
    const char *const decay[] = {"tok_embeddings.weight", "output.weight", "score.weight",
                                 "layers.0.attention.wq.weight", "layers.1.feed_forward.w1.weight",
                                 "layers.0.feed_forward.gate.weight"};
    mr_adamw options = mr_adamw_default();
    for (int i = 0; i < 3; i++) assert_false(mr_adamw_decays(&options, kept[i]));
    for (int i = 0; i < 6; i++) assert_true(mr_adamw_decays(&options, decay[i]));
    options.decay_all = true;
    for (int i = 0; i < 3; i++) assert_true(mr_adamw_decays(&options, kept[i]));
}

static void refused(mr_adamw options, const char *word) {
    mr_err err = {0};
    check_refused(mr_adamw_check(&options, &err), MR_USAGE, &err, word);
}

static void refusals(void **state) {
    (void)state;
    const mr_adamw good = mr_adamw_default();
    assert_int_equal(mr_adamw_check(&good, NULL), MR_OK);
    assert_true(good.beta1 == 0.9 && good.beta2 == 0.999 && good.eps == 1e-8);   /* PyTorch's */
    assert_true(good.decay == 0.01 && !good.decay_all);
    refused((mr_adamw){1, 0.9, 1e-8, 0, false}, "betas");
    refused((mr_adamw){0.9, -0.1, 1e-8, 0, false}, "betas");
    refused((mr_adamw){(double)NAN, 0.9, 1e-8, 0, false}, "betas");
    refused((mr_adamw){0.9, 0.9, 0, 0, false}, "epsilon");
    refused((mr_adamw){0.9, 0.9, 1e-8, -1, false}, "decay");
    refused((mr_adamw){0.9, 0.9, 1e-8, (double)INFINITY, false}, "decay");
}

/* Both ends of every interval, and the numbers of the message in their order. */
static void domains(void **state) {
    (void)state;
    const mr_adamw least = {0, 0, 1e-300, 0, false};
    assert_int_equal(mr_adamw_check(&least, NULL), MR_OK);
    refused((mr_adamw){-0.1, 0.9, 1e-8, 0, false}, "betas are -0.1 and 0.9;");
    refused((mr_adamw){0.9, 1, 1e-8, 0, false}, "betas are 0.9 and 1;");
    refused((mr_adamw){0.9, 0.9, -1e-8, 0, false}, "epsilon is -1e-08;");
    refused((mr_adamw){0.9, 0.9, (double)INFINITY, 0, false}, "epsilon is inf;");
    refused((mr_adamw){0.9, 0.9, (double)NAN, 0, false}, "epsilon");
    refused((mr_adamw){0.9, 0.9, 1e-8, (double)NAN, false}, "decay");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(five_steps_f64),
        cmocka_unit_test(five_steps_f32), cmocka_unit_test(clipping),
        cmocka_unit_test(decaying),       cmocka_unit_test(refusals),
        cmocka_unit_test(domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
