/* tokenizer.json: what kind of character a code point is, at the ends of every range, and the marks
 * that are newer than the library. Expected: tokenizers 0.23.3. */
#include "tests/hf_samples.h"

typedef struct {
    const char *character;
    bool        yes;
} sample;

/* Whether the pre-tokenizer leaves "a" and the character together. */
static void check(const sample *list, size_t count, const char *pretokenizer) {
    char model[256], text[16];
    for (size_t i = 0; i < count; i++) {
        const char *c = list[i].character;
        snprintf(model, sizeof model, "`vocab`:{`a`:0,`%s`:1,`a%s`:2},`merges`:[[`a`,`%s`]]",
                 c, c, c);
        snprintf(text, sizeof text, "a%s", c);
        mr_tokenizer *t = good(file_of(model, NULL, NULL, pretokenizer, NULL));
        ids_are(t, text, (idx)strlen(text), list[i].yes ? "2" : "0 1");
        mr_tokenizer_close(t);
    }
}
#define CHECK(list, pretokenizer) check(list, sizeof list / sizeof list[0], pretokenizer)

static void test_words(void **state) {
    static const sample list[] = {
        {"_", true}, {"\xC2\xBD", false},                               /* 1/2 */
        {"\xCC\x80", true}, {"\xD9\xA0", true}, {"\xE2\x85\xA0", true}, /* mark, digit, I */
        {"\xE2\x80\x8C", true}, {"\xE2\x80\x8D", true}, {"\xE2\x80\x8E", false}, /* joiners */
        {"\xE2\x80\xBF", true},                                        /* tie */
        {"\xE2\x92\xB5", false}, {"\xE2\x92\xB6", true},             /* U+24B6 - U+24E9 */
        {"\xE2\x93\xA9", true}, {"\xE2\x93\xAA", false},
        {"\xF0\x9F\x84\xAF", false}, {"\xF0\x9F\x84\xB0", true},     /* U+1F130 - U+1F149 */
        {"\xF0\x9F\x85\x89", true}, {"\xF0\x9F\x85\x8A", false},
        {"\xF0\x9F\x85\x8F", false}, {"\xF0\x9F\x85\x90", true},     /* U+1F150 - U+1F169 */
        {"\xF0\x9F\x85\xA9", true}, {"\xF0\x9F\x85\xAA", false},
        {"\xF0\x9F\x85\xAF", false}, {"\xF0\x9F\x85\xB0", true},     /* U+1F170 - U+1F189 */
        {"\xF0\x9F\x86\x89", true}, {"\xF0\x9F\x86\x8A", false},
    };
    (void)state;
    CHECK(list, "{`type`:`Whitespace`}");
}

static void test_digits(void **state) {
    static const sample together[] = {
        {"\xF0\x96\xBF\xB3", true}, {"\xF0\x96\xBF\xB4", false},     /* U+16FF4 - U+16FF6 */
        {"\xF0\x96\xBF\xB6", false}, {"\xF0\x96\xBF\xB7", true},
        {"\xF0\x91\xB7\x9F", true}, {"\xF0\x91\xB7\xA0", false},     /* U+11DE0 - U+11DE9 */
        {"\xF0\x91\xB7\xA9", false}, {"\xF0\x91\xB7\xAA", true},
        {"1", false}, {"\xC2\xBD", false}, {"b", true},
    };
    (void)state;
    CHECK(together, "{`type`:`Digits`,`individual_digits`:true}");
}

/* Marks change places by their class; those that Unicode 12 did not have stay where they are, and
 * characters that it could not take apart stay whole. */
