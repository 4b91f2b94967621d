/* Decoding id by id gives what decoding at once gives, for every kind of tokenizer; and the parts
 * that streaming is made of. */
#include "tests/tekken_file.h"

#include "tokenizer/lists.h"
#include "tokenizer/stream.h"

static uint32_t next_random(uint32_t *random) {
    *random = *random * UINT32_C(1664525) + 1013904223;
    return *random >> 8;
}

/* Mostly ids whose text depends on their neighbours: the first few hundred, which are bytes and
 * special tokens. */
static idx random_ids(const mr_tokenizer *t, uint32_t *random, int32_t *ids, idx most) {
    const uint32_t size = (uint32_t)mr_tokenizer_size(t);
    idx count = (idx)next_random(random) % most;
    for (idx i = 0; i < count; i++) {
        uint32_t low = next_random(random) % 3;
        uint32_t range = low == 0 ? size : low == 1 ? 300 : 8;
        ids[i] = (int32_t)(next_random(random) % (range < size ? range : size));
    }
    return count;
}

/* An id that does not exist is refused with the ids that do, and takes nothing back. */
static void check_outside(const mr_tokenizer *t) {
    const idx size = mr_tokenizer_size(t);
    const int32_t bad[] = {(int32_t)size, -1}, ids[] = {0, 1, -1};
    for (int i = 0; i < 2; i++) {
        char want[128];
        mr_err err = {0}, other = {0};
        mr_text text = {0};
        mr_stream stream = {0};
        assert_int_equal(mr_text_append(&text, "so far", 6, &err), MR_OK);
        const mr_status status = mr_tokenizer_stream(t, &stream, bad[i], &text, &err);
        snprintf(want, sizeof want, "id %d (number 1 of 1) is out of range: this tokenizer has ids "
                 "0 to %d", (int)bad[i], (int)size - 1);
        check_refused(status, MR_BAD, &err, want);
        assert_string_equal(text.byte, "so far");
        snprintf(want, sizeof want, "id -1 (number 3 of 3) is out of range: this tokenizer has ids "
                 "0 to %d", (int)size - 1);
        check_refused(mr_tokenizer_decode(t, ids, 3, &text, &other), MR_BAD, &other, want);
        assert_string_equal(text.byte, "so far");
        mr_text_free(&text);
    }
}

/* Every piece of every call is appended to one text, at the end compared with the whole. */
static void check_kind(const char *path, int rounds) {
    mr_err err = {0};
    mr_tokenizer *t;
    uint32_t random = 7;
    if (mr_tokenizer_open(path, &t, &err)) fail_msg("%s", err.text);
    check_outside(t);
    for (int n = 0; n < rounds; n++) {
        int32_t ids[24];
        mr_text whole = {0}, pieces = {0};
        mr_stream stream = {0};
        idx count = random_ids(t, &random, ids, 24);
        assert_int_equal(mr_tokenizer_decode(t, ids, count, &whole, &err), MR_OK);
        for (idx i = 0; i < count; i++) {
            assert_int_equal(mr_tokenizer_stream(t, &stream, ids[i], &pieces, &err), MR_OK);
            /* what came out stays: it is a beginning of the whole */
            assert_true(pieces.count <= whole.count);
            assert_memory_equal(pieces.byte, whole.byte, (size_t)pieces.count);
        }
        assert_int_equal(mr_tokenizer_stream_end(t, &stream, &pieces, &err), MR_OK);
        assert_int_equal(pieces.count, whole.count);
        assert_string_equal(pieces.byte, whole.byte);
        assert_true(stream.bytes == 0 && !stream.begun && stream.waiting.id == NULL);
        mr_text_free(&whole);
        mr_text_free(&pieces);
    }
    mr_tokenizer_close(t);
}

/* All tokenizers of golden/tokenizers, whatever their kind. */
static void test_all_kinds(void **state) {
    int kinds = 0;
    DIR *folder = opendir("golden/tokenizers");
    (void)state;
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder)) != NULL; ) {
        const char *ending = strrchr(e->d_name, '.');
        char path[512];
        bool wanted = ending != NULL && (!strcmp(ending, ".model") || !strcmp(ending, ".json"));
        if (!wanted) continue;
        snprintf(path, sizeof path, "golden/tokenizers/%.200s", e->d_name);
        check_kind(path, 3000);
        kinds++;
    }
    closedir(folder);
    assert_true(kinds >= 3);
}

static void test_real(void **state) {
    (void)state;
    check_kind(test_data_file("tokenizers/tokenizer.model.v1"), 20000);
}

