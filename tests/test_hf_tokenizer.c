/* tokenizer.json: from text to ids, rule by rule, on files made here by hand.
 *
 * Expected ids and texts follow from the rules by hand; tests/hf_differential.py and
 * golden/tokenizers compare with the library itself. */
#include "tests/hf_samples.h"

static void test_merges(void **state) {
    static const example list[] = {
        /* the rank decides, not the length */
        {ABC ",`merges`:[`b c`,`a b`,`ab c`]", NULL, NULL, NULL, {"abc", "0 4", "ab", "3"}},
        {ABC ",`merges`:[[`a`,`b`],[`b`,`c`],[`ab`,`c`]]", NULL, NULL, NULL,
         {"abc", "5", "bcab", "4 3", "abab", "3 3"}},
        /* equal ranks: from the left */
        {ABC ",`merges`:[`a a`]", NULL, NULL, NULL, {"aaa", "6 0", "aaaa", "6 6"}},
        /* a pair that comes twice has its last rank */
        {ABC ",`merges`:[`a b`,`b c`,`a b`]", NULL, NULL, NULL, {"abc", "0 4"}},
        /* a piece without merges is never made, unless merges are ignored */
        {ABC ",`merges`:[`a b`]", NULL, NULL, NULL, {"abc", "3 2"}},
        {ABC ",`merges`:[`a b`],`ignore_merges`:true", NULL, NULL, NULL,
         {"abc", "5", "abcc", "3 2 2"}},
        {ABC ",`merges`:[`#version: 0.2`,`b c`,`a b`]", NULL, NULL, NULL, {"abc", "0 4"}},
        {"`vocab`:{`\\u00e9`:1,`\\ud83d\\ude42`:7,`\\`\\n`:3,`\\n`:4,`\\``:0},"
         "`merges`:[[`\\``,`\\n`]]", NULL, NULL, NULL,
         {"\xC3\xA9\xF0\x9F\x99\x82\"\n", "1 7 3"}},
    };
    (void)state;
    RUN(list);
}

#define BYTES "`<0x7A>`:10,`<0xC3>`:11,`<0xA9>`:12"

static void test_unknown(void **state) {
    static const example list[] = {
        {"`vocab`:{`a`:0},`merges`:[]", NULL, NULL, NULL, {"xax", "0", "x", ""}},
        {"`vocab`:{`a`:0,`?`:1},`merges`:[],`unk_token`:`?`", NULL, NULL, NULL,
         {"xyax", "1 1 0 1"}},
        {"`vocab`:{`a`:0,`?`:1},`merges`:[],`unk_token`:`?`,`fuse_unk`:true", NULL,
         NULL, NULL, {"xyax", "1 0 1"}},
        /* all bytes of a character or none */
        {"`vocab`:{`a`:0,`?`:1," BYTES "},`merges`:[],`unk_token`:`?`,"
         "`byte_fallback`:true", NULL, NULL, NULL,
         {"z\xC3\xA9", "10 11 12", "\xC3\xA8", "1", "az\xE2\x82\xAC", "0 10 1"}},
        /* byte pieces come before an unknown run that has not ended: the library's order */
        {"`vocab`:{`a`:0,`?`:1," BYTES "},`merges`:[],`unk_token`:`?`,"
         "`byte_fallback`:true,`fuse_unk`:true", NULL, NULL, NULL, {"xzya", "10 1 0"}},
        {"`vocab`:{`a`:0," BYTES "},`merges`:[]", NULL, NULL, NULL, {"za", "0"}},
    };
    mr_ids ids = {0};
    mr_err err = {0};
    (void)state;
    RUN(list);
    mr_tokenizer *t = good(file_of("`vocab`:{`a`:0},`merges`:[],`unk_token`:`?`", NULL, NULL,
                                   NULL, NULL));
    IDS(t, "a", "0"); /* the missing unknown piece matters only when it is needed */
    check_refused(mr_tokenizer_encode(t, "ax", 2, &ids, &err), MR_BAD, &err, "unk_token");
    assert_int_equal(ids.count, 0);
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
}

#define AX "`vocab`:{`a`:0,`x`:1,` `:2,`<`:3,`A`:4},`merges`:[]"

