/* Sparse mixture of experts: who is chosen, with which weight, and how their outputs are summed. */
#include "tests/check.h"

#include <math.h>

#include "ref/mr.h"

enum { E = 5, MOST_T = 200 };

static void picks(const char *name, const int32_t *want, const int32_t *got, idx n) {
    for (idx i = 0; i < n; i++)
        if (want[i] != got[i])
            fail_msg("%s[%td]: want expert %d, got %d", name, i, (int)want[i], (int)got[i]);
}

/* ---- router ---------------------------------------------------------------------------------- */

/* By hand, two tokens: of (1,3,2,0) experts 1 and 2, weights e/(e+1) and 1/(e+1), not multiplied by
 * the rest of the full softmax; of all negative (-4,-4-ln 3,-9,-9) experts 0 and 1 with 3/4 and
 * 1/4. */
static void worked_example(void **state) {
    (void)state;
    const double logits[] = {1, 3, 2, 0, -4, -4 - log(3), -9, -9};
    const int32_t want_experts[] = {1, 2, 0, 1};
    const double want[] = {0.73105857863000488, 0.26894142136999512, 0.75, 0.25};
    float narrow[8], w32[4];
    for (int i = 0; i < 8; i++) narrow[i] = (float)logits[i];
    for (int order = 0; order < 2; order++) {
        int32_t experts[4] = {-7, -7, -7, -7};
        double weights[4];
        mr_router_f64(experts, weights, logits, 2, 4, 2, (mr_router_order)order);
        picks("f64", want_experts, experts, 4);
        check_close("f64", want, weights, 4, EPS_F64, 1, 4);
        mr_router_f32(experts, w32, narrow, 2, 4, 2, (mr_router_order)order);
        picks("f32", want_experts, experts, 4);
        check_close_f32("f32", want, w32, 4, 1, 2);
    }
}

/* Equal logits go to the lower expert, every time. */
static void ties(void **state) {
    (void)state;
    const double logits[] = {2, 7, 7, 2, 7, 0, 0, 0, 0, 0, -1, -1, 3, 3, -1};
    const int32_t want[] = {1, 2, 4, 0, 1, 2, 2, 3, 0};
    for (int order = 0; order < 2; order++) {
        int32_t experts[9];
        double weights[9];
        mr_router_f64(experts, weights, logits, 3, E, 3, (mr_router_order)order);
        picks("ties", want, experts, 9);
        for (int i = 0; i < 6; i++)
            check_close("equal weights", &(double){1 / 3.0}, &weights[i], 1, EPS_F64, 1, 1);
    }
}

/* NaN ranks as -inf: never before a number, and equal to -inf, so that the lower expert wins; its
 * weight is zero. */
static void not_a_number(void **state) {
    (void)state;
    const double n = (double)NAN, inf = (double)INFINITY;
    const double logits[] = {n, -5, n, -3, n, n, n, 1, n, n, -inf, n, 0, -inf, n};
    const int32_t want[] = {3, 1, 0, 2, 0, 1, 2, 0, 1};
    const double want_weights[] = {1 / (1 + exp(-2)), 1 / (1 + exp(2)), 0, 1, 0, 0, 1, 0, 0};
    for (int order = 0; order < 2; order++) {
        int32_t experts[9];
        double weights[9];
        mr_router_f64(experts, weights, logits, 3, E, 3, (mr_router_order)order);
        picks("NaN", want, experts, 9);
        check_close("NaN", want_weights, weights, 9, EPS_F64, 1, 4);
    }
}

/* Random logits, every K: chosen ones are distinct and fall, no other is larger, weights sum to 1
 * and both orders of softmax and top-k agree to 1e-15. K = 1 has weight 1. Large logits do not
 * overflow. */
