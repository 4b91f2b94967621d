/* Router losses against Hugging Face's function and autograd (golden/losses/router.json). */
#include "tests/losses_golden.h"

#include "ref/mr.h"

enum { E = 4, K = 2, T = 10, LAYERS = 2, LAYER = T * E, ALL = LAYERS * LAYER };

static double logits[ALL], weights[LAYERS * T * K];
static float logits32[ALL], weights32[LAYERS * T * K];
static int32_t experts[LAYERS * T * K];
static uint8_t mask[T];

static void load(const json_t *root, const char *set) {
    const double *z = golden_at(root, set, "logits", NULL);
    const double *s = golden_at(root, set, "experts", NULL);
    const double *g = golden_at(root, set, "weights", NULL), *m = golden(root, "mask", NULL);
    for (idx i = 0; i < ALL; i++) logits[i] = z[i], logits32[i] = (float)z[i];
    for (idx i = 0; i < LAYERS * T * K; i++) {
        experts[i] = (int32_t)s[i];
        weights[i] = g[i];
        weights32[i] = (float)g[i];
    }
    for (idx t = 0; t < T; t++) mask[t] = m[t] != 0;
}

static void compare(const json_t *root, const char *set, const char *kind, double loss,
                    double loss32, const double *dz, const float *dz32) {
    char where[64];
    snprintf(where, sizeof where, "%s/%s", set, kind);
    const double want = golden_at(root, where, "loss", NULL)[0];
    const double *gradient = golden_at(root, where, "gradient", NULL);
    const double size = golden_size(gradient, ALL);
    assert_true(size > 1e-3);
    check_number(where, want, loss, 64);
    check_close(where, &want, &loss32, 1, EPS_F32, want, 1);
    check_close(where, gradient, dz, ALL, EPS_F64, size, 256);
    check_close_f32(where, gradient, dz32, ALL, size, 4);
}

/* Layers share one sum (pooled) or have one each; the second gradient comes in two halves of the
 * tokens, as from two calls. */
static void balance(const json_t *root, const char *set, const char *kind, bool pooled,
                    const uint8_t *m, idx slots, double factor) {
    double loss[2] = {0}, dz[ALL] = {0};
    float dz32[ALL] = {0};
    for (idx first = 0; first < LAYERS; first += pooled ? LAYERS : 1) {
        const idx last = pooled ? LAYERS : first + 1, half = T / 2;
        double chosen[2][E] = {{0}}, probability[2][E] = {{0}};
        mr_balance wide = {chosen[0], probability[0], 0}, narrow = {chosen[1], probability[1], 0};
        for (idx l = first; l < last; l++) {
            mr_balance_add_f64(&wide, logits + l * LAYER, experts + l * T * K, m, T, E, K, slots);
            for (idx h = 0; h < T; h += half)
                mr_balance_add_f32(&narrow, logits32 + l * LAYER + h * E, experts + (l * T + h) * K,
                                   m != NULL ? m + h : NULL, half, E, K, slots);
        }
        loss[0] += factor * mr_balance_loss_f64(&wide, E);
        loss[1] += factor * mr_balance_loss_f32(&narrow, E);
        for (idx l = first; l < last; l++) {
            mr_balance_backward_f64(dz + l * LAYER, logits + l * LAYER, &wide, m, T, E, factor);
            for (idx h = 0; h < T; h += half)
                mr_balance_backward_f32(dz32 + l * LAYER + h * E, logits32 + l * LAYER + h * E,
                                        &narrow, m != NULL ? m + h : NULL, half, E, factor);
        }
    }
    compare(root, set, kind, loss[0], loss[1], dz, dz32);
}