static void test_added(void **state) {
    static const example list[] = {
        /* leftmost, then longest; special ones are found in text as well */
        {AX, TOKEN(5, "<x", false, false, false, false, false) ","
             TOKEN(6, "<xa", true, false, false, false, false) ","
             TOKEN(7, "xaa", false, false, false, false, false), NULL, NULL,
         {"<xaa", "6 0", "<x a", "5 2 0", "axaax", "0 7 1", "<<xx", "3 5 1"}},
        {AX, TOKEN(5, "<x", false, true, false, false, false), NULL, NULL,
         {"a  <xa", "0 5 0", "<x <x ", "5 5 2"}},
        {AX, TOKEN(5, "<x", false, false, true, false, false), NULL, NULL,
         {"a <x \n\xE3\x80\x80" "a", "0 2 5 0", "<x", "5"}},
        /* a blank taken by the token before it is not there for the next */
        {AX, TOKEN(5, "<x", false, false, true, false, false) ","
             TOKEN(6, "<A", false, true, false, false, false), NULL, NULL, {"<x  <A", "5 6"}},
        {AX, TOKEN(5, "xx", false, false, false, true, false), NULL, NULL,
         {"xx", "5", "a xx a", "0 2 5 2 0", "axx", "0 1 1", "xxa", "1 1 0", "<xx<", "3 5 3",
          "xx\xCC\x81", "1 1", "xx\xE2\x93\x90", "1 1", "xx\xC2\xBD", "5"}},
        /* normalized: looked for after normalizing, as it looks then */
        {AX, TOKEN(5, "XA", false, false, false, false, true) ","
             TOKEN(6, "AA", false, false, false, false, false), "{`type`:`Lowercase`}", NULL,
         {"xaXAxA", "5 5 5", "AAaa", "6 0 0", "AxA", "0 5"}},
        {AX, TOKEN(0, "a", true, false, false, false, false), NULL, NULL, {"xa", "1 0"}},
    };
    (void)state;
    RUN(list);
}

#define META "`vocab`:{`" SP "`:0,`a`:1,`b`:2,`" SP "a`:3,`b" SP "`:4}," \
             "`merges`:[[`" SP "`,`a`],[`b`,`" SP "`]]"
#define X TOKEN(5, "[X]", true, false, false, false, false)

static void test_metaspace(void **state) {
    static const example list[] = {
        {META, X, NULL, METASPACE("always", "false"),
         {"ab a", "3 2 3", "a[X]a", "3 5 3", "[X]a", "5 3", " a", "3", "[X]", "5"}},
        {META, X, NULL, METASPACE("first", "false"),
         {"ab ", "3 4", "a[X]a", "3 5 1", "[X]a", "5 1", " a", "3", "b[X] a", "0 2 5 3"}},
        {META, X, NULL, METASPACE("never", "false"), {"a", "1", " a", "3", "b a", "2 3"}},
        {META, X, NULL, METASPACE("never", "true"), {"b ", "2 0", "a  a", "1 0 3"}},
        {META, X, NULL, "{`type`:`Metaspace`,`replacement`:`" SP "`,"
                        "`add_prefix_space`:true}", {"a[X]a", "3 5 3", "b a", "0 2 3"}},
        /* after a split, "first" is where the text began, not where the list does */
        {META, X, NULL, "{`type`:`Sequence`,`pretokenizers`:[{`type`:`WhitespaceSplit`},"
                        METASPACE("first", "false") "]}", {"a a", "3 1", " a", "1"}},
        {META, X, "{`type`:`Sequence`,`normalizers`:[{`type`:`Prepend`,`prepend`:`" SP
                  "`},{`type`:`Replace`,`pattern`:{`String`:` `},`content`:`" SP
                  "`}]}", NULL, {"a", "3", "b a[X]a", "0 2 3 5 3", "[X] ", "5 0 0"}},
    };
    (void)state;
    RUN(list);
}

#define ONE_BY_ONE "`vocab`:{`" SP "`:0,`a`:1,`b`:2,`x`:3,`\\u00e9`:4},`merges`:[]"
#define CUT_AT(text) SPLIT("`String`:`" text "`", "Isolated", "false")
#define STEPS(steps) "{`type`:`Sequence`,`pretokenizers`:[" steps "]}"

/* "first": what stands for the first character of the text, through normalizers and cuts. */
static void test_metaspace_first(void **state) {
    static const example list[] = {
        {ONE_BY_ONE, NULL, "{`type`:`NFC`}",
         STEPS(CUT_AT("\\u00e9") "," METASPACE("first", "false")),
         {"\xC3\xA9" "a", "0 4 1", "e\xCC\x81" "a", "0 4 1"}},
        {ONE_BY_ONE, NULL, NULL,
         STEPS(METASPACE("never", "false") "," CUT_AT("b") "," METASPACE("first", "false")),
         {"ab", "0 1 2", "ba", "0 2 1"}},
        {ONE_BY_ONE, NULL, "{`type`:`Prepend`,`prepend`:` x`}",
         STEPS(METASPACE("never", "false") "," CUT_AT("x") "," METASPACE("first", "false")),
         {"ab", "0 0 3 0 1 2", "a b", "0 0 3 0 1 0 2"}},
    };
    (void)state;
    RUN(list);
}

#define LETTERS "`vocab`:{`a`:0,`b`:1,` `:2,`1`:3,`.`:4,`a1`:5,` a`:6,`a `:7," \
    "`aa`:8,`11`:9,`'s`:10,`  `:11,`b.`:12,`1.`:13},`merges`:[],`ignore_merges`:true"