static void properties(void **state) {
    (void)state;
    double logits[MOST_T * E], paper[MOST_T * E], hf[MOST_T * E];
    int32_t experts[MOST_T * E], again[MOST_T * E];
    fill_f64(logits, MOST_T * E, 1);
    for (int i = 0; i < MOST_T * E; i++) logits[i] *= i % 2 ? 4 : 1000;
    for (idx K = 1; K <= E; K++) {
        mr_router_f64(experts, paper, logits, MOST_T, E, K, MR_TOPK_SOFTMAX);
        mr_router_f64(again, hf, logits, MOST_T, E, K, MR_SOFTMAX_TOPK);
        picks("orders", experts, again, MOST_T * K);
        check_close("orders", paper, hf, MOST_T * K, 1e-15, 1, 1);
        for (idx t = 0; t < MOST_T; t++) {
            const double *z = logits + t * E;
            double sum = 0;
            bool chosen[E] = {false};
            for (idx k = 0; k < K; k++) {
                const int32_t e = experts[t * K + k];
                assert_true(e >= 0 && e < E && !chosen[e]);
                if (k > 0) assert_true(z[e] <= z[experts[t * K + k - 1]]);
                chosen[e] = true;
                sum += paper[t * K + k];
            }
            for (idx e = 0; e < E; e++) assert_true(chosen[e] || z[e] <= z[experts[t * K + K - 1]]);
            check_number("sum", 1, sum, 4);
            if (K == 1) check_number("single", 1, paper[t], 0);
        }
    }
}

/* Permuting the experts permutes the choice, without ties. */
static void expert_permutation(void **state) {
    (void)state;
    const idx turn[E] = {3, 0, 4, 1, 2};
    double logits[E], turned[E], w[2], wt[2];
    int32_t experts[2], permuted[2];
    fill_f64(logits, E, 9);
    for (idx e = 0; e < E; e++) turned[turn[e]] = logits[e];
    mr_router_f64(experts, w, logits, 1, E, 2, MR_TOPK_SOFTMAX);
    mr_router_f64(permuted, wt, turned, 1, E, 2, MR_TOPK_SOFTMAX);
    for (int k = 0; k < 2; k++) assert_int_equal(permuted[k], turn[experts[k]]);
    check_bits("weights", w, wt, 2, sizeof *w);
}

/* f32: the paper's form rounds once; Hugging Face's rounds the probability, the sum and the
 * quotient. */
static void precisions(void **state) {
    (void)state;
    float z32[MOST_T * E], w32[MOST_T * 2];
    double z[MOST_T * E], w[MOST_T * 2];
    int32_t experts[MOST_T * 2], narrow[MOST_T * 2];
    fill_f32(z32, MOST_T * E, 3);
    for (int i = 0; i < MOST_T * E; i++) z[i] = (double)z32[i];
    mr_router_f64(experts, w, z, MOST_T, E, 2, MR_TOPK_SOFTMAX);
    mr_router_f32(narrow, w32, z32, MOST_T, E, 2, MR_TOPK_SOFTMAX);
    picks("paper", experts, narrow, MOST_T * 2);
    check_close_f32("paper", w, w32, MOST_T * 2, 1, 0.51);
    mr_router_f32(narrow, w32, z32, MOST_T, E, 2, MR_SOFTMAX_TOPK);
    picks("hf", experts, narrow, MOST_T * 2);
    check_close_f32("hf", w, w32, MOST_T * 2, 1, 1.6);
}

/* ---- gather and combine ---------------------------------------------------------------------- */

/* Copies 5, 0, 3 with K = 2 are of tokens 2, 0, 1. */
static void gather(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6}, want[] = {5, 6, 1, 2, 3, 4};
    const idx copy[] = {5, 0, 3};
    double y[] = {9, 9, 9, 9, 9, 9};
    mr_moe_gather_f64(y, x, copy, 3, 2, 2);
    check_bits("rows", want, y, 6, sizeof *y);
    const float x32[] = {1, 2, 3, 4, 5, 6};
    float y32[2];
    /* K = 1, d = 1: copy 3 is token 3 */
    mr_moe_gather_f32(y32, x32, copy + 2, 1, 1, 1);
    assert_true(y32[0] == 4);
}

/* By hand, T = 2, K = 2, d = 2: rows of out in dispatch order; token 0 has slots in rows 2 and 0,
 * token 1 in 1 and 3. y0 = 0.75 (5,6) + 0.25 (1,2) = (4, 5); y1 = 0.5 (3,4) + 0.5 (7,8) = (5, 6).
 * Dropped copies (-1) simply add nothing, and the other weight is not rescaled. */
