/* Grouped-query attention: scores, softmax, output and the ring they read from; and GQA from
 * multi-head projections. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "ref/gqa.h"
#include "ref/mr.h"
#include "tests/tiny.h"

#define PLAIN MR_STORE_WIDE, MR_ATTENTION_EAGER

enum { D = 6, G = 3, WIDTH = D * G, MOST = 24 };

/* Keys and values of one sequence that are all in the new rows. */
static mr_keys_f64 fresh(const double *k, const double *v) {
    return (mr_keys_f64){.new_k = k, .new_v = v, .slots = 1};
}

/* By hand: D = 4, so the scale is 1/2. q = (2 ln 3, 0, 0, 0) meets k0 = 0 and k1 = (1,0,0,0):
 * scores 0 and ln 3, weights 1/4 and 3/4. v0 = (4,0,8,0), v1 = (8,4,0,0): o = (1+6, 3, 2, 0). The
 * other KV head holds NaN and must not be touched. */
static void worked_example(void **state) {
    (void)state;
    const double nan_ = (double)NAN, q[] = {2 * log(3), 0, 0, 0};
    const double k[] = {nan_, nan_, nan_, nan_, 0, 5, 5, 5, nan_, nan_, nan_, nan_, 1, 5, 5, 5};
    const double v[] = {nan_, nan_, nan_, nan_, 4, 0, 8, 0, nan_, nan_, nan_, nan_, 8, 4, 0, 0};
    const double scores[] = {0, log(3)}, probs[] = {0.25, 0.75}, o[] = {7, 3, 2, 0};
    const mr_keys_f64 keys = fresh(k, v);
    double got_o[4], s[2], p[2];
    assert_true(mr_attention_row_f64(got_o, s, p, q, &keys, 1, 0, 2, 2, 4, PLAIN));
    check_close("scores", scores, s, 2, EPS_F64, 1, 4);
    check_close("probs", probs, p, 2, EPS_F64, 1, 4);
    check_close("o", o, got_o, 4, EPS_F64, 8, 4);
    float k32[16], v32[16], q32[4], o32[4], s32[2];
    for (int i = 0; i < 16; i++) k32[i] = (float)k[i], v32[i] = (float)v[i];
    for (int i = 0; i < 4; i++) q32[i] = (float)q[i];
    const mr_keys_f32 narrow = {.new_k = k32, .new_v = v32, .slots = 1};
    assert_true(mr_attention_row_f32(o32, s32, s32, q32, &narrow, 1, 0, 2, 2, 4, PLAIN));
    check_close_f32("o", o, o32, 4, 8, 4);
    check_close_f32("probs where the scores were", probs, s32, 2, 1, 4);
}

/* f32 rounds scores, weights and the result once each. A score off by half a unit of |s| < 3 moves
 * its weight by 1.5 eps of itself, the normaliser by as much again; with the rounding of P and of o
 * that is 4 eps of the sum of |P v|. */
static void precisions(void **state) {
    (void)state;
    float q32[D], k32[MOST * WIDTH], v32[MOST * WIDTH], o32[D], s32[MOST], p32[MOST];
    double q[D], k[MOST * WIDTH], v[MOST * WIDTH], o[D], s[MOST], p[MOST];
    fill_f32(q32, D, 1);
    fill_f32(k32, MOST * WIDTH, 2);
    fill_f32(v32, MOST * WIDTH, 3);
    for (int i = 0; i < D; i++) q[i] = (double)q32[i];
    for (int i = 0; i < MOST * WIDTH; i++) k[i] = (double)k32[i], v[i] = (double)v32[i];
    const mr_keys_f64 wide = fresh(k, v);
    const mr_keys_f32 narrow = {.new_k = k32, .new_v = v32, .slots = 1};
    for (idx g = 0; g < G; g++) {
        mr_attention_row_f64(o, s, p, q, &wide, g, 2, MOST, G, D, PLAIN);
        mr_attention_row_f32(o32, s32, p32, q32, &narrow, g, 2, MOST, G, D, MR_STORE_WIDE,
                             MR_ATTENTION_FUSED);
        double sum = 0;
        for (int j = 0; j < MOST - 2; j++) sum += (double)p32[j];
        check_close("row sum", &(double){1}, &sum, 1, EPS_F32, 1, 1);
        check_close_f32("scores", s, s32, MOST - 2, 3, 0.51);
        check_close_f32("probs", p, p32, MOST - 2, 1, 3);
        check_close_f32("o", o, o32, D, 1, 4);
    }
}

