/* tokenizer.json: long texts and many merges. */
#include "tests/hf_samples.h"

/* 200,000 letters, marks and blanks: nothing is quadratic, and the result is right. */
static void test_long(void **state) {
    static char text[200001];
    mr_ids ids = {0};
    (void)state;
    memset(text, 'a', 200000);
    const char *blank = TOKEN(7, " ", false, false, true, false, false);
    mr_tokenizer *t = good(file_of(ABC ",`merges`:[`a a`]", blank, NULL, NULL, NULL));
    assert_int_equal(mr_tokenizer_encode(t, text, 200000, &ids, NULL), MR_OK);
    assert_int_equal(ids.count, 100000);
    memset(text, ' ', 200000);
    ids.count = 0;
    assert_int_equal(mr_tokenizer_encode(t, text, 200000, &ids, NULL), MR_OK);
    assert_int_equal(ids.count, 200000); /* each blank is found, though the first took them all */
    mr_tokenizer_close(t);
    t = good(file_of("`vocab`:{`\\u0301`:0,`\\u0323`:1},`merges`:[]", NULL,
                     "{`type`:`NFC`}", NULL, NULL));
    for (int i = 0; i < 200000; i += 4) memcpy(text + i, "\xCC\x81\xCC\xA3", 4);
    ids.count = 0;
    assert_int_equal(mr_tokenizer_encode(t, text, 200000, &ids, NULL), MR_OK);
    assert_int_equal(ids.count, 100000);
    for (idx i = 0; i < ids.count; i++) assert_int_equal(ids.id[i], i < 50000); /* below, above */
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
}

/* Merges of any two of 64 letters, U+0100 to U+013F: each is found. */
static void test_many_merges(void **state) {
    enum { COUNT = 64 };
    static char file[1 << 17];
    char text[COUNT * COUNT][5], want[16];
    size_t at = 0;
    mr_tokenizer *t;
    mr_err err = {0};
    (void)state;
#define PUT(...) at += (size_t)snprintf(file + at, sizeof file - at, __VA_ARGS__)
    PUT("{\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (int i = 0; i < COUNT; i++) PUT("\"\xC4%c\":%d,", 0x80 + i, i);
    for (int n = 0; n < COUNT * COUNT; n++) {
        snprintf(text[n], sizeof text[n], "\xC4%c\xC4%c", 0x80 + n / COUNT, 0x80 + n % COUNT);
        PUT("%s\"%s\":%d", n > 0 ? "," : "", text[n], COUNT + n);
    }
    PUT("},\"merges\":[");
    for (int n = 0; n < COUNT * COUNT; n++)
        PUT("%s[\"%.2s\",\"%s\"]", n > 0 ? "," : "", text[n], text[n] + 2);
    PUT("]}}");
#undef PUT
    if (open_bytes(file, at, &t, &err) != MR_OK) fail_msg("%s", err.text);
    for (int n = 0; n < COUNT * COUNT; n++) {
        snprintf(want, sizeof want, "%d", COUNT + n);
        ids_are(t, text[n], 4, want);
    }
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long), cmocka_unit_test(test_many_merges),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
