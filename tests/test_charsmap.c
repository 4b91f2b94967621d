/* Character maps: the walk through hand-made tries, good and damaged, and a model that has one. */
#include "tests/scratch.h"

#include "tokenizer/charsmap.h"
#include "tokenizer/tokenizer.h"

/* A trie by hand. Units are placed by label, all offsets point to a block of 256 units:
 * block 0 is the root, 'a' leads to block 1, from there 'b' to block 2. */
static unsigned char blob[4 + 4 * 1024 + 32];

static void word(idx unit, uint32_t value) {
    for (int i = 0; i < 4; i++) blob[4 + 4 * unit + i] = (unsigned char)(value >> 8 * i);
}

/* The unit of `label` in block `from`, leading to block `to`; a leaf there if value >= 0. */
static void edge(int from, int label, int to, int value) {
    uint32_t here = (uint32_t)(256 * from + label), offset = here ^ (uint32_t)(256 * to);
    word((idx)here, offset << 10 | (uint32_t)label | (value >= 0 ? 0x100u : 0));
    if (value >= 0) word(256 * to, UINT32_C(0x80000000) | (uint32_t)value);
}

static idx build(void) {
    memset(blob, 0xFF, sizeof blob); /* a unit with bit 31 set matches nothing */
    word(-1, 4 * 1024);
    word(0, 0);
    edge(0, 'a', 1, 0);
    edge(1, 'b', 2, -1);
    edge(2, 'c', 3, 4);
    memcpy(blob + 4 + 4 * 1024, "one\0\0", 5); /* 0: "one", 4: "" */
    return 4 + 4 * 1024 + 5;
}

static void longest_is(const mr_charsmap *map, const char *text, idx want, const char *becomes) {
    const char *replacement = NULL;
    assert_int_equal(mr_charsmap_longest(map, text, (idx)strlen(text), &replacement), want);
    if (want > 0) assert_string_equal(replacement, becomes);
}

static void test_longest(void **state) {
    mr_charsmap map;
    (void)state;
    assert_null(mr_charsmap_open(&map, (const char *)blob, build()));
    longest_is(&map, "a", 1, "one");
    longest_is(&map, "abd", 1, "one"); /* "ab" is the beginning of a key, no key */
    longest_is(&map, "abcd", 3, "");
    longest_is(&map, "b", 0, NULL);
    longest_is(&map, "\xFF\xFE", 0, NULL);
    edge(2, 'c', 3, 5); /* behind the last string: as if it were not there */
    longest_is(&map, "abcd", 1, "one");
    word('a', 2u << 10 | 0x300 | 'a'); /* bit 9: the offset is 2 times 256 */
    word('a' ^ 512, UINT32_C(0x80000000) | 4);
    longest_is(&map, "a", 1, "");
    assert_null(mr_charsmap_open(&map, NULL, 0));
    longest_is(&map, "a", 0, NULL);
}

static void test_bad_blobs(void **state) {
    static const struct {
        uint32_t    trie;
        idx         size;
        const char *problem;
    } cases[] = {
        {4096, 1, "shorter than its header"}, {4096, 3, "shorter than its header"},
        {0, 4101, "32-bit units"}, {4095, 4101, "32-bit units"},
        {4096, 4099, "larger than the map"},
        {UINT32_MAX, 4101, "larger than the map"}, {4096, 4100, "has no end"},
        {4092, 4103, "has no end"},
    };
    mr_charsmap map;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        build();
        blob[4102] = 'x';
        word(-1, cases[i].trie);
        const char *problem = mr_charsmap_open(&map, (const char *)blob, cases[i].size);
        if (problem == NULL || strstr(problem, cases[i].problem) == NULL)
            fail_msg("case %d: %s", (int)i, problem);
    }
}

/* Any units, any text: nothing outside the blob is read (the sanitizers watch), and it ends. */
static void test_any_units(void **state) {
    uint32_t random = 1;
    mr_charsmap map;
    (void)state;
    for (int n = 0; n < 20000; n++) {
        idx size = build();
        for (int i = 0; i < 8; i++) {
            random = random * UINT32_C(1664525) + 1013904223;
            blob[4 + random % (4 * 1024)] = (unsigned char)(random >> 24);
        }
        static const idx places[] = {0, 'a', 256 + 'b', 512 + 'c', 256, 768};
        word(places[n % 6], (uint32_t)n * UINT32_C(0x9E3779B1));
        char *exact = mr_alloc(size, 1, NULL); /* so that one byte too far is noticed */
        memcpy(exact, blob, (size_t)size);
        if (mr_charsmap_open(&map, exact, size) == NULL) {
            const char *replacement;
            if (mr_charsmap_longest(&map, "abcabc\0", 7, &replacement) > 0)
                assert_true(strlen(replacement) < 5);
        }
        mr_free(exact);
    }
}

/* nmt_nfkc with trimming, as the trainer makes it when it is not told otherwise. */
static void test_model(void **state) {
    static const char *const same[][2] = {
        {"\xEF\xAC\x81n", "fin"}, {"\xEF\xBC\xA1\xEF\xBC\xA2", "AB"}, {"a\xE3\x80\x80 \tb", "a b"},
        {"  a  ", "a"}, {"\xC2\xBD", "1\xE2\x81\x84" "2"}, {"e\xCC\x81", "\xC3\xA9"},
        {"a\xE2\x80\x8B" "b", "a b"}, {"\xC2\xA0", ""},
    };
    mr_tokenizer *t;
    mr_err err = {0};
    (void)state;
    if (mr_tokenizer_open("golden/tokenizers/spm_nfkc_small.model", &t, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        mr_ids ids[2] = {{0}};
        for (int k = 0; k < 2; k++)
            assert_int_equal(mr_tokenizer_encode(t, same[i][k], (idx)strlen(same[i][k]), &ids[k],
                                                 &err), MR_OK);
        assert_int_equal(ids[0].count, ids[1].count);
        if (ids[0].count > 0)
            assert_memory_equal(ids[0].id, ids[1].id, (size_t)ids[0].count * sizeof(int32_t));
        for (int k = 0; k < 2; k++) mr_ids_free(&ids[k]);
    }
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest), cmocka_unit_test(test_bad_blobs),
        cmocka_unit_test(test_any_units), cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