static void test_splits(void **state) {
    static const example list[] = {
        {LETTERS, NULL, NULL, SPLIT("`String`:` `", "Isolated", "false"), {"a a", "0 2 0"}},
        {LETTERS, NULL, NULL, SPLIT("`String`:` `", "Removed", "false"), {" a  a ", "0 0"}},
        {LETTERS, NULL, NULL, SPLIT("`String`:` `", "Removed", "true"), {" a  a ", "2 2 2 2"}},
        {LETTERS, NULL, NULL, SPLIT("`String`:` `", "Contiguous", "false"),
         {"a  a", "0 11 0", "  a", "11 0"}},
        {LETTERS, NULL, NULL, SPLIT("`String`:` `", "MergedWithPrevious", "false"),
         {"a a  ", "7 7 2", " a", "2 0"}},
        {LETTERS, NULL, NULL, SPLIT("`String`:` `", "MergedWithNext", "false"),
         {"a a  a ", "0 6 2 6 2"}},
        {LETTERS, NULL, NULL, "{`type`:`Digits`,`individual_digits`:true}", {"aa11a", "8 3 3 0"}},
        {LETTERS, NULL, NULL, "{`type`:`Digits`,`individual_digits`:false}", {"aa11a", "8 9 0"}},
        {LETTERS, NULL, NULL, "{`type`:`Whitespace`}", {" a1 b.", "5 1 4"}},
        {LETTERS, NULL, NULL, "{`type`:`WhitespaceSplit`}", {" a1\t b.", "5 12"}},
        {LETTERS, NULL, NULL, SPLIT("`Regex`:`" GPT2 "`", "Isolated", "false"),
         {"a1's a  a", "0 3 10 6 2 6", "a  ", "0 11"}},
    };
    (void)state;
    RUN(list);
}

#define LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}" digits \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define WORDS "`vocab`:{`a`:0,`b`:1,` `:2,`\\n`:3,`\\r`:4,`!`:5,`1`:6,`'`:7,`s`:8,`S`:9," \
    "`\\u017f`:10,` a`:11,` b`:12,`!a`:13,`\\na`:14,`\\r\\n`:15,` \\n\\n`:16,`111`:17," \
    "`'\\u017f`:18,`'S`:19,`!!\\n\\n`:20,` !`:21,`  \\n \\r`:22,` \\n`:23,`'a`:24,`  `:25}," \
    "`merges`:[],`ignore_merges`:true"

/* The words that Split gives with these patterns in tokenizers 0.23.3, as ids of whole words. */
static void test_llama3(void **state) {
    static const example list[] = {
        {WORDS, NULL, NULL, SPLIT("`Regex`:`" LLAMA3("{1,3}") "`", "Isolated", "false"),
         {"a b", "0 12", "!a", "13", "\na", "3 0", "\r\na", "15 0", " \n\n  a", "16 2 11",
          "1111111", "17 17 6", "'\xC5\xBF" "a", "18 0", "a'Sb'a", "0 19 1 24",
          "a!!\n\nb !a", "0 20 1 21 0", "  \n \r b", "22 12", "a \n", "0 23", "a  ", "0 25"}},
        {WORDS, NULL, NULL, SPLIT("`Regex`:`" LLAMA3("") "`", "Isolated", "false"),
         {"111", "6 6 6", "a 1", "0 2 6"}},
    };
    (void)state;
    RUN(list);
}

static void test_normalizers(void **state) {
    static const example list[] = {
        {"`vocab`:{`e`:0,`\\u0301`:1,`\\u00e9`:2},`merges`:[]", NULL, "{`type`:`NFC`}",
         NULL, {"e\xCC\x81", "2", "\xC3\xA9", "2"}},
        {"`vocab`:{`e`:0,`\\u0301`:1,`\\u0323`:2},`merges`:[]", NULL, "{`type`:`NFD`}",
         NULL, {"\xC3\xA9\xCC\xA3", "0 2 1"}}, /* the mark below comes first */
        {"`vocab`:{`f`:0,`i`:1,`\\u2044`:2,`1`:3,`2`:4},`merges`:[]", NULL,
         "{`type`:`NFKC`}", NULL, {"\xEF\xAC\x81", "0 1", "\xC2\xBD", "3 2 4"}},
        {AX, NULL, "{`type`:`Strip`,`strip_left`:true,`strip_right`:false}", NULL,
         {" \t a ", "0 2", "  ", ""}},
        {AX, NULL, "{`type`:`Strip`,`strip_left`:true,`strip_right`:true}", NULL,
         {" \t a \xE3\x80\x80", "0"}},
        {AX, NULL, "{`type`:`Replace`,`pattern`:{`Regex`:` {2,}`},`content`:`x`}", NULL,
         {"a a   a  ", "0 2 0 1 0 1"}},
        {AX, NULL, "{`type`:`Replace`,`pattern`:{`String`:`aa`},`content`:``}", NULL,
         {"aaax", "0 1"}},
    };
    (void)state;
    RUN(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges), cmocka_unit_test(test_unknown), cmocka_unit_test(test_added),
        cmocka_unit_test(test_metaspace), cmocka_unit_test(test_metaspace_first),
        cmocka_unit_test(test_splits), cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_normalizers),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
