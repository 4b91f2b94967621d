/* Base64 against the vectors of RFC 4648, section 10, and where a text is wrong. */
#include "tests/check.h"

#include <string.h>

#include "tokenizer/base64.h"

static void vectors(void **state) {
    static const char *const pairs[][2] = {
        {"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"},
        {"Zm9vYmE=", "fooba"}, {"Zm9vYmFy", "foobar"}, {"Zg", "f"}, {"+/+/", "\xfb\xff\xbf"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const bool padded = strlen(pairs[i][0]) % 4 == 0;
        mr_err err = {0};
        mr_text text = {0};
        assert_int_equal(mr_base64_decode(pairs[i][0], &text, &err), MR_OK);
        assert_string_equal(text.byte, pairs[i][1]);
        assert_int_equal(text.count, strlen(pairs[i][1]));
        assert_true(padded || i == 7);
        mr_free(text.byte);
    }
}

static void wrong(void **state) {
    static const struct { const char *text, *where; } bad[] = {
        {"*", "character 1 of 1"},       {"Zm9v*m9v", "character 5 of 8"},
        {"Z", "character 2 of 1"},       {"Zm9vY", "character 6 of 5"},
        {"Zm8==", "character 4 of 5"},   {"Zg===", "character 3 of 5"},
        {"Zg=", "character 3 of 3"},     {"Zg==Zg==", "character 3 of 8"},
        {"Zm8=x", "character 4 of 5"},   {"====", "character 1 of 4"},
        {"Zm9-", "character 4 of 4"},    {"Zm9@", "character 4 of 4"},
        {"Zm9[", "character 4 of 4"},    {"Zm9`", "character 4 of 4"},
        {"Zm9{", "character 4 of 4"},    {"Zm9:", "character 4 of 4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mr_err err = {0};
        mr_text text = {0};
        check_refused(mr_base64_decode(bad[i].text, &text, &err), MR_BAD, &err, bad[i].where);
        assert_int_equal(text.count, 0);
        mr_free(text.byte);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