static void test_newer(void **state) {
    static const example list[] = {
        {"`vocab`:{`a`:0,`\\u0301`:1,`\\u0338`:2},`merges`:[]", NULL, "{`type`:`NFD`}", NULL,
         {"a\xCC\x81\xCC\xB8", "0 2 1"}},       /* classes 230 and 1 */
        {"`vocab`:{`\\u0c4d`:0,`\\u0c3c`:1,`\\u0301`:2,`\\u0338`:3},`merges`:[]", NULL,
         "{`type`:`NFD`}", NULL,
         {"\xCC\x81\xE0\xB1\x8D", "0 2",          /* 84, of Unicode 1 */
          "\xCC\x81\xE0\xB0\xBC", "2 1",          /* 7, of Unicode 14 */
          "\xE0\xB0\xBC\xCC\xB8", "1 3"}},
        {"`vocab`:{`\\u32ff`:0,`\\ud838\\udc30`:1,`\\ud83e\\udff9`:2,`\\u32fe`:3,`\\u30f2`:4},"
         "`merges`:[]", NULL, "{`type`:`NFKC`}", NULL,
         {"\xE3\x8B\xBF", "0", "\xF0\x9E\x80\xB0", "1", "\xF0\x9F\xAF\xB9", "2",
          "\xE3\x8B\xBE", "4"}},                 /* U+32FE: a circled one, of Unicode 1 */
        {"`vocab`:{`\\u1c8a`:0,`\\u0264`:1,`\\ud803\\udd70`:2},`merges`:[]", NULL,
         "{`type`:`Lowercase`}", NULL,            /* small letters of Unicode 16 */
         {"\xE1\xB2\x89", "0", "\xEA\x9F\x8B", "1", "\xF0\x90\xB5\x90", "2"}},
    };
    (void)state;
    RUN(list);
}

/* Whether NFKD leaves U+0345, a mark of class 240, and this character after it as they are. */
static bool stays(const mr_tokenizer *t, uint32_t code) {
    char text[8] = "\xCD\x85";
    mr_ids ids = {0};
    const int size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = size; i > 1; i--, code >>= 6) text[1 + i] = (char)(0x80 | (code & 0x3F));
    text[2] = (char)((size == 2 ? 0xC0 : size == 3 ? 0xE0 : 0xF0) | code);
    assert_int_equal(mr_tokenizer_encode(t, text, 2 + size, &ids, NULL), MR_OK);
    bool same = ids.count == 2 + size;
    for (idx i = 0; same && i < ids.count; i++) same = ids.id[i] == (unsigned char)text[i];
    mr_ids_free(&ids);
    return same;
}

/* Both ends of every run of characters that are newer than the library's tables. */
static void test_all_newer(void **state) {
    static const uint32_t newer[] = {
        0x7FD, 0x898, 0x89F, 0x8CA, 0x8D3, 0x9FE, 0xC3C, 0xD3B, 0xD3C, 0xEBA, 0x1715, 0x1ABF,
        0x1ACE, 0x1DF6, 0x1DFA, 0x32FF, 0xA7F2, 0xA7F4, 0xA82C, 0xAB69, 0x10781, 0x10785, 0x10787,
        0x107B0, 0x107B2, 0x107BA, 0x10D24, 0x10D27, 0x10EAB, 0x10EAC, 0x10EFD, 0x10EFF, 0x10F46,
        0x10F50, 0x10F82, 0x10F85, 0x11070, 0x1133B, 0x1145E, 0x11839, 0x1183A, 0x11938, 0x1193D,
        0x1193E, 0x11943, 0x119E0, 0x11A34, 0x11A47, 0x11A99, 0x11D42, 0x11D44, 0x11D45, 0x11D97,
        0x11F41, 0x11F42, 0x16FF0, 0x16FF1, 0x1E030, 0x1E06D, 0x1E08F, 0x1E130, 0x1E136, 0x1E2AE,
        0x1E2EC, 0x1E2EF, 0x1E4EC, 0x1E4EF, 0x1F16C, 0x1FBF0, 0x1FBF9,
    };
    static const uint32_t older[] = { /* their neighbours that it knows */
        0x8D4, 0xEB9, 0x1714, 0x1DF5, 0x1DFB, 0x32FE, 0x3300, 0x1133C, 0x1F16B,
    };
    (void)state;
    mr_tokenizer *t = good(file_of(byte_alphabet(), NULL, "{`type`:`NFKD`}",
                                   "{`type`:`ByteLevel`,`add_prefix_space`:false,"
                                   "`use_regex`:false}", NULL));
    assert_string_equal(mr_tokenizer_unicode(t), "16.0.0");   /* of its categories, as Rust's */
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++)
        if (!stays(t, newer[i])) fail_msg("U+%04X changes", (unsigned)newer[i]);
    for (size_t i = 0; i < sizeof older / sizeof older[0]; i++)
        if (stays(t, older[i])) fail_msg("U+%04X stays", (unsigned)older[i]);
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words), cmocka_unit_test(test_digits), cmocka_unit_test(test_newer),
        cmocka_unit_test(test_all_newer),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
