/* Models out of a formula and out of a seed: known answers from an independent program, and what
 * the numbers are like. */
#include "tests/models.h"

#include <math.h>

/* The value of a native tensor's element i, row-major. */
static double value(const mr_checkpoint *c, const char *name, idx i) {
    const mr_tensor *t = mr_tensors_find(&c->tensors, name);
    if (t == NULL) fail_msg("%s is not there", name);
    assert_true(i < mr_count(t->rank, t->dim));
    return mr_element_get(t->data, t->dtype, i);
}

/* The ids of spec 2.15 written out: a tensor's number, and its width. */
static void test_formula(void **state) {
    static const struct { const char *name; idx t, cols; bool moe, dense; } ids[] = {
        {"tok_embeddings.weight", 1, 10, true, true},
        {"norm.weight", 2, 0, true, true},
        {"output.weight", 3, 10, true, true},
        {"layers.0.attention_norm.weight", 10, 0, true, true},
        {"layers.0.attention.wq.weight", 11, 10, true, true},
        {"layers.1.attention.wk.weight", 22, 10, true, true},
        {"layers.0.attention.wv.weight", 13, 10, true, true},
        {"layers.1.attention.wo.weight", 24, 24, true, true},
        {"layers.1.ffn_norm.weight", 25, 0, true, true},
        {"layers.0.feed_forward.w1.weight", 16, 10, false, true},
        {"layers.0.feed_forward.w2.weight", 17, 7, false, true},
        {"layers.1.feed_forward.w3.weight", 28, 10, false, true},
        {"layers.1.feed_forward.gate.weight", 29, 10, true, false},
        {"layers.0.feed_forward.experts.0.w1.weight", 1001, 10, true, false},
        {"layers.0.feed_forward.experts.2.w2.weight", 1022, 7, true, false},
        {"layers.1.feed_forward.experts.1.w3.weight", 2013, 10, true, false},
    };
    (void)state;
    for (int sparse = 0; sparse < 2; sparse++) {
        const mr_config config = small(sparse == 1);
        mr_checkpoint made;
        mr_err err = {0};
        must(mr_checkpoint_formula(&config, &made, &err), &err);
        assert_int_equal(made.tensors.count, sparse ? 3 + 2 * (7 + 9) : 3 + 2 * 9);
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
            if (!(sparse ? ids[i].moe : ids[i].dense)) continue;
            const double t = (double)ids[i].t, r = 2, c = 5;
            const bool   norm = ids[i].cols == 0;
            const double want = norm ? 1 + 0.1 * cos(t + c)
                : 0.35 * sin(0.7 * t + 1.3 * r + 0.41 * c + 0.05 * r * c);
            check_number(ids[i].name, want, value(&made, ids[i].name, norm ? 5
                                                  : 2 * ids[i].cols + 5), 4);
        }
        assert_int_equal(made.model.qk_rows, MR_INTERLEAVED);
        mr_checkpoint_close(&made);
    }
}

/* Printed by ten lines of Python that know only the comment in weights/init.c. */
static const struct {
    uint64_t seed; const char *name; idx i; uint32_t f32; uint16_t bf16;
} known[] = {
    {0, "tok_embeddings.weight", 0, 0xbd4f05fc, 0xbd4f},
    {0, "tok_embeddings.weight", 87, 0xbcdb164d, 0xbcdb},
    {0, "layers.1.attention.wk.weight", 5, 0x3be00601, 0x3be0},
    {0, "layers.0.attention_norm.weight", 3, 0x3f75da69, 0x3f76},
    {0, "layers.1.feed_forward.experts.2.w2.weight", 40, 0x3c8a7eaa, 0x3c8a},
    {1, "tok_embeddings.weight", 0, 0x3cf4b442, 0x3cf5},
    {1, "tok_embeddings.weight", 87, 0xbb783cce, 0xbb78},
    {1, "layers.1.attention.wk.weight", 5, 0xbccea238, 0xbccf},
    {1, "layers.0.attention_norm.weight", 3, 0x3f7a48a9, 0x3f7a},
    {1, "layers.1.feed_forward.experts.2.w2.weight", 40, 0x3be1d325, 0x3be2},
    {UINT64_MAX, "tok_embeddings.weight", 0, 0xbb8e835d, 0xbb8f},
    {UINT64_MAX, "tok_embeddings.weight", 87, 0x3a5a3d08, 0x3a5a},
    {UINT64_MAX, "layers.1.attention.wk.weight", 5, 0x3d3ccccf, 0x3d3d},
    {UINT64_MAX, "layers.0.attention_norm.weight", 3, 0x3f727c0e, 0x3f72},
    {UINT64_MAX, "layers.1.feed_forward.experts.2.w2.weight", 40, 0xbbcccc35, 0xbbcd},
};