/* Large scores must not overflow, and a lead of thousands gives exactly one and zero; equal scores
 * give equal weights. */
static void softmax_edges(void **state) {
    (void)state;
    const double q[] = {1e4, 0}, k[] = {1, 0, -1, 0, 1, 0}, v[] = {1, 2, 3, 4, 5, 6},
                 want[] = {0.5, 0, 0.5}, o[] = {3, 4};
    const mr_keys_f64 keys = fresh(k, v);
    double got[2], p[3];
    mr_attention_row_f64(got, p, p, q, &keys, 0, 0, 3, 1, 2, PLAIN);
    check_bits("probs", want, p, 3, sizeof *p);
    check_bits("o", o, got, 2, sizeof *got);
    /* the same when the first is not the largest */
    const double back[] = {-1, 0, 1, 0, 1, 0}, last[] = {0, 0.5, 0.5}, mean_of_two[] = {4, 5};
    const mr_keys_f64 turned = fresh(back, v);
    mr_attention_row_f64(got, p, p, q, &turned, 0, 0, 3, 1, 2, PLAIN);
    check_bits("probs", last, p, 3, sizeof *p);
    check_bits("o", mean_of_two, got, 2, sizeof *got);
    /* uniform attention over many keys: the mean, not an overflow */
    double many_k[500] = {0}, many_v[500], mean;
    for (int i = 0; i < 500; i++) many_v[i] = 1e300;
    const mr_keys_f64 uniform = fresh(many_k, many_v);
    double scores[250], pair[2];
    mr_attention_row_f64(pair, scores, scores, q, &uniform, 0, 0, 250, 1, 2, PLAIN);
    mean = pair[1];
    check_number("mean", 1e300, mean, 250);
}

/* No key at all: zeros and false, and nothing is read. One key: its value exactly, whatever the
 * score. */
static void empty_and_single(void **state) {
    (void)state;
    const double q[] = {3, -7}, k[] = {1, 2}, v[] = {0.3, -0.7};
    const mr_keys_f64 none = {0}, one = fresh(k, v);
    double o[] = {9, 9}, p;
    assert_false(mr_attention_row_f64(o, NULL, NULL, q, &none, 0, 4, 4, 1, 2, PLAIN));
    assert_true(o[0] == 0 && o[1] == 0);
    o[0] = o[1] = 9;
    assert_false(mr_attention_row_f64(o, NULL, NULL, q, &none, 0, 5, 4, 1, 2, PLAIN));
    assert_true(o[0] == 0 && o[1] == 0);
    const mr_keys_f32 none32 = {0};
    float o32[] = {9, 9};
    assert_false(mr_attention_row_f32(o32, NULL, NULL, NULL, &none32, 0, 4, 4, 1, 2, PLAIN));
    assert_true(o32[0] == 0 && o32[1] == 0);
    assert_true(mr_attention_row_f64(o, &p, &p, q, &one, 0, 0, 1, 1, 2, PLAIN));
    check_bits("o", v, o, 2, sizeof *o);
}

/* Keys read from the ring, from the new rows and across both give the bits of one linear array;
 * what lies outside the range is NaN, so reading it would show. The sequence starts at several
 * places of the ring. */
static void ring_equals_linear(void **state) {
    (void)state;
    double q[D], k[MOST * WIDTH], v[MOST * WIDTH], ring_k[MOST * WIDTH], ring_v[MOST * WIDTH],
        want[D], got[D], p[MOST];
    fill_f64(q, D, 1);
    fill_f64(k, MOST * WIDTH, 2);
    fill_f64(v, MOST * WIDTH, 3);
    const mr_keys_f64 linear = fresh(k, v);
    for (idx slots = 1; slots <= 7; slots++)
        for (idx seen = 0; seen <= 16; seen++)
            for (int64_t origin = 0; origin < 3; origin++) {
                const idx oldest = seen > slots ? seen - slots : 0;
                for (int i = 0; i < MOST * WIDTH; i++) ring_k[i] = ring_v[i] = (double)NAN;
                for (idx j = oldest; j < seen; j++) {
                    const size_t bytes = WIDTH * sizeof *k;
                    memcpy(ring_k + (j + (idx)origin) % slots * WIDTH, k + j * WIDTH, bytes);
                    memcpy(ring_v + (j + (idx)origin) % slots * WIDTH, v + j * WIDTH, bytes);
                }
                const mr_keys_f64 keys = {ring_k, ring_v, k + seen * WIDTH, v + seen * WIDTH, slots,
                                          seen,   origin};
                for (idx to = oldest + 1; to <= seen + 4; to += 2) {
                    const idx g = to % G;
                    mr_attention_row_f64(want, p, p, q, &linear, g, oldest, to, G, D, PLAIN);
                    mr_attention_row_f64(got, p, p, q, &keys, g, oldest, to, G, D, PLAIN);
                    check_bits("o", want, got, D, sizeof *got);
                }
            }
}

