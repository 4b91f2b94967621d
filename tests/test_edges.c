/* Numbers at the end of what a type holds, and rows longer than a buffer. */
#include "ref/mr.h"
#include "tests/tiny.h"

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

/* Rings of 2^63 bytes and near it: no such run, whichever sum or product is the first to overflow.
 * One head of D = 2: a slot has 8 bytes of f32, 16 of f64. */
static void sizes_beyond_memory(void **state) {
    mr_config c = tiny_config();
    (void)state;
    c.n_heads = c.n_kv_heads = 1;
    c.head_dim = 2;
    tiny t;
    tiny_open(&t, &c);
    for (int precision = MR_F32_RUN; precision <= MR_F64_RUN; precision++)
        for (int shift = 1; shift < 6; shift++)
            for (idx more = -8; more <= 0; more++) {
                const idx capacity = MR_IDX_MAX / ((idx)1 << shift) + more;
                const mr_run_options o = {.precision = (mr_precision)precision, .n_seqs = 1,
                                          .capacity = &capacity, .max_tokens = 1};
                const idx bytes = mr_run_size(&t.model, &o);
                /* keys and values of both layers: 4 rings */
                const double least = 4.0 * 2 * (precision == MR_F64_RUN ? 8 : 4) * (double)capacity;
                assert_true(least > (double)MR_IDX_MAX ? bytes == -1 : bytes == -1 || bytes > 0);
            }
    tiny_close(&t);
    const mr_tensor most = {"x", MR_F64, 1, {MR_IDX_MAX}, NULL},
                    product = {"x", MR_U8, 2, {MR_IDX_MAX, 2}, NULL},
                    fits = {"x", MR_F16, 2, {MR_IDX_MAX / 2, 1}, NULL};
    assert_true(mr_tensor_bytes(&most) == -1 && mr_tensor_bytes(&product) == -1);
    assert_true(mr_tensor_bytes(&fits) == MR_IDX_MAX - 1);
}

/* IEEE half: exponent 31 is infinity or no number; the largest number is 65504. */
static void half_beyond_numbers(void **state) {
    (void)state;
    assert_true(mr_half_to_float(0x7C00) == INFINITY && mr_half_to_float(0xFC00) == -INFINITY);
    assert_true(isnan(mr_half_to_float(0x7E00)) && isnan(mr_half_to_float(0xFC01)));
    assert_true(mr_half_to_float(0x7BFF) == 65504.0f && mr_half_to_float(0x0001) == 0x1p-24f);
    assert_true(mr_round(0.1, MR_STORE_WIDE) == 0.1);
}

/* Control characters of ASCII, and of Latin-1 as two bytes of UTF-8, reach no terminal, each byte a
 * question mark; U+00A9, and bytes that only look like the first of a pair, do. */
static void messages(void **state) {
    mr_err err = {0};
    (void)state;
    mr_fail(&err, MR_BAD, "%s", "a\x1b[1m\x7f\xC2\x9Bz\xC2\xA9\xC2q\xC3\x9F\xC2");
    assert_string_equal(err.text, "a?[1m???z\xC2\xA9\xC2q\xC3\x9F\xC2");
}

/* Rows that overlap, 1 2 3 and 2 3 4, and rows at an odd address, as a file may have them: y = W x
 * with x = 1 is 6 and 9 in every engine. */
static void rows_anywhere(void **state) {
    const float values[4] = {1, 2, 3, 4}, x[3] = {1, 1, 1}, want[2] = {6, 9};
    unsigned char bytes[sizeof values + 1];
    float scratch[64 * 3], y[2];
    (void)state;
    memcpy(bytes + 1, values, sizeof values);
    const mr_matrix W[] = {{values, MR_F32, 2, 3, 1, 1}, {bytes + 1, MR_F32, 2, 3, 1, 1}};
    for (int i = 0; i < 2; i++)
        for (int engine = MR_PLAIN_ENGINE; engine <= MR_BLAS_ENGINE; engine++) {
            mr_linear_f32(y, x, &W[i], 1, MR_STORE_WIDE, (mr_engine)engine, scratch);
            check_bits("y", want, y, 2, sizeof *y);
        }
    const mr_matrix apart = {bytes + 1, MR_F32, 2, 2, 2, 1};
    for (int engine = MR_PLAIN_ENGINE; engine <= MR_BLAS_ENGINE; engine++) {
        const float sums[2] = {3, 7};
        mr_linear_f32(y, x, &apart, 1, MR_STORE_WIDE, (mr_engine)engine, scratch);
        check_bits("y", sums, y, 2, sizeof *y);
    }
}

static idx told[4], count;
static void remember(const mr_model *model, idx layer) {
    assert_true(model->config.n_layers == 2 && count < 4);
    told[count++] = layer;
}

/* Before each layer of each call, in order. */
static void layers_announced(void **state) {
    const mr_config c = tiny_config();
    const idx capacity = 4, length = 2;
    const mr_run_options o = {.precision = MR_F32_RUN, .n_seqs = 1, .capacity = &capacity,
                              .max_tokens = 2, .coming = remember};
    tiny t;
    (void)state;
    tiny_open(&t, &c);
    mr_run *run = tiny_run(&t, &o);
    count = 0;
    tiny_forward(run, tiny_tokens, &length);
    tiny_forward(run, tiny_tokens + 2, &length);
    assert_int_equal(count, 4);
    for (idx i = 0; i < 4; i++) assert_int_equal(told[i], i % 2);
    mr_run_close(run);
    tiny_close(&t);
}

/* One of the words that the documents use. */
static void pool(void **state) {
    const char *name = mr_blas_pool();
    (void)state;
    assert_true(strcmp(name, "OpenMP") == 0 || strcmp(name, "pthread") == 0 ||
                strcmp(name, "one thread") == 0 || strcmp(name, "none") == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys),             cmocka_unit_test(sizes_beyond_memory),
        cmocka_unit_test(half_beyond_numbers),
        cmocka_unit_test(messages),              cmocka_unit_test(layers_announced),
        cmocka_unit_test(rows_anywhere),         cmocka_unit_test(pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
