/* The split scanner: the pieces of known texts, the classes of characters, linear time.
 *
 * Expected pieces come from a regex engine that was given the same pattern. */
#include <stdio.h>
#include <string.h>

#include "tests/check.h"
#include "tokenizer/pretoken.h"

static uint8_t *classes;

static int setup(void **state) {
    (void)state;
    classes = mr_pretoken_classes(NULL);
    return classes != NULL ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    mr_free(classes);
    return 0;
}

/* The pieces with a bar between them, so that a failure shows both lists. */
static void split_is(const char *text, const char *want) {
    char found[512] = "";
    size_t count = 0;
    for (idx left = (idx)strlen(text), size; left > 0; left -= size, text += size) {
        size = mr_pretoken(classes, text, left);
        assert_true(size > 0 && size <= left);
        count += (size_t)snprintf(found + count, sizeof found - count, "%s%.*s",
                                  count > 0 ? "|" : "", (int)size, text);
    }
    assert_string_equal(found, want);
}

static void test_splits(void **state) {
    static const char *const cases[][2] = {
        {"Hello World's  x=12345\n\n  foo/bar (BAZqux) \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
         "Hello| World|'s| | x|=|1|2|3|4|5|\n\n| | foo|/bar| (|BAZqux|)| "
         "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"},
        {"", ""}, {"a", "a"}, {"A", "A"}, {"HTTPServer", "HTTPServer"}, {"camelCase", "camel|Case"},
        {"aB", "a|B"}, {"ABc", "ABc"}, {"AB CD", "AB| CD"}, {"don't", "don|'t"},
        /* letters of no case belong to both halves of a word: where the last one stands decides */
        {"A\xC2\xAA" "B", "A\xC2\xAA|B"}, {"\xC2\xAA" "A", "\xC2\xAA|A"},
        {"\xC2\xAA" "AA\xC2\xAA" "B", "\xC2\xAA" "AA\xC2\xAA|B"}, {"a\xC2\xAA" "A", "a\xC2\xAA|A"},
        {" \xC2\xAA" "AB", " \xC2\xAA|AB"}, {"\xC2\xAA" "Ab", "\xC2\xAA" "Ab"},
        /* a mark can be in a word or in front of one */
        {"\xCC\x81", "\xCC\x81"}, {"\xCC\x81" "A", "\xCC\x81|A"}, {"\xCC\x81" "a", "\xCC\x81" "a"},
        {"1\xCC\x81", "1|\xCC\x81"}, {".\xCC\x81" "A", ".\xCC\x81|A"}, {"!\xCC\x81", "!\xCC\x81"},
        {" \xCC\x81", " \xCC\x81"}, {"A\xCC\x81" "B", "A\xCC\x81|B"},
        /* signs, with a space before and line ends or slashes behind */
        {"a ==\n\n/b", "a| ==\n\n/|b"}, {"://x", "://|x"}, {"\t!x", "\t|!x"}, {" !", " !"},
        {"  !", " | !"}, {"...a", "...|a"}, {"a.b", "a|.b"}, {"/\n/", "/\n/"},
        {"\x01" "b", "\x01" "b"},
        /* blanks: the last one goes with the next word, line ends keep those before them */
        {"  ", "  "}, {"   a", "  | a"}, {"a   ", "a|   "}, {" \n a", " \n| a"},
        {"\t\ta", "\t|\ta"},
        {"\n \r\n\n  \n  b", "\n \r\n\n  \n| | b"}, {"\n\n", "\n\n"}, {"\ra", "\r|a"},
        {" \xC2\xA0\xE3\x80\x80", " \xC2\xA0\xE3\x80\x80"}, {"\xC2\xA0 1", "\xC2\xA0| |1"},
        {" 12", " |1|2"}, {"\xC2\xBD\xE2\x85\xA7", "\xC2\xBD|\xE2\x85\xA7"},
        {"a\xF0\x9F\x99\x82" "b", "a|\xF0\x9F\x99\x82" "b"}, /* a sign, a letter, a number */
        {"a\xF0\xA0\x80\x80" "b", "a\xF0\xA0\x80\x80" "b"},
        {"a\xF0\x9D\x9F\x99" "b", "a|\xF0\x9D\x9F\x99|b"},
        {"\xF0\x9F\x99\x82 x", "\xF0\x9F\x99\x82| x"}, {" \xF0\x9F\x99\x82", " \xF0\x9F\x99\x82"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) split_is(cases[i][0], cases[i][1]);
}

/* Counts of Unicode 16.0: how many code points are in each class. */
static void test_classes(void **state) {
    static const struct {
        uint32_t code, bits;
    } cases[] = {
        {'A', MR_IN_CAPITALS}, {'z', MR_IN_SMALLS}, {0x1C5, MR_IN_CAPITALS}, {'0', MR_IS_NUMBER},
        {0x100, MR_IN_CAPITALS}, {0x101, MR_IN_SMALLS}, {0xAA, MR_IN_CAPITALS | MR_IN_SMALLS},
        {0x301, MR_IN_CAPITALS | MR_IN_SMALLS | MR_MAY_LEAD | MR_IS_SIGN},
        {' ', MR_IS_SPACE | MR_MAY_LEAD}, {'\n', MR_IS_SPACE | MR_IS_NEWLINE},
        {0x85, MR_IS_SPACE | MR_MAY_LEAD}, {0x3000, MR_IS_SPACE | MR_MAY_LEAD},
        {0x1C, MR_MAY_LEAD | MR_IS_SIGN}, {0x200B, MR_MAY_LEAD | MR_IS_SIGN},
        {0x378, MR_MAY_LEAD | MR_IS_SIGN}, {0x10FFFF, MR_MAY_LEAD | MR_IS_SIGN},
        {0xA7DA, MR_IN_CAPITALS},           /* new in 16.0 */
        {0xA7CE, MR_MAY_LEAD | MR_IS_SIGN}, /* assigned in 17.0 */
    };
    int capitals = 0, smalls = 0, both = 0, marks = 0, numbers = 0, blanks = 0;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(classes[cases[i].code], cases[i].bits);
    for (int c = 0; c < MR_CODES; c++) {
        unsigned word = classes[c] & (MR_IN_CAPITALS | MR_IN_SMALLS);
        bool mark = word != 0 && (classes[c] & MR_IS_SIGN);
        marks += mark;
        capitals += word == MR_IN_CAPITALS;
        smalls += word == MR_IN_SMALLS;
        both += word == (MR_IN_CAPITALS | MR_IN_SMALLS) && !mark;
        numbers += (classes[c] & MR_IS_NUMBER) != 0;
        blanks += (classes[c] & MR_IS_SPACE) != 0;
    }
    assert_int_equal(capitals, 1858 + 31);
    assert_int_equal(smalls, 2258);
    assert_int_equal(both, 404 + 136477);
    assert_int_equal(marks, 2501);
    assert_int_equal(numbers, 1911);
    assert_int_equal(blanks, 25);
}

/* Four million characters of what an engine would go over again and again. */
static void test_linear(void **state) {
    static const char *const units[] = {"A", "a", "\xC2\xAA", "A\xC2\xAA", "aB", " ", " \n", "!",
                                        "!A", "\xCC\x81", "\xCC\x81" "A", "\xC2\xAA\xCC\x81" "A"};
    static char text[4000000];
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        idx size = (idx)strlen(units[i]), bytes = (idx)sizeof text / size * size;
        for (idx at = 0; at < bytes; at += size) memcpy(text + at, units[i], (size_t)size);
        for (idx at = 0; at < bytes;) at += mr_pretoken(classes, text + at, bytes - at);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits), cmocka_unit_test(test_classes),
        cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