/* Head dimensions around the 64 channels summed at a time, against a plain loop. */
static void head_dims(void **state) {
    (void)state;
    enum { MAX = 130, KEYS = 5 };
    const idx dims[] = {2, 62, 64, 66, 126, 128, 130};
    double q[MAX], k[KEYS * MAX], v[KEYS * MAX], o[MAX], p[KEYS];
    fill_f64(q, MAX, 1);
    fill_f64(k, KEYS * MAX, 2);
    fill_f64(v, KEYS * MAX, 3);
    const mr_keys_f64 keys = fresh(k, v);
    for (int m = 0; m < 7; m++) {
        const idx d = dims[m];
        double s[KEYS], sum = 0;
        for (idx j = 0; j < KEYS; j++) {
            s[j] = 0;
            for (idx i = 0; i < d; i++) s[j] += q[i] * k[j * d + i];
            sum += exp(s[j] / sqrt((double)d));
        }
        mr_attention_row_f64(o, p, p, q, &keys, 0, 0, KEYS, 1, d, PLAIN);
        for (idx i = 0; i < d; i++) {
            double want = 0;
            for (idx j = 0; j < KEYS; j++) want += exp(s[j] / sqrt((double)d)) / sum * v[j * d + i];
            check_close("o", &want, o + i, 1, EPS_F64, 1, 16);
        }
    }
}

/* bf16, D = 4. Eager: q . k = 1 + 3/2^8 becomes 1 + 2^-6 (a tie to even), half of it is exact; for
 * the third key, -8.03125 becomes -8. The weights are rounded; o is left to the caller. Fused
 * rounds nothing inside. */
static void storage_conventions(void **state) {
    (void)state;
    const double q[] = {1, 1, 0, 0}, k[] = {1, 3 * 0x1p-8, 0, 0, 0, 0, 0, 0, -8, -0x1p-5, 0, 0};
    const double v[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, eager[] = {0.5 + 0x1p-7, 0, -4};
    const double fused[] = {0.5 + 3 * 0x1p-9, 0, -4.015625}, *want[] = {eager, fused};
    const mr_keys_f64 keys = fresh(k, v);
    for (int way = 0; way < 2; way++) {
        double o[4], s[3], p[3], sum = 0;
        mr_attention_row_f64(o, s, p, q, &keys, 0, 0, 3, 1, 4, MR_STORE_BF16,
                             (mr_attention_rounding)way);
        check_bits("scores", want[way], s, 3, sizeof *s);
        for (int j = 0; j < 3; j++) sum += exp(s[j]);
        for (int j = 0; j < 3; j++) {
            const double exact = exp(s[j]) / sum, rounded = mr_round(exact, MR_STORE_BF16);
            check_number("probs", way == MR_ATTENTION_EAGER ? rounded : exact, p[j],
                         way == MR_ATTENTION_EAGER ? 0 : 4);
            check_bits("o", &p[j], &o[j], 1, sizeof *o);
        }
    }
}

/* D = 2, so that the scale is no power of two. The product 1 + 2^-8 becomes 1 and then 0.7071
 * becomes 0.70703125, where a single rounding of 0.70987 would give 0.7109375. The product 3 is
 * exact; 2.1213 becomes 2.125. */
static void eager_rounds_twice(void **state) {
    (void)state;
    const double q[] = {1, 0}, k[] = {1 + 0x1p-8, 0, 3, 0}, v[] = {1, 1, 1, 1},
                 want[] = {0.70703125, 2.125};
    const mr_keys_f64 keys = fresh(k, v);
    double o[2], s[2], p[2];
    mr_attention_row_f64(o, s, p, q, &keys, 0, 0, 2, 1, 2, MR_STORE_BF16, MR_ATTENTION_EAGER);
    check_bits("scores", want, s, 2, sizeof *s);
}

/* Six query heads on two KV heads (groups of three): values of KV head g are all g + 1, so the
 * output of a query head names the head it read: 1 1 1 2 2 2. Tiling (h mod 2), or a group size
 * mixed up with the number of groups, names others. */
static void heads_are_named(void **state) {
    (void)state;
    mr_config c = tiny_config();
    c.n_layers = 1, c.n_heads = 6;
    tiny t;
    tiny_open(&t, &c);
    double *x = tiny_data(&t, &t.model.tok_embeddings), *wv = tiny_data(&t, &t.model.layers[0].wv);
    double *gain = tiny_data(&t, &t.model.layers[0].attention_norm);
    /* every token normalises to (r,0,0,...) */
    for (idx i = 0; i < c.vocab_size * c.dim; i++) x[i] = i % c.dim == 0;
    for (idx r = 0; r < 8; r++)
        for (idx i = 0; i < c.dim; i++)
            wv[r * c.dim + i] = i == 0 ? (double)(r / c.head_dim + 1) : 0.3;
    /* r times gain is 1 */
    gain[0] = sqrt(1.0 / 8 + 1e-5);
    tiny_trace trace = {.name = "layers.0.attention"};
    tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, 7, NULL, &trace);
    assert_true(trace.n == 7 * 6 * 4);
    for (idx i = 0; i < trace.n; i++)
        check_number("KV head", (double)(i / 4 % 6 / 3 + 1), trace.values[i], 8);
    tiny_close(&t);
}

