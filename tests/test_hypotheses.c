/* The faults that are tried on a port: those that its model and its run can have, under names that
 * say what is wrong, and no others. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "golden/replay_cause_list.h"

static mr_hypotheses h;

static const mr_config dense = {.dim = 22, .n_layers = 2, .head_dim = 8, .n_heads = 6,
                                .n_kv_heads = 2, .n_windows = 1, .windows = {5}, .norm_eps = 1e-5,
                                .rope_theta = 1e4, .eos_id = -1};

/* How often the list has a name with these words. */
static int named(const char *words) {
    int count = 0;
    for (idx i = 0; i < h.count; i++) count += strstr(h.list[i].name, words) != NULL;
    return count;
}

/* The whole list. */
static void are(const char *const *names, idx count) {
    for (idx i = 0; i < h.count || i < count; i++)
        if (i >= h.count || i >= count || strcmp(h.list[i].name, names[i]) != 0)
            fail_msg("%td of %td: \"%s\", want \"%s\"", i, h.count,
                     i < h.count ? h.list[i].name : "none", i < count ? names[i] : "none");
}

#define ARE(...) are((const char *const[]){__VA_ARGS__}, \
                     sizeof (const char *const[]){__VA_ARGS__} / sizeof(char *))

/* Runs: of one sequence in one call; two sequences in chunks, then decoded. */
static idx lengths[] = {13, 9};
static int64_t firsts[] = {0, 0};
static const mr_meta one = {.n_seqs = 1, .count = 13, .length = lengths, .first = firsts},
                     calls = {.n_seqs = 2, .count = 22, .length = lengths, .first = firsts,
                              .batch = MR_LEFT_PADDED, .chunk = 4, .decode = 3};

static void test_windows(void **state) {
    mr_config c = dense;
    mr_meta few = one;
    (void)state;
    h.count = 0;
    mr_suppose_masks(&h, &c, &one);
    ARE("no sliding window instead of 5", "a sliding window of 4 keys instead of 5",
        "a sliding window of 6 keys instead of 5",
        "not causal: rows see later keys of their call",
        "keys cut to the last window of the call: early rows are without keys",
        "the call is written to the ring before its rows read",
        "write pointer of the ring taken for its number of keys");
    assert_true(h.list[2].config.windows[0] == 6 && h.list[0].config.n_windows == 0);
    h.count = 0, c.windows[0] = 1, c.n_windows = 2;   /* 1 and everything in turn */
    mr_suppose_masks(&h, &c, &one);
    assert_string_equal(h.list[0].name, "no sliding window in every layer");
    assert_string_equal(h.list[1].name, "a sliding window of 1 key in every layer");
    assert_string_equal(h.list[2].name, "a sliding window of 2 keys in every layer");
    assert_int_equal(named("sliding"), 3);
    h.count = 0, c.n_windows = 0, few.count = 4;
    mr_suppose_masks(&h, &c, &few);
    ARE("a sliding window of 1 key instead of none", "a sliding window of 2 keys instead of none",
        "a sliding window of 3 keys instead of none",
        "not causal: rows see later keys of their call");
    h.count = 0, few.count = 40;                      /* the first, and those near the end */
    mr_suppose_masks(&h, &c, &few);
    assert_int_equal(named("sliding"), 1 + 15);
}

/* Every fault of a window may be in some of the calls only. */
static void test_calls(void **state) {
    mr_config c = dense;
    (void)state;
    h.count = 0, c.eos_id = 2;
    mr_suppose_masks(&h, &c, &calls);
    assert_int_equal(named("of 6 keys instead of 5"), 7);
    assert_int_equal(named("of 6 keys instead of 5, in the first call only"), 1);
    assert_int_equal(named("of 6 keys instead of 5, with cached keys only"), 2);   /* later, both */
    assert_int_equal(named("of 6 keys instead of 5, in prefill only"), 1);
    assert_int_equal(named("of 6 keys instead of 5, in decode only"), 1);
    assert_int_equal(named("of 6 keys instead of 5, in first calls and decode"), 1);
    assert_int_equal(named("keys of other sequences") + named("counted from the first key") +
                     named("end tokens hidden") + named("NaN of padding"), 4);
    assert_int_equal(h.count, 21 + 8);
}

static void test_attention(void **state) {
    mr_config c = dense;
    mr_meta two = one;
    (void)state;
    h.count = 0;
    mr_suppose_attention(&h, &c, &one);
    ARE("KV heads tiled (h mod G) instead of repeated (h / (H/G))",
        "the first of every tile of 2 heads picks the KV head",
        "the first of every tile of 4 heads picks the KV head",
        "the first of every tile of 8 heads picks the KV head",
        "KV heads counted as twice as many, as in replicated shards",
        "scores scaled by (dim/heads)^-1/2 instead of head_dim^-1/2",
        "attention output read as rows of dim, not heads * head_dim, elements",
        "attention output left with heads before tokens, and read as tokens before heads",
        "scores not scaled", "q.k rounded to bf16 before the scale",
        "q.k rounded to f16 before the scale");
    check_number("scale of dim 22 / 6", 1 / sqrt(3), h.list[5].score_scale, 1);
    h.count = 0, c.dim = 48, c.n_kv_heads = 6;        /* every head its own, dim = heads head_dim */
    mr_suppose_attention(&h, &c, &one);
    assert_int_equal(named("KV heads tiled") + named("(dim/heads)") + named("rows of dim"), 0);
    for (idx n = 1; n <= 2; n++) {
        h.count = 0, two.count = n;
        mr_suppose_attention(&h, &c, &two);
        assert_int_equal(named("heads before tokens"), n == 2);
    }
}