static void test_known_answers(void **state) {
    const mr_config config = small(true);
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        mr_checkpoint wide, narrow;
        mr_err   err = {0};
        uint32_t f32;
        uint16_t bf16;
        must(mr_checkpoint_init(&config, known[i].seed, MR_F32, &wide, &err), &err);
        must(mr_checkpoint_init(&config, known[i].seed, MR_BF16, &narrow, &err), &err);
        memcpy(&f32, (const char *)mr_tensors_find(&wide.tensors,
                                                   known[i].name)->data + 4 * known[i].i, 4);
        memcpy(&bf16, (const char *)mr_tensors_find(&narrow.tensors,
                                                    known[i].name)->data + 2 * known[i].i, 2);
        if (f32 != known[i].f32 || bf16 != known[i].bf16)
            fail_msg("%s[%td]: %08x %04x, want %08x %04x", known[i].name, known[i].i,
                     (unsigned)f32, (unsigned)bf16,
                     (unsigned)known[i].f32, (unsigned)known[i].bf16);
        mr_checkpoint_close(&wide);
        mr_checkpoint_close(&narrow);
    }
}

/* --std 0.05, --embedding-std 0.7, seed 1, by the same ten lines. */
static void test_deviations(void **state) {
    static const struct { const char *name; idx i; uint32_t f32; } wanted[] = {
        {"tok_embeddings.weight", 87, 0xbe07c141},
        {"output.weight", 3, 0xbd53600a},
        {"layers.1.attention.wk.weight", 5, 0xbd812563},
        {"layers.0.attention_norm.weight", 3, 0x3f7a48a9},
    };
    const mr_config config = small(true);
    mr_checkpoint made;
    mr_err err = {0};
    (void)state;
    must(mr_checkpoint_random(&config, &(mr_random){1, 0.05, 0.7}, MR_F32, &made, &err), &err);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const float found = (float)value(&made, wanted[i].name, wanted[i].i);
        uint32_t bits;
        memcpy(&bits, &found, sizeof bits);
        if (bits != wanted[i].f32)
            fail_msg("%s[%td]: %08x, want %08x", wanted[i].name, wanted[i].i, (unsigned)bits,
                     (unsigned)wanted[i].f32);
    }
    mr_checkpoint_close(&made);
    const double bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (mr_err){0};
        check_refused(mr_checkpoint_random(&config, &(mr_random){1, bad[i], 0.7}, MR_F32, &made,
                                           &err), MR_USAGE, &err, "must be positive and finite");
    }
}

/* 20000 numbers: mean 0 and standard deviation 0.02 within five standard errors, none beyond 3.47
 * of it. */
static void test_distribution(void **state) {
    mr_config config = small(false);
    mr_checkpoint made;
    mr_err err = {0};
    double sum = 0, squares = 0;
    const idx n = 20000;
    (void)state;
    config.vocab_size = 2000;
    must(mr_checkpoint_init(&config, 42, MR_F32, &made, &err), &err);
    for (idx i = 0; i < n; i++) {
        const double x = value(&made, "output.weight", i);
        assert_true(fabs(x) <= 3.47 * 0.02);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / (double)n) < 5 * 0.02 / sqrt((double)n));
    assert_true(fabs(sqrt(squares / (double)n) / 0.02 - 1) < 5 / sqrt(2.0 * (double)n));
    mr_checkpoint_close(&made);
}

static void test_refusals(void **state) {
    mr_config config = small(false);
    mr_checkpoint made;
    mr_err err = {0};
    (void)state;
    check_refused(mr_checkpoint_init(&config, 1, MR_F16, &made, &err), MR_USAGE, &err,
                  "F32 or BF16, found F16");
    config.n_layers = INT32_MAX;
    err = (mr_err){0};
    check_refused(mr_checkpoint_init(&config, 1, MR_F32, &made, &err), MR_BAD, &err,
                  WIDE_SIZES ? "too many or too large" : "sizes overflow");
    config.n_layers = 1;
    config.dim = config.vocab_size = INT32_MAX;
    err = (mr_err){0};
    check_refused(mr_checkpoint_init(&config, 1, MR_F32, &made, &err), MR_BAD, &err,
                  "random weights: ");
    config.head_dim = 3;
    err = (mr_err){0};
    check_refused(mr_checkpoint_formula(&config, &made, &err), MR_BAD, &err, "formula: expected an "
                  "even head_dim");
    assert_null(made.tensors.tensor);
}

/* Each product of sizes below 2^57, as the configuration may have them, and 2^63 bytes together. */
static void test_too_large(void **state) {
    const idx wide = INT32_MAX, many = ((idx)1 << 26) - 1;
    const mr_config config = {.dim = wide, .n_layers = 1, .head_dim = 1 << 12, .hidden_dim = many,
                              .n_heads = 1 << 14, .n_kv_heads = 1 << 14, .vocab_size = many,
                              .norm_eps = 1e-5, .rope_theta = 1e4, .bos_id = -1, .eos_id = -1};
    mr_checkpoint made;
    mr_err err = {0};
    (void)state;
    check_refused(mr_checkpoint_formula(&config, &made, &err), MR_BAD, &err,
                  WIDE_SIZES ? "12 tensors are too many or too large"
                             : "sizes overflow");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formula),
                                       cmocka_unit_test(test_known_answers),
                                       cmocka_unit_test(test_deviations),
                                       cmocka_unit_test(test_distribution),
                                       cmocka_unit_test(test_too_large),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests_name("init", tests, NULL, NULL);
}