/* Four heads of two rows averaged to two: rows of heads 0 1 and of heads 2 3, read through a
 * transposed view too. */
static void grouped_from_multi_head(void **state) {
    (void)state;
    const double w[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 61, 70},
                 want[] = {3, 4, 5, 6, 24.5, 30, 40.5, 50};
    double turned[16], out[8];
    for (idx r = 0; r < 8; r++)
        for (idx i = 0; i < 2; i++) turned[i * 8 + r] = w[r * 2 + i];
    const mr_matrix W = {w, MR_F64, 8, 2, 2, 1}, V = {turned, MR_F64, 8, 2, 1, 8};
    mr_gqa_mean(out, &W, 4, 2, 2);
    check_bits("mean", want, out, 8, sizeof *out);
    mr_gqa_mean(out, &V, 4, 2, 2);
    check_bits("view", want, out, 8, sizeof *out);
    mr_gqa_mean(turned, &W, 4, 4, 2);                    /* groups of one head: unchanged */
    check_bits("same", w, turned, 16, sizeof *w);
}

/* 1100 keys of one head, D = 2, so the scale is 2^-1/2: q = (2^1/2 ln 3, 0) meets k = (1,0) at odd
 * j, (0,0) at even j. Weights 3/2200 and 1/2200; v = (1 at odd j, 1 from j = 1024 on), so that
 * o = (3/4, 38 (3 + 1) / 2200). A sum of n terms may be n/2 eps off, relative to their sizes. */
static void many_keys(void **state) {
    enum { N = 1100 };
    static double k[2 * N], v[2 * N], scores[N], probs[N], want[N];
    const double q[2] = {sqrt(2) * log(3), 0}, o[2] = {0.75, 152.0 / 2200};
    double got[2];
    (void)state;
    for (int j = 0; j < N; j++) {
        k[2 * j] = v[2 * j] = j % 2;
        v[2 * j + 1] = j >= 1024;
        want[j] = (j % 2 ? 3.0 : 1.0) / 2200;
    }
    const mr_keys_f64 keys = {.new_k = k, .new_v = v, .slots = 1};
    assert_true(mr_attention_row_f64(got, scores, probs, q, &keys, 0, 0, N, 1, 2, MR_STORE_WIDE,
                                     MR_ATTENTION_EAGER));
    check_close("probs", want, probs, N, EPS_F64, 3.0 / 2200, N / 2 + 8);
    check_close("o", o, got, 2, EPS_F64, 1, N + 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example), cmocka_unit_test(precisions),
        cmocka_unit_test(softmax_edges), cmocka_unit_test(empty_and_single),
        cmocka_unit_test(ring_equals_linear), cmocka_unit_test(head_dims),
        cmocka_unit_test(storage_conventions), cmocka_unit_test(eager_rounds_twice),
        cmocka_unit_test(heads_are_named), cmocka_unit_test(grouped_from_multi_head),
        cmocka_unit_test(many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