static void combine(void **state) {
    (void)state;
    const double out[] = {1, 2, 3, 4, 5, 6, 7, 8}, w[] = {0.75, 0.25, 0.5, 0.5};
    const idx place[] = {2, 0, 1, 3}, dropped[] = {2, -1, -1, -1};
    const int32_t experts[] = {3, 0, 1, 2};
    const double want[] = {4, 5, 5, 6}, rest[] = {3.75, 4.5, 0, 0};
    for (int order = 0; order < 2; order++) {
        /* what was there is not added to */
        double y[] = {9, 9, 9, 9};
        mr_moe_combine_f64(y, out, place, experts, w, 2, 2, 2, (mr_expert_order)order,
                           MR_STORE_WIDE);
        check_bits("y", want, y, 4, sizeof *y);
        mr_moe_combine_f64(y, out, dropped, experts, w, 2, 2, 2, (mr_expert_order)order,
                           MR_STORE_WIDE);
        check_bits("dropped", rest, y, 4, sizeof *y);
    }
}

/* Floats, slots (2,0,1) with outputs 1, 1e8, -1e8: experts ascending gives (1e8 - 1e8) + 1 = 1,
 * slots (1 + 1e8) - 1e8 = 0. With two experts the order cannot matter. */
static void summation_order(void **state) {
    (void)state;
    const float out[] = {1, 1e8F, -1e8F}, w[] = {1, 1, 1};
    const idx place[] = {0, 1, 2};
    const int32_t experts[] = {2, 0, 1};
    float y;
    mr_moe_combine_f32(&y, out, place, experts, w, 1, 3, 1, MR_EXPERTS_ASCENDING, MR_STORE_WIDE);
    assert_true(y == 1);
    mr_moe_combine_f32(&y, out, place, experts, w, 1, 3, 1, MR_EXPERTS_SLOTS, MR_STORE_WIDE);
    assert_true(y == 0);
    float x[2], g[2], ascending, slots;
    for (uint64_t i = 0; i < 1000; i++) {
        fill_f32(x, 2, i);
        fill_f32(g, 2, 1000 + i);
        mr_moe_combine_f32(&ascending, x, place, experts, g, 1, 2, 1, MR_EXPERTS_ASCENDING,
                           MR_STORE_WIDE);
        mr_moe_combine_f32(&slots, x, place, experts, g, 1, 2, 1, MR_EXPERTS_SLOTS, MR_STORE_WIDE);
        check_bits("two", &ascending, &slots, 1, sizeof slots);
    }
}

/* bf16: (1 + 2^-7)^2 = 1.01568... becomes 1.015625; adding 3/2^9 gives 1.021484375, which becomes
 * 1.0234375. */
static void storage(void **state) {
    (void)state;
    const double out[] = {1 + 0x1p-7, 3 * 0x1p-9}, w[] = {1 + 0x1p-7, 1}, want = 1.0234375;
    const float out32[] = {1 + 0x1p-7F, 3 * 0x1p-9F}, w32[] = {1 + 0x1p-7F, 1};
    const idx place[] = {0, 1};
    const int32_t experts[] = {0, 1};
    double y;
    float y32;
    mr_moe_combine_f64(&y, out, place, experts, w, 1, 2, 1, MR_EXPERTS_ASCENDING, MR_STORE_BF16);
    check_bits("f64", &want, &y, 1, sizeof y);
    mr_moe_combine_f32(&y32, out32, place, experts, w32, 1, 2, 1, MR_EXPERTS_SLOTS, MR_STORE_BF16);
    check_close_f32("f32", &want, &y32, 1, 1, 0);
    /* w out = 0x1.0404p-8 becomes 0x1.04p-8; unrounded, the sum would not */
    const double tie[] = {1 + 0x1p-7, 0x1.02p-8};
    const double weights[] = {1, 1 + 0x1p-7}, up = 1 + 0x1p-6;
    mr_moe_combine_f64(&y, tie, place, experts, weights, 1, 2, 1, MR_EXPERTS_ASCENDING,
                       MR_STORE_BF16);
    check_bits("sum", &up, &y, 1, sizeof y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(ties), cmocka_unit_test(not_a_number),
        cmocka_unit_test(properties), cmocka_unit_test(expert_permutation),
        cmocka_unit_test(precisions), cmocka_unit_test(gather), cmocka_unit_test(combine),
        cmocka_unit_test(summation_order), cmocka_unit_test(storage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
