/* Status messages, element types, checked sizes and the allocator: the few things that every folder
 * relies on. */
#include "tests/check.h"

#include <string.h>

/* Under AddressSanitizer an impossible request must come back as NULL, as everywhere else. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

/* The first failure is the cause; what fails after it, as a consequence, must not hide it. */
static void first_failure_is_kept(void **state) {
    (void)state;
    mr_err err = {0};
    assert_int_equal(mr_fail(&err, MR_MISSING, "no %s in %d files", "norm", 3), MR_MISSING);
    assert_int_equal(mr_fail(&err, MR_BAD, "later"), MR_BAD);
    assert_int_equal(err.code, MR_MISSING);
    assert_string_equal(err.text, "no norm in 3 files");
    assert_int_equal(mr_fail(NULL, MR_USAGE, "nobody listens"), MR_USAGE);
}

/* Nothing that a file says can move a cursor: bytes below space, delete, and what are such
 * characters in two bytes of UTF-8. Other text stays. */
static void messages_are_harmless(void **state) {
    (void)state;
    mr_err err = {0};
    mr_fail(&err, MR_BAD, "a\033[2J%s%c", "\n\r\177\xC2\x9B" "b \xC2\xA0 \xC3\x9B", 1);
    assert_string_equal(err.text, "a?[2J?????b \xC2\xA0 \xC3\x9B?");
    err = (mr_err){0};
    mr_fail(&err, MR_BAD, "%s", "\xC2\xA9\xC2q\xC3\x9F\xC2"); /* only look like one */
    assert_string_equal(err.text, "\xC2\xA9\xC2q\xC3\x9F\xC2");
}

static void long_messages_are_cut(void **state) {
    (void)state;
    mr_err err = {0};
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mr_fail(&err, MR_BAD, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void element_types(void **state) {
    (void)state;
    const struct { mr_dtype dtype; const char *name; idx size; } want[] = {
        {MR_F64, "F64", 8}, {MR_F32, "F32", 4}, {MR_F16, "F16", 2}, {MR_BF16, "BF16", 2},
        {MR_I64, "I64", 8}, {MR_I32, "I32", 4}, {MR_U16, "U16", 2}, {MR_U8, "U8", 1},
        {MR_F8_E4M3, "F8_E4M3", 1}, {MR_F8_E5M2, "F8_E5M2", 1},
    };
    assert_int_equal(sizeof want / sizeof *want, MR_DTYPES);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        mr_dtype parsed = MR_DTYPES;
        assert_int_equal(mr_dtype_size(want[i].dtype), want[i].size);
        assert_string_equal(mr_dtype_name(want[i].dtype), want[i].name);
        assert_true(mr_dtype_parse(want[i].name, &parsed));
        assert_int_equal(parsed, want[i].dtype);
    }
    mr_dtype parsed = MR_U16;
    assert_false(mr_dtype_parse("f32", &parsed));     /* safetensors' words are upper case */
    assert_false(mr_dtype_parse("F3", &parsed));
    assert_false(mr_dtype_parse("F322", &parsed));
    assert_int_equal(parsed, MR_U16);
}

static void checked_products_and_sums(void **state) {
    (void)state;
    const idx most = MR_IDX_MAX;
    const struct { idx a, b; bool mul, add; } cases[] = {
        {0, 0, true, true},
        {most, 0, true, true},
        {0, most, true, true},
        {1, most, true, false},
        {most, 1, true, false},
        {most / 2, 2, true, true},
        {most / 2 + 1, 2, false, true},
        {2, most / 2 + 1, false, true},
        {most - 1, 1, true, true},
        {-1, 1, false, false},
        {1, -1, false, false},
        {-1, 0, false, false},
        {0, -1, false, false},
        {-1, -1, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        idx product = -7, sum = -7;
        assert_int_equal(mr_mul(cases[i].a, cases[i].b, &product), cases[i].mul);
        assert_int_equal(mr_add(cases[i].a, cases[i].b, &sum), cases[i].add);
        /* untouched on failure */
        assert_true(product == (cases[i].mul ? cases[i].a * cases[i].b : -7));
        assert_true(sum == (cases[i].add ? cases[i].a + cases[i].b : -7));
    }
}

static void element_counts(void **state) {
    (void)state;
    const idx dim[] = {3, 5, 7}, zero[] = {3, 0, MR_IDX_MAX}, big[] = {MR_IDX_MAX, 2},
              negative[] = {2, -1};
    assert_true(mr_count(0, dim) == 1);
    assert_true(mr_count(1, dim) == 3);
    assert_true(mr_count(3, dim) == 105);
    assert_true(mr_count(3, zero) == 0);
    assert_true(mr_count(2, big) == -1);
    assert_true(mr_count(2, negative) == -1);
}

static void allocation(void **state) {
    (void)state;
    mr_err err = {0};
    unsigned char *memory = mr_alloc(5, 3, &err);
    for (int i = 0; i < 15; i++) assert_int_equal(memory[i], 0);
    memory[14] = 9;
    memory = mr_resize(memory, 100, 3, &err);
    assert_int_equal(memory[14], 9);
    mr_free(memory);
    void *none = mr_alloc(0, 8, &err);                 /* no elements is not a failure */
    assert_non_null(none);
    none = mr_resize(none, 0, 8, &err);
    assert_non_null(none);
    mr_free(none);
    mr_free(NULL);
    assert_int_equal(err.code, MR_OK);
}

static void allocation_that_cannot_be(void **state) {
    (void)state;
    /* overflow; more than any machine has (of 32 bits a process can have half); negative */
    const idx counts[] = {MR_IDX_MAX, WIDE_SIZES ? MR_IDX_MAX / 8 : MR_IDX_MAX / 4, -1};
    for (int i = 0; i < 3; i++) {
        mr_err err = {0}, again = {0};
        assert_null(mr_alloc(counts[i], 8, &err));
        check_refused(err.code, MR_BAD, &err, "out of memory");
        assert_null(mr_resize(NULL, counts[i], 8, &again));
        check_refused(again.code, MR_BAD, &again, "use a smaller model");
    }
    assert_null(mr_alloc(MR_IDX_MAX, 2, NULL));
}

/* The message names the count, then the size of one. */
static void what_was_asked_for(void **state) {
    (void)state;
    mr_err err = {0}, again = {0};
    assert_null(mr_alloc(-1, 8, &err));
    check_refused(err.code, MR_BAD, &err, "out of memory: -1 x 8 bytes;");
    assert_null(mr_resize(NULL, -1, 8, &again));
    check_refused(again.code, MR_BAD, &again, "out of memory: -1 x 8 bytes;");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_is_kept), cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(messages_are_harmless),
        cmocka_unit_test(element_types), cmocka_unit_test(checked_products_and_sums),
        cmocka_unit_test(element_counts), cmocka_unit_test(allocation),
        cmocka_unit_test(allocation_that_cannot_be), cmocka_unit_test(what_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