/* Scales of cached keys and values: powers of two from 2^-8 to 2^8. */
static void test_caches(void **state) {
    (void)state;
    h.count = 0;
    mr_suppose_attention(&h, &dense, &calls);
    assert_int_equal(named("heads before tokens"), 0);   /* two sequences */
    assert_int_equal(named("cached keys scaled by"), 32);
    assert_int_equal(named("cached values scaled by"), 16);
    assert_int_equal(named("cached keys scaled by 256, in decode only"), 1);
    assert_int_equal(named("cached keys scaled by 0.00390625, with cached keys only"), 1);
    assert_int_equal(named("cached values scaled by 0.5, in decode only"), 1);
}

static void test_rotations(void **state) {
    static idx length[] = {20};
    static int64_t first[] = {600};
    mr_model model = {.config = dense, .qk_rows = MR_HALF_SPLIT};
    const mr_meta late = {.n_seqs = 1, .count = 20, .length = length, .first = first};
    (void)state;
    h.count = 0;
    mr_suppose_rotations(&h, &model, &one);
    assert_int_equal(named("rope_theta"), 5);
    assert_int_equal(named("rope_theta 1e+06 instead of 10000"), 1);
    assert_int_equal(named("rotates half-split pairs, but the rows are interleaved"), 1);
    assert_int_equal(named("inverse frequencies rounded to"), 2);
    assert_int_equal(named("every position shifted by"), 16);
    assert_int_equal(named("positions rounded to bf16"), 1);
    assert_int_equal(h.count, 5 + 1 + 2 + 16 + 1);   /* 16 rows of k, 6 heads: none permuted */
    h.count = 0;
    mr_suppose_rotations(&h, &model, &late);
    assert_int_equal(named("rotary table of 512 rows"), 1);
    assert_int_equal(named("rotary table"), 1);      /* theta is 10000 already */
    model.config.rope_theta = 1e6, model.config.n_heads = 4;
    h.count = 0;
    mr_suppose_rotations(&h, &model, &late);
    assert_int_equal(named("extended from row 512 on with rope_theta 10000"), 1);
    assert_int_equal(named("permuted with the count of query heads"), 1);
    h.count = 0;
    mr_suppose_rotations(&h, &model, &calls);
    assert_int_equal(named("start again in every call") + named("starts at position -1") +
                     named("count the padding on the left") + named("largest position") +
                     named("of another sequence"), 6);
}

static void test_rest(void **state) {
    static const uint16_t table[1] = {0}, head[1] = {0};
    mr_model model = {.config = dense, .tok_embeddings = {table, MR_BF16, 1, 1, 1, 1},
                      .output = {head, MR_BF16, 1, 1, 1, 1}};
    (void)state;
    h.count = 0;
    mr_suppose_rest(&h, &model, &one);               /* 13 tokens of 22: past 256 elements */
    ARE("w1 (gate) and w3 (up) swapped", "norm epsilon 1e-06 instead of 1e-05",
        "norm epsilon 1e-08 instead of 1e-05", "norm epsilon 1e-12 instead of 1e-05",
        "norm epsilon 0 instead of 1e-05", "norm epsilon added to the root, not inside it",
        "LayerNorm instead of RMSNorm: the mean is subtracted", "norm applied twice",
        "gain 1 + g instead of g in the norm",
        "the next norm's gain is added instead of the residual",
        "index of norm rows wraps at 256 elements", "logits rounded to bf16",
        "logits rounded to f16", "output head replaced by the embedding table",
        "bf16 weights read as f16");
    h.count = 0;
    model.output.data = table, model.tok_embeddings.dtype = MR_F32;
    model.config.n_experts = 7, model.config.n_experts_per_tok = 2;
    mr_suppose_rest(&h, &model, &one);
    assert_int_equal(named("output head") + named("weights read as"), 0);
    assert_int_equal(named("index of expert rows wraps at 256 elements"), 1);
    assert_int_equal(named("experts past the last full tile of"), 2);   /* 2 and 4 of 7 */
    assert_int_equal(named("router logits") + named("experts of the second rank") +
                     named("bins of even size"), 4);
    assert_int_equal(named("renormalised") + named("without gate weights") + named("twice") +
                     named("router probabilities"), 5);                  /* norm, gate weights */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows), cmocka_unit_test(test_calls),
        cmocka_unit_test(test_attention), cmocka_unit_test(test_caches),
        cmocka_unit_test(test_rotations), cmocka_unit_test(test_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
