/* The JSON reader of large files: what it accepts, where it stops, what strings become. */
#include <stdio.h>
#include <string.h>

#include "tests/check.h"
#include "tokenizer/json_scan.h"

static const char *problem_of(const char *text, idx bytes) {
    mr_scan in = mr_scan_open(text, bytes);
    if (mr_scan_skip(&in)) mr_scan_finish(&in);
    return in.problem;
}

static void test_accepted(void **state) {
    static const char *const texts[] = {
        "{}", "[]", "0", "-0", "1.5e+10", "-12.25E-3", "1e5", "true", "false", "null", "\"\"",
        " { \"a\" : [ 1 , { } , [ [ ] ] , \"x\" ] , \"a\" : null } \r\n\t",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD800\"", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82\"",
        "[[1],[2,[3,{\"k\":{\"l\":[]}}]],{}]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *problem = problem_of(texts[i], (idx)strlen(texts[i]));
        if (problem != NULL) fail_msg("%s: %s", texts[i], problem);
    }
}

static void test_refused(void **state) {
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"", "ends too early"}, {"  ", "ends too early"}, {"{", "ends too early"},
        {"[1", "ends too early"}, {"[1,", "ends too early"}, {"[1,]", "a value was"},
        {"[,1]", "a value was"}, {"[1 2]", "a comma"}, {"{\"a\":1,}", "a string was"},
        {"{1:2}", "a string was"}, {"{\"a\" 1}", "a colon"}, {"{\"a\":}", "a value was"},
        {"[1}", "a comma"}, {"{\"a\":1]", "a comma"}, {"1 2", "something follows"},
        {"[]]", "something follows"}, {"01", "a number was"}, {"-", "a number was"},
        {"+1", "a value was"}, {".5", "a value was"}, {"1.", "after its point"},
        {"1e", "empty exponent"}, {"1e+", "empty exponent"}, {"tru", "a value was"},
        {"nul", "a value was"}, {"True", "a value was"}, {"NaN", "a value was"},
        {"'a'", "a value was"}, {"\"a", "inside a string"}, {"\"\\", "does not exist"},
        {"\"\\x\"", "does not exist"}, {"\"\\u12\"", "does not exist"},
        {"\"\\u12g4\"", "does not exist"}, {"\"\n\"", "control character"},
        {"\"\xFF\"", "not UTF-8"}, {"\"\xC0\x80\"", "not UTF-8"}, {"\"\xED\xA0\x80\"", "not UTF-8"},
        {"\"\xE2\x82\"", "not UTF-8"}, {"/**/1", "a value was"}, {"\xEF\xBB\xBF{}", "a value was"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *problem = problem_of(cases[i].text, (idx)strlen(cases[i].text));
        if (problem == NULL || strstr(problem, cases[i].problem) == NULL)
            fail_msg("%s: expected \"%s\", found %s", cases[i].text, cases[i].problem, problem);
    }
    assert_non_null(problem_of("\"\0\"", 3));
}

static void test_depth(void **state) {
    static char text[2000000];
    (void)state;
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    assert_null(problem_of(text, 128));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_string_equal(problem_of(text, 130), "values are nested too deeply");
    memset(text, '[', sizeof text);
    assert_string_equal(problem_of(text, sizeof text), "values are nested too deeply");
}

/* What the calls for a type say to other types, and to numbers at the limits. */
/* The largest size, and one more. */
#if PTRDIFF_MAX > INT32_MAX
#define MOST "9223372036854775807"
#define OVER "9223372036854775808"
#else
#define MOST "2147483647"
#define OVER "2147483648"
#endif

static void test_types(void **state) {
    static const struct {
        const char *text;
        bool        good;
        idx         value;
    } numbers[] = {
        {"0", true, 0}, {" -7 ", true, -7}, {MOST, true, MR_IDX_MAX},
        {"-" MOST, true, -MR_IDX_MAX}, {OVER, false, 0},
        {"99999999999999999999999999", false, 0}, {"1.0", false, 0}, {"1e2", false, 0},
        {"\"1\"", false, 0}, {"null", false, 0}, {"-", false, 0}, {"", false, 0},
    };
    mr_span text;
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        mr_scan in = mr_scan_open(numbers[i].text, (idx)strlen(numbers[i].text));
        idx value = 0;
        assert_int_equal(mr_scan_integer(&in, &value), numbers[i].good);
        assert_true(value == numbers[i].value);
        assert_int_equal(in.problem == NULL, numbers[i].good);
    }
    mr_scan in = mr_scan_open("[1]", 3);
    assert_false(mr_scan_enter(&in, '{'));
    assert_false(mr_scan_item(&in)); /* after a problem nothing more is read */
    assert_false(mr_scan_string(&in, &text));
    assert_int_equal(mr_scan_peek(&in), '\0');
    assert_string_equal(in.problem, "an object was expected");
    in = mr_scan_open("{}", 2);
    assert_false(mr_scan_enter(&in, '['));
}

static void test_strings(void **state) {
    static const struct {
        const char *json, *plain;
    } cases[] = {
        {"abc", "abc"}, {"\\u0041\\/\\\"\\\\", "A/\"\\"}, {"\\b\\f\\n\\r\\t", "\b\f\n\r\t"},
        {"\\u00e9\\u20AC\\ud83d\\ude42", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82"},
        {"\\ud83d", NULL}, {"\\ude42", NULL}, {"\\ud83d\\ud83d", NULL}, {"\\ud83dx12345", NULL},
        {"\\ud83d\\n12345", NULL},
    };
    char quoted[100], out[100];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int size = snprintf(quoted, sizeof quoted, "\"%s\"", cases[i].json);
        mr_scan in = mr_scan_open(quoted, size);
        mr_span span;
        assert_true(mr_scan_string(&in, &span));
        assert_int_equal(span.escaped, strchr(cases[i].json, '\\') != NULL);
        idx count = mr_span_text(&span, out);
        assert_int_equal(count, cases[i].plain != NULL ? (idx)strlen(cases[i].plain) : -1);
        if (count >= 0) assert_memory_equal(out, cases[i].plain, (size_t)count);
        assert_int_equal(mr_span_is(&span, cases[i].plain != NULL ? cases[i].plain : "?"),
                         cases[i].plain != NULL);
        assert_false(mr_span_is(&span, "something else"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_types), cmocka_unit_test(test_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
