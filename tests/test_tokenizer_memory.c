/* Memory that runs out in the middle of a text: nothing of it is left behind, and the same call
 * works as soon as there is memory again. */
#include "tests/sentencepiece_file.h"

#include <sys/resource.h>

enum { FULL = 1 << 27 }; /* the text has no room left: one more byte would need twice as much */

/* Bytes of address space in use. */
static double in_use(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* A text of so many bytes with room for `more`, and memory for nothing of that size. */
static void fill(mr_text *text, idx more, struct rlimit *before) {
    *text = (mr_text){.byte = mr_resize(NULL, FULL + more + 1, 1, NULL), .count = FULL,
                      .room = FULL + more};
    assert_non_null(text->byte);
    text->byte[FULL] = '\0';
    assert_int_equal(getrlimit(RLIMIT_AS, before), 0);
    struct rlimit little = *before;
    little.rlim_cur = (rlim_t)in_use() + FULL / 2;
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
}

/* Not under a sanitizer, which maps terabytes, nor under valgrind or another machine's emulator. */
static bool limits_hold(void) {
    mr_text text;
    struct rlimit before;
    if (getenv("MR_WRAP") != NULL || in_use() > 1e12) return false;
    fill(&text, 0, &before);
    char *block = malloc(2u * FULL);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    const bool hold = block == NULL;
    free(block);
    mr_text_free(&text);
    return hold;
}

static void is_full(const mr_text *text) {
    assert_int_equal(text->count, FULL);
    assert_int_equal(text->byte[FULL], '\0');
}

/* Ids of tiny(): 198 is the byte C3, no character by itself, 260 is "a". */
static void test_memory_ends(void **state) {
    struct rlimit before;
    mr_text text;
    mr_stream stream = {0};
    mr_err err = {0};
    (void)state;
    if (!limits_hold()) skip();
    tiny();
    mr_tokenizer *t = good("x.model");
    fill(&text, 3, &before);
    const mr_status decoded = mr_tokenizer_decode(t, (int32_t[]){198, 260}, 2, &text, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    check_refused(decoded, MR_BAD, &err, "memory");
    is_full(&text);
    mr_text_free(&text);

    fill(&text, 3, &before);
    const mr_status first = mr_tokenizer_stream(t, &stream, 198, &text, &err);
    const mr_status second = mr_tokenizer_stream(t, &stream, 260, &text, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(first, MR_OK);
    check_refused(second, MR_BAD, &err, "memory");
    is_full(&text);
    assert_int_equal(mr_tokenizer_stream(t, &stream, 260, &text, &err), MR_OK);
    assert_string_equal(text.byte + FULL, "\xEF\xBF\xBD" "a");
    assert_int_equal(mr_tokenizer_stream_end(t, &stream, &text, &err), MR_OK);
    mr_text_free(&text);

    fill(&text, 0, &before);
    const mr_status begun = mr_tokenizer_stream(t, &stream, 198, &text, &err);
    const mr_status end = mr_tokenizer_stream_end(t, &stream, &text, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(begun, MR_OK);
    assert_int_equal(end, MR_BAD);
    is_full(&text);
    assert_int_equal(mr_tokenizer_stream_end(t, &stream, &text, &err), MR_OK);
    assert_string_equal(text.byte + FULL, "\xEF\xBF\xBD");
    mr_text_free(&text);
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_ends)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
