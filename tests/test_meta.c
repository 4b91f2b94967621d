/* What a trace says of its own run, and what is refused because nothing could be judged by it. */
#include "tests/check.h"

#include "golden/replay_meta.h"

/* A meta as docs/FORMATS.md has it, with `tokens` and `first` as given. */
#define META(tokens, first)                                                               \
    "{\"format\":\"mistral-ref trace 1\",\"precision\":\"bf16\",\"convention\":\"hf\","   \
    "\"rope_angles\":\"f32\",\"rope_layout\":\"half\",\"tokens\":" tokens ",\"first_position\":" \
    first "}"

static void refused(const char *text, const char *reason) {
    mr_err err = {0};
    mr_meta meta;
    check_refused(mr_meta_read("x.npz", text, &meta, &err), MR_BAD, &err, reason);
    mr_meta_free(&meta);
}

static void test_read(void **state) {
    mr_err err = {0};
    mr_meta meta;
    (void)state;
    if (mr_meta_read("x.npz", META("[[5,6],[],[7]]", "[0,9,3]"), &meta, &err))
        fail_msg("%s", err.text);
    assert_int_equal(meta.n_seqs, 3);
    assert_int_equal(meta.count, 3);
    assert_int_equal(meta.length[0], 2);
    assert_int_equal(meta.length[1], 0);
    assert_int_equal(meta.first[1], 9);
    assert_int_equal(meta.first[2], 3);
    assert_int_equal(meta.tokens[2], 7);
    assert_int_equal(meta.convention, MR_HF);
    assert_int_equal(meta.rope_layout, MR_HALF_SPLIT);
    mr_meta_free(&meta);
}

static void test_refused(void **state) {
    (void)state;
    refused("", "has no meta, so what was run is not known; record it again");
    refused("{", "x.npz: tensor meta: line 1");
    refused(META("[]", "[]"), "\"tokens\", a list of lists of ids");
    refused(META("7", "[0]"), "\"tokens\", a list of lists of ids");
    refused(META("[5,6]", "[0,0]"), "\"tokens\", a list of lists of ids");
    refused(META("[[5]]", "[]"), "\"first_position\", one number per sequence");
    refused(META("[[5]]", "[0,0]"), "\"first_position\", one number per sequence");
    refused(META("[[5]]", "0"), "\"first_position\", one number per sequence");
    refused(META("[[5]]", "[-1]"), "\"first_position\" of 0 to 2^31-1");
    refused(META("[[5]]", "[2147483647]"), "\"first_position\" of 0 to 2^31-1");
    refused(META("[[5]]", "[9223372036854775807]"), "\"first_position\" of 0 to 2^31-1");
    refused(META("[[5]]", "[\"1\"]"), "\"first_position\" of 0 to 2^31-1");
    refused(META("[[5]]", "[1.5]"), "\"first_position\" of 0 to 2^31-1");
    refused(META("[[\"5\"]]", "[0]"), "\"tokens\", ids of 32 bits");
    refused(META("[[4294967301]]", "[0]"), "\"tokens\", ids of 32 bits");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
