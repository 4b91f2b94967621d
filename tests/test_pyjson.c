/* JSON as Python reads and writes it. Expected texts are what Python 3.11 printed for
 * json.dumps(json.loads(text), ensure_ascii=False). */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/lists.h"
#include "tokenizer/pyjson.h"

/* Text in, text out; "" when the reader refused, and then whether as malformed. */
static const char *again(const char *text, idx bytes, bool *malformed) {
    static char result[8192];
    mr_py_arena arena = {0};
    mr_text out = {0};
    mr_err err = {0};
    const mr_py *value;
    *malformed = false;
    result[0] = '\0';
    if (mr_py_read(&arena, text, bytes, &value, malformed, &err) == MR_OK) {
        assert_int_equal(mr_py_write(value, &out, &err), MR_OK);
        assert_true(out.count < (idx)sizeof result);
        memcpy(result, out.byte, (size_t)out.count + 1);
    } else {
        assert_null(value);
        assert_int_equal(err.code, MR_BAD);
    }
    mr_text_free(&out);
    mr_py_free(&arena);
    return result;
}

static void check_pairs(const char *const pair[][2], size_t pairs) {
    bool malformed;
    for (size_t i = 0; i < pairs; i++)
        assert_string_equal(again(pair[i][0], (idx)strlen(pair[i][0]), &malformed), pair[i][1]);
}
#define CHECK_PAIRS(table) check_pairs(table, sizeof table / sizeof *table)

static void test_numbers(void **state) {
    static const char *const pair[][2] = {
        {"0", "0"}, {"-0", "0"}, {"-1", "-1"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"0.1", "0.1"}, {"1.0", "1.0"}, {"-0.0", "-0.0"}, {"1e5", "100000.0"},
        {"1E+5", "100000.0"}, {"1e15", "1000000000000000.0"},
        {"123456789012345680.0", "1.2345678901234568e+17"},
        {"9007199254740993.0", "9007199254740992.0"}, {"1e16", "1e+16"}, {"1e22", "1e+22"},
        {"1e23", "1e+23"}, {"1e100", "1e+100"}, {"0.0001", "0.0001"},
        {"0.00012345", "0.00012345"}, {"0.00001", "1e-05"}, {"1.5e-7", "1.5e-07"},
        {"5e-324", "5e-324"}, {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"1E400", "Infinity"}, {"-1e400", "-Infinity"}, {"1e-400", "0.0"}, {"NaN", "NaN"},
        {"Infinity", "Infinity"}, {"-Infinity", "-Infinity"}, {"4.35", "4.35"},
        {"0.30000000000000004", "0.30000000000000004"}, {"100.0", "100.0"}, {"12.50", "12.5"},
        {"2.2250738585072014e-308", "2.2250738585072014e-308"}, {"0e5", "0.0"},
    };
    (void)state;
    CHECK_PAIRS(pair);
}

static void test_strings(void **state) {
    static const char *const pair[][2] = {
        {"\"\"", "\"\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"\\u0041\\u00e9\\u20AC\"", "\"A\xC3\xA9\xE2\x82\xAC\""},
        {"\"\\u0000\\u0001\\u001f\"", "\"\\u0000\\u0001\\u001f\""},
        {"\"\x7F\\u007f\"", "\"\x7F\x7F\""},
        {"\"\\u2028\xE2\x80\xA9\"", "\"\xE2\x80\xA8\xE2\x80\xA9\""},
        {"\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\""},
        {"\"\\ud83d\\u0041\"", "\"\xED\xA0\xBD" "A\""},
        {"\"\\ude00\\ud83d\"", "\"\xED\xB8\x80\xED\xA0\xBD\""},
        {"\"\\ud83d\\udbff\"", "\"\xED\xA0\xBD\xED\xAF\xBF\""},
        {"\"\\ud83d\\ud83d\\ude00\"", "\"\xED\xA0\xBD\xF0\x9F\x98\x80\""},
    };
    (void)state;
    CHECK_PAIRS(pair);
}

static void test_containers(void **state) {
    static const char *const pair[][2] = {
        {" [ ] ", "[]"}, {"{\n}", "{}"}, {"[1,[2,[]],{}]", "[1, [2, []], {}]"},
        {"{\"b\":1,\"a\":{\"z\":null,\"y\":[true,false]}}",
         "{\"b\": 1, \"a\": {\"z\": null, \"y\": [true, false]}}"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\": 3, \"b\": 2}"},
        {"{\"a\":1,\"b\":2,\"a\":[3,4],\"b\":{},\"c\":5,\"a\":\"x\"}",
         "{\"a\": \"x\", \"b\": {}, \"c\": 5}"},
        {"{\"a\":1,\"\\u0061\":2}", "{\"a\": 2}"}, {"{\"\":1,\"\":2}", "{\"\": 2}"},
    };
    (void)state;
    CHECK_PAIRS(pair);
}

