/* Tekken: what opening requires, what the small model does, and the folder that holds it.
 *
 * The real files are compared with the original by tests/tekken_differential.py; here a small
 * file is bent in every part. */
#include "tests/tekken_file.h"

#include "tests/ids.h"

/* id = rank + 22: "a" 119, "b" 120, "c" 121, "ab" 278, "abc" 279, " a" 280, U+00E9 281, "bc" 282 */
static void test_encode(void **state) {
    (void)state;
    tekken_write("v3", "");
    mr_tokenizer *t = tekken_good();
    IDS(t, "", "");
    IDS(t, "a", "119");
    IDS(t, "abc", "279");
    IDS(t, "abcbc", "279 282");            /* the lowest rank first: ab, then abc, then bc */
    IDS(t, "bcab", "282 278");
    IDS(t, " abc", "54 279");              /* " a" comes later than "ab" */
    IDS(t, "  a", "54 280");
    IDS(t, "\xC3\xA9", "281");
    IDS(t, "\0", "22");
    IDS(t, "[INST]</s><SPECIAL_20>", "113 95 100 105 106 115 82 69 137 84 82 105 102 91 89 95 87 "
                                     "98 117 72 70 84");
    IDS(t, "cut", "121 139 138");          /* cut off: not a token */
    IDS(t, "a\xFF" "b", "119 261 213 211 120");             /* as U+FFFD */
    IDS(t, "\xE2\x82" "a\xF0\x9F\x99", "261 213 211 119 261 213 211"); /* one per maximal part */
    IDS(t, "\xE2\x28\xA1", "261 213 211 62 261 213 211");
    mr_tokenizer_close(t);
}

static void test_facts(void **state) {
    static const struct {
        const char *text;
        int32_t     id;
    } controls[] = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"[INST]", 3}, {"[TOOL_CALLS]", 9},
                    {"<pad>", 11}, {"[TOOL_CONTENT]", 19}, {"<SPECIAL_20>", 20},
                    {"<SPECIAL_21>", 21}, {"<SPECIAL_22>", -1}, {"<SPECIAL_19>", -1}, {"ab", -1},
                    {"", -1}};
    idx bytes;
    (void)state;
    tekken_write("v3", "");
    mr_tokenizer *t = tekken_good();
    assert_int_equal(mr_tokenizer_size(t), TEKKEN_SPECIAL + TEKKEN_USED);
    assert_string_equal(mr_tokenizer_kind(t), "tekken");
    assert_string_equal(mr_tokenizer_version(t), "v3");
    assert_string_equal(mr_tokenizer_unicode(t), MR_UNICODE_VERSION);
    assert_int_equal(mr_tokenizer_bos(t), 1);
    assert_int_equal(mr_tokenizer_eos(t), 2);
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++)
        assert_int_equal(mr_tokenizer_control(t, controls[i].text), controls[i].id);
    assert_memory_equal(mr_tokenizer_piece(t, 279, &bytes), "abc", 3);
    assert_int_equal(bytes, 3);
    assert_memory_equal(mr_tokenizer_piece(t, 3, &bytes), "[INST]", 6);
    assert_null(mr_tokenizer_piece(t, TEKKEN_SPECIAL + TEKKEN_USED, &bytes));
    mr_tokenizer_close(t);
}

/* Special tokens have no text and end what stands before them; bad parts become one U+FFFD. */
static void test_decode(void **state) {
    static const struct {
        const char *want;
        int32_t     ids[8];
    } cases[] = {
        {"", {-1}}, {"abc a", {279, 280, -1}}, {"\xC3\xA9", {217, 191, -1}},
        {"\xEF\xBF\xBD\xEF\xBF\xBD", {217, 3, 191, -1}}, {"\xEF\xBF\xBD", {217, -1}},
        {"\xEF\xBF\xBD" "a", {248, 152, 119, -1}}, {"aa", {119, 1, 2, 119, -1}},
        {"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", {259, 182, 150, -1}}, /* a surrogate */
    };
    (void)state;
    tekken_write("v3", "");
    mr_tokenizer *t = tekken_good();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mr_text text = {0};
        idx count = 0;
        while (cases[i].ids[count] >= 0) count++;
        assert_int_equal(mr_tokenizer_decode(t, cases[i].ids, count, &text, NULL), MR_OK);
        assert_string_equal(text.byte, cases[i].want);
        mr_text_free(&text);
    }
    mr_tokenizer_close(t);
}

/* Any order of keys, escapes where JSON allows them, sections that are not used, all versions. */
static void test_variants(void **state) {
    static const struct {
        const char *version, *more, *old, *new, *control;
        int32_t     id;
    } cases[] = {
        {"v1", "", "\"config\"", "\"type\":1,\"config\"", "[INST]", 3},
        {"v2", ",\"image\":{\"image_patch_size\":16},\"audio\":null", "", "", "[INST]", 3},
        {"v7", ",\"multimodal\":{},\"special_tokens\":null", "", "", "[INST]", 3},
        {"v11", ",\"special_tokens\":[{\"rank\":0,\"token_str\":\"\\u005bX]\\ud83d\\ude42\"}]", "",
         "", "[X]\xF0\x9F\x99\x82", 0},
        {"v13", ",\"special_tokens\":[{\"token_str\":\"\",\"is_control\":true,\"rank\":0}]", "", "",
         "<SPECIAL_1>", 1},
        {"v15", ",\"special_tokens\":[],\"model_settings_builder\":{}", "", "", "<SPECIAL_0>", 0},
        {"v3", "", "\"config\"", "\"\\u0063onfig\"", "[INST]", 3},
        {"v3", "", "\"Pw==\"", "\"P\\u0077==\"", "[INST]", 3},
        {"v3", "", "\"/w==\"", "\"\\/w==\"", "[INST]", 3},
        {"v3", ",\"unknown\":[{\"a\":[1.5e3,true]}]", "\"num_vocab_tokens\":263",
         "\"num_vocab_tokens\":\"?\"", "[INST]", 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tekken_write(cases[i].version, cases[i].more);
        if (cases[i].old[0] != '\0') tekken_edit(cases[i].old, cases[i].new);
        mr_tokenizer *t = tekken_good();
        assert_string_equal(mr_tokenizer_version(t), cases[i].version);
        assert_int_equal(mr_tokenizer_control(t, cases[i].control), cases[i].id);
        IDS(t, "\xC3\xBF?", "217 213 85");
        mr_tokenizer_close(t);
    }
}

/* The vocabulary first, its sizes last: the same tokenizer. */
static void test_key_order(void **state) {
    static char turned[sizeof tekken.text];
    (void)state;
    tekken_write("v3", "");
    const char *vocab = strstr(tekken.text, "\"vocab\"");
    const int config = (int)(vocab - tekken.text) - 2; /* without the brace and the comma */
    tekken.size = snprintf(turned, sizeof turned, "{%.*s,%.*s}",
                           (int)strlen(vocab) - 1, vocab, config, tekken.text + 1);
    memcpy(tekken.text, turned, (size_t)tekken.size + 1);
    mr_tokenizer *t = tekken_good();
    IDS(t, "abcbc", "279 282");
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode), cmocka_unit_test(test_facts), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_variants), cmocka_unit_test(test_key_order),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