static void importance(const json_t *root, const char *set) {
    double loss[2] = {0}, dz[ALL] = {0}, sums[E], sums32[E], d[E];
    float dz32[ALL] = {0};
    const double *want = golden_at(root, set, "importance", NULL);
    for (idx l = 0; l < LAYERS; l++) {
        const int32_t *s = experts + l * T * K;
        memset(sums, 0, sizeof sums);
        memset(sums32, 0, sizeof sums32);
        mr_importance_add_f64(sums, s, weights + l * T * K, T, K);
        mr_importance_add_f32(sums32, s, weights32 + l * T * K, T, K);
        check_each("importance", want + l * E, sums, E, 16);
        loss[0] += mr_cv_squared(sums, E);
        loss[1] += mr_cv_squared(sums32, E);
        mr_cv_squared_backward(d, sums, E, 1);
        mr_importance_backward_f64(dz + l * LAYER, s, weights + l * T * K, d, T, E, K);
        mr_importance_backward_f32(dz32 + l * LAYER, s, weights32 + l * T * K, d, T, E, K);
    }
    compare(root, set, "cv", loss[0], loss[1], dz, dz32);
}

static void z_loss(const json_t *root, const char *set, const char *kind, const uint8_t *m) {
    double loss[2] = {0}, dz[ALL] = {0}, n = 0;
    float dz32[ALL] = {0};
    for (idx t = 0; t < T; t++) n += m == NULL || m[t] != 0;
    for (idx l = 0; l < LAYERS; l++) {
        loss[0] += mr_router_z_f64(logits + l * LAYER, m, T, E) / n;
        loss[1] += mr_router_z_f32(logits32 + l * LAYER, m, T, E) / n;
        mr_router_z_backward_f64(dz + l * LAYER, logits + l * LAYER, m, T, E, 1 / n);
        mr_router_z_backward_f32(dz32 + l * LAYER, logits32 + l * LAYER, m, T, E, 1 / n);
    }
    compare(root, set, kind, loss[0], loss[1], dz, dz32);
}

static void both_sets(void **state) {
    (void)state;
    json_t *root = golden_open("router");
    const char *const sets[] = {"a", "b"};
    assert_true(golden(root, "E", NULL)[0] == E && golden(root, "K", NULL)[0] == K);
    for (int i = 0; i < 2; i++) {
        load(root, sets[i]);
        balance(root, sets[i], "pooled", true, NULL, K, 1);
        balance(root, sets[i], "pooled_mask", true, mask, K, 1);
        balance(root, sets[i], "layers", false, NULL, K, 0.25);
        balance(root, sets[i], "layers_mask", false, mask, K, 0.25);
        balance(root, sets[i], "top1", false, NULL, 1, 0.5);
        importance(root, sets[i]);
        z_loss(root, sets[i], "z", NULL);
        z_loss(root, sets[i], "z_mask", mask);
    }
    json_decref(root);
}

/* Importance under noise: gradient by the noisy logits, then on to both kinds of pre-activation. */
static void noisy_importance(const json_t *root, const double *spread, const double *normal,
                             const double *noisy) {
    const double *s = golden(root, "load/experts", NULL);
    double g[T * K], sums[E] = {0}, d[E], dh[LAYER] = {0}, dc[LAYER] = {0}, ds[LAYER] = {0};
    int32_t chosen[T * K];
    mr_router_f64(chosen, g, noisy, T, E, K, MR_TOPK_SOFTMAX);
    for (idx i = 0; i < T * K; i++) assert_int_equal(chosen[i], (int)s[i]);
    mr_importance_add_f64(sums, chosen, g, T, K);
    mr_cv_squared_backward(d, sums, E, 1);
    mr_importance_backward_f64(dh, chosen, g, d, T, E, K);
    mr_noisy_logits_backward_f64(dc, ds, dh, spread, normal, LAYER);
    const double loss = mr_cv_squared(sums, E);
    check_number("importance", golden(root, "load/importance", NULL)[0], loss, 256);
    const double *wc = golden(root, "load/importance_dclean", NULL);
    const double *ws = golden(root, "load/importance_dspread", NULL);
    check_close("dclean", wc, dc, LAYER, EPS_F64, golden_size(wc, LAYER), 256);
    check_close("dspread", ws, ds, LAYER, EPS_F64, golden_size(ws, LAYER), 256);
}