/* Characters come out when they are complete, not later. */
static void test_when(void **state) {
    static const struct {
        int32_t     id; /* rank + 22 */
        const char *text;
    } steps[] = {
        {119, "a"}, {22 + 0xE2, "a"}, {22 + 0x82, "a"}, {22 + 0xAC, "a\xE2\x82\xAC"},
        {22 + 0xF0, "a\xE2\x82\xAC"}, {22 + 0x9F, "a\xE2\x82\xAC"},
        {278, "a\xE2\x82\xAC\xEF\xBF\xBD" "ab"}, {22 + 0xC3, "a\xE2\x82\xAC\xEF\xBF\xBD" "ab"},
        {1, "a\xE2\x82\xAC\xEF\xBF\xBD" "ab\xEF\xBF\xBD"},
        {22 + 0x80, "a\xE2\x82\xAC\xEF\xBF\xBD" "ab\xEF\xBF\xBD\xEF\xBF\xBD"},
        {22 + 0xE2, "a\xE2\x82\xAC\xEF\xBF\xBD" "ab\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    mr_stream stream = {0};
    mr_text text = {0};
    mr_err err = {0};
    (void)state;
    tekken_write("v3", "");
    mr_tokenizer *t = tekken_good();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(mr_tokenizer_stream(t, &stream, steps[i].id, &text, &err), MR_OK);
        assert_string_equal(text.byte, steps[i].text);
    }
    /* a failed call changes nothing: E2 still waits */
    check_refused(mr_tokenizer_stream(t, &stream, 284, &text, &err), MR_BAD, &err, "id 284");
    check_refused(mr_tokenizer_stream(t, &stream, -1, &text, NULL), MR_BAD, &err, "");
    assert_int_equal(stream.bytes, 1);
    assert_string_equal(text.byte, steps[10].text);
    text.count = 0;
    assert_int_equal(mr_tokenizer_stream_end(t, &stream, &text, NULL), MR_OK);
    assert_string_equal(text.byte, "\xEF\xBF\xBD");
    mr_text_free(&text);
    assert_int_equal(mr_tokenizer_stream_end(t, &stream, &text, NULL), MR_OK);
    assert_string_equal(text.byte, ""); /* nothing, but a text */
    mr_text_free(&text);
    mr_tokenizer_close(t);
}

/* All sequences of lead, second byte and length: the part is what the standard's table says. */
static void test_parts(void **state) {
    static const struct {
        const char *bytes;
        idx         count, size;
        mr_part     part;
    } cases[] = {
        {"a", 1, 1, MR_PART_WHOLE}, {"\0", 1, 1, MR_PART_WHOLE}, {"\x80", 1, 1, MR_PART_BAD},
        {"\xC1\xBF", 2, 1, MR_PART_BAD}, {"\xC2", 1, 1, MR_PART_OPEN},
        {"\xC2\xBF", 2, 2, MR_PART_WHOLE}, {"\xC2" "a", 2, 1, MR_PART_BAD},
        {"\xE0\x9F\xBF", 3, 1, MR_PART_BAD}, {"\xE0\xA0", 2, 2, MR_PART_OPEN},
        {"\xE0\xA0\x80", 3, 3, MR_PART_WHOLE}, {"\xED\x9F\xBF", 3, 3, MR_PART_WHOLE},
        {"\xED\xA0\x80", 3, 1, MR_PART_BAD}, {"\xF0\x8F\xBF\xBF", 4, 1, MR_PART_BAD},
        {"\xF0\x90\x80", 3, 3, MR_PART_OPEN}, {"\xF0\x90\x80" "a", 4, 3, MR_PART_BAD},
        {"\xF4\x8F\xBF\xBF", 4, 4, MR_PART_WHOLE}, {"\xF4\x90\x80\x80", 4, 1, MR_PART_BAD},
        {"\xF5\x80", 2, 1, MR_PART_BAD}, {"\xFF", 1, 1, MR_PART_BAD},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        idx size;
        assert_int_equal(mr_utf8_part(cases[i].bytes, cases[i].count, &size), cases[i].part);
        assert_int_equal(size, cases[i].size);
    }
}

/* However bytes are cut into portions, the text is the same; and so is its count of U+FFFD. */
static void test_portions(void **state) {
    static const char alphabet[] = "a\x80\xA0\xBF\xC2\xE0\xE2\xED\xF0\x90\xF4\xFF";
    uint32_t random = 3;
    (void)state;
    for (int n = 0; n < 20000; n++) {
        char bytes[12];
        mr_bad_rule rule = n % 2 ? MR_BAD_PART : MR_BAD_BYTE;
        mr_text whole = {0}, pieces = {0};
        mr_stream stream = {0};
        idx bad = 0;
        for (int i = 0; i < 12; i++) bytes[i] = alphabet[next_random(&random) % 12];
        assert_int_equal(mr_utf8_clean(bytes, 12, rule, &whole, NULL), MR_OK);
        for (idx at = 0, size; at < 12; at += size) {
            size = 1 + (idx)next_random(&random) % (12 - at);
            assert_int_equal(mr_stream_bytes(&stream, bytes + at, size, rule, &pieces, NULL),
                             MR_OK);
        }
        assert_int_equal(mr_stream_flush(&stream, rule, &pieces, NULL), MR_OK);
        assert_string_equal(pieces.byte, whole.byte);
        for (idx at = 0, size; at < 12; at += size)
            if (mr_utf8_part(bytes + at, 12 - at, &size) != MR_PART_WHOLE)
                bad += rule == MR_BAD_BYTE ? size : 1;
        for (const char *p = whole.byte; (p = strstr(p, "\xEF\xBF\xBD")) != NULL; p += 3) bad--;
        assert_int_equal(bad, 0);
        mr_text_free(&whole);
        mr_text_free(&pieces);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds), cmocka_unit_test(test_real), cmocka_unit_test(test_when),
        cmocka_unit_test(test_parts), cmocka_unit_test(test_portions),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