static void test_malformed(void **state) {
    static const char *const text[] = {
        "", " ", "[", "]", "[1,]", "[,1]", "[1 2]", "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\" 1}",
        "{'a': 1}", "{a: 1}", "{1: 2}", "{\"a\":}", "01", "-", "--1", "+1", "1.", ".5", "1.e5",
        "1e", "1e+", "-NaN", "nan", "Inf", "nul", "tru", "True", "\"", "\"a", "\"\\\"",
        "\"\\x41\"", "\"\\u12\"", "\"\\u12g4\"", "\"\t\"", "\"\n\"", "1 2", "[] []",
        "\xEF\xBB\xBF{}", "\x0B" "1", "\xC2\xA0" "1", "// no", "[1]]", "\"a\"b", "0x10", "1_0",
        "\"\\", "\"\\u", "{\"a\":1", "[1,",
    };
    (void)state;
    bool malformed;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        assert_string_equal(again(text[i], (idx)strlen(text[i]), &malformed), "");
        assert_true(malformed);
    }
    assert_string_equal(again("1\0", 2, &malformed), "");
    assert_true(malformed);
    assert_string_equal(again("\"\0\"", 3, &malformed), "");
    assert_true(malformed);
}

/* Limits are another matter than bad JSON. */
static void test_limits(void **state) {
    static char digits[5000], nested[200];
    bool malformed;
    (void)state;
    memset(digits, '7', sizeof digits);
    assert_int_equal(strlen(again(digits, MR_PY_DIGITS, &malformed)), MR_PY_DIGITS);
    assert_string_equal(again(digits, MR_PY_DIGITS + 1, &malformed), "");
    assert_false(malformed);
    digits[0] = '-';
    assert_int_equal(strlen(again(digits, MR_PY_DIGITS + 1, &malformed)), MR_PY_DIGITS + 1);

    for (int depth = 64; depth <= 65; depth++) {
        memset(nested, '[', (size_t)depth);
        memset(nested + depth, ']', (size_t)depth);
        const char *result = again(nested, 2 * depth, &malformed);
        assert_int_equal(strlen(result), depth == 64 ? 2 * depth : 0);
        assert_false(malformed);
    }
}

/* Any double, written and read back, is the same double, in as few digits as possible. */
static void test_floats_return(void **state) {
    uint64_t seed = 1;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        double x;
        char text[MR_PY_FLOAT_SIZE], wider[64];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = seed ^ seed >> 29;
        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x)) continue;
        const int length = mr_py_float(x, text);
        assert_int_equal(length, strlen(text));
        const double back = strtod(text, NULL);
        assert_memory_equal(&back, &x, sizeof x);
        snprintf(wider, sizeof wider, "%.16e", x);
        assert_true(strlen(text) <= strlen(wider));
    }
}

static void test_many_keys(void **state) {
    enum { KEYS = 3000 };
    mr_text text = {0}, out = {0};
    mr_py_arena arena = {0};
    mr_err err = {0};
    const mr_py *value;
    char one[40];
    (void)state;
    for (int i = 0; i < KEYS; i++) { /* every key twice, the second time in the other order */
        const int key = i < KEYS / 2 ? i : KEYS - 1 - i;
        const int n = snprintf(one, sizeof one, "%c\"k%d\":%d", i == 0 ? '{' : ',', key, i);
        assert_int_equal(mr_text_append(&text, one, n, &err), MR_OK);
    }
    assert_int_equal(mr_text_append(&text, "}", 1, &err), MR_OK);
    assert_int_equal(mr_py_read(&arena, text.byte, text.count, &value, NULL, &err), MR_OK);
    assert_int_equal(value->items, KEYS / 2);
    int place = 0;
    for (const mr_py *entry = value->first; entry != NULL; entry = entry->next, place++) {
        snprintf(one, sizeof one, "k%d", place);
        assert_true(mr_py_is(entry->key, one));
        snprintf(one, sizeof one, "%d", KEYS - 1 - place);
        assert_true(mr_py_is(entry->text, one));
    }
    assert_int_equal(place, KEYS / 2);
    assert_ptr_equal(mr_py_get(value, "k0"), value->first);
    assert_null(mr_py_get(value, "no"));
    assert_null(mr_py_get(value->first, "k0"));
    mr_py_free(&arena);
    mr_text_free(&text);
    mr_text_free(&out);
}

static void test_memory(void **state) {
    mr_py_arena arena = {0};
    mr_err err = {0};
    (void)state;
    assert_null(mr_py_alloc(&arena, MR_IDX_MAX, 2, &err));
    check_refused(err.code, MR_BAD, &err, "do not fit");
    err = (mr_err){0};
    for (idx size = 0; size < 100000; size = 2 * size + 1) {
        char *memory = mr_py_alloc(&arena, size, 1, &err);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (idx i = 0; i < size; i++) assert_int_equal(memory[i], 0);
        memset(memory, 'x', (size_t)size);
    }
    mr_py_free(&arena);
    mr_py_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_strings),
        cmocka_unit_test(test_containers), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_floats_return),
        cmocka_unit_test(test_many_keys),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