static void noisy_load(void **state) {
    (void)state;
    json_t *root = golden_open("router");
    const double *c = golden(root, "load/clean", NULL), *s = golden(root, "load/spread", NULL);
    const double *x = golden(root, "load/normal", NULL), *want = golden(root, "load/noisy", NULL);
    double h[LAYER], sums[E] = {0}, d[E], dc[LAYER] = {0}, ds[LAYER] = {0};
    float c32[LAYER], s32[LAYER], x32[LAYER], h32[LAYER], dc32[LAYER] = {0}, ds32[LAYER] = {0};
    for (idx i = 0; i < LAYER; i++)
        c32[i] = (float)c[i], s32[i] = (float)s[i], x32[i] = (float)x[i];
    mr_noisy_logits_f64(h, c, s, x, LAYER);
    mr_noisy_logits_f32(h32, c32, s32, x32, LAYER);
    check_close("noisy", want, h, LAYER, EPS_F64, 4, 2);
    check_close_f32("noisy", want, h32, LAYER, 4, 1);
    mr_load_add_f64(sums, c, s, h, T, E, K);
    check_each("sums", golden(root, "load/sums", NULL), sums, E, 32);
    check_number("loss", golden(root, "load/loss", NULL)[0], mr_cv_squared(sums, E), 256);
    mr_cv_squared_backward(d, sums, E, 1);
    mr_load_backward_f64(dc, ds, c, s, x, h, d, T, E, K);
    mr_load_backward_f32(dc32, ds32, c32, s32, x32, h32, d, T, E, K);
    const double *wc = golden(root, "load/dclean", NULL), *ws = golden(root, "load/dspread", NULL);
    check_close("dclean", wc, dc, LAYER, EPS_F64, golden_size(wc, LAYER), 256);
    check_close("dspread", ws, ds, LAYER, EPS_F64, golden_size(ws, LAYER), 256);
    check_close_f32("dclean", wc, dc32, LAYER, golden_size(wc, LAYER), 8);
    check_close_f32("dspread", ws, ds32, LAYER, golden_size(ws, LAYER), 8);
    float sum32[E];
    double narrow[E] = {0};
    mr_load_add_f32(narrow, c32, s32, h32, T, E, K);
    for (idx e = 0; e < E; e++) sum32[e] = (float)narrow[e];
    check_close_f32("sums", sums, sum32, E, T, 4);
    noisy_importance(root, s, x, want);
    json_decref(root);
}

/* No token, only padding, every expert chosen, no weight at all: the documented values. */
static void edges(void **state) {
    (void)state;
    double chosen[E] = {0}, probability[E] = {0}, zero[E] = {0}, d[E], dz[E] = {0}, ds[E] = {0};
    const double z[E] = {1, 2, 3, 4}, even[E] = {3, 3, 3, 3};
    const int32_t order[E] = {3, 2, 1, 0};
    const uint8_t none[1] = {0};
    mr_balance sums = {chosen, probability, 0};
    mr_balance_add_f64(&sums, z, order, none, 1, E, E, E);
    assert_true(sums.tokens == 0 && mr_balance_loss_f64(&sums, E) == 0);
    mr_balance_backward_f64(dz, z, &sums, none, 1, E, 1);
    assert_true(mr_router_z_f64(z, none, 1, E) == 0);
    mr_router_z_backward_f64(dz, z, none, 1, E, 1);
    assert_true(mr_cv_squared(zero, E) == 0 && mr_cv_squared(even, E) == 0);
    mr_cv_squared_backward(d, zero, E, 1);
    mr_load_add_f64(zero, z, ds, z, 1, E, E);
    mr_load_backward_f64(dz, ds, z, even, even, z, even, 1, E, E);
    for (idx e = 0; e < E; e++) {
        assert_true(d[e] == 0 && zero[e] == 1);   /* K = E: each expert is always chosen */
        assert_true(dz[e] == 0 && ds[e] == 0);
    }
    mr_balance_add_f64(&sums, even, order, NULL, 1, E, E, E);   /* equal logits: balanced, so K */
    check_number("balanced", E, mr_balance_loss_f64(&sums, E), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sets), cmocka_unit_test(noisy_load), cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
