/* Lists and texts that would need more than an index can count: refused, and left as they were. The
 * counts are made up; nothing of that size exists. */
#include "tests/check.h"

#include "tokenizer/bpe.h"
#include "tokenizer/lists.h"
#include "weights/text.h"

static void test_lists(void **state) {
    int32_t id = 7;
    char byte = 'x';
    mr_ids ids = {.id = &id, .count = MR_IDX_MAX - 1, .room = MR_IDX_MAX - 1};
    mr_text text = {.byte = &byte, .count = MR_IDX_MAX - 1, .room = MR_IDX_MAX - 1};
    mr_err err = {0}, other = {0};
    (void)state;
    check_refused(mr_ids_reserve(&ids, 2, &err), MR_BAD, &err, "a list of more than");
    check_refused(mr_text_append(&text, "abc", 3, &other), MR_BAD, &other, "a text of more than");
    assert_true(ids.id == &id && id == 7 && ids.count == MR_IDX_MAX - 1);
    assert_true(text.byte == &byte && byte == 'x' && text.count == MR_IDX_MAX - 1);
}

/* Symbols of a text have 32-bit places. */
static void test_symbols(void **state) {
    mr_bpe bpe = {0};
    mr_err err = {0};
    (void)state;
    assert_int_equal(mr_bpe_add(&bpe, INT32_MAX - 5, 5, 1, false, &err), MR_OK);
    check_refused(mr_bpe_add(&bpe, INT32_MAX - 4, 5, 1, false, &err), MR_BAD, &err,
                  "a stretch of text exceeds 2 GiB; tokenize it in parts");
    assert_int_equal(bpe.count, 1);
    mr_bpe_free(&bpe);
}

/* A writer goes on after a failure, which then is its status: the caller asks once, at the end. */
static void test_writer(void **state) {
    mr_err err = {0}, wide = {0};
    mr_writer full = {.length = MR_IDX_MAX - 1, .err = &err}, piece = {.err = &wide};
    (void)state;
    mr_writer_bytes(&full, "abc", 3);
    check_refused(full.status, MR_BAD, &err, "text of more than");
    mr_writer_bytes(&full, "abc", 3);
    assert_true(full.data == NULL && full.length == MR_IDX_MAX - 1);
    mr_writer_add(&piece, "%600d", 1);
    check_refused(piece.status, MR_BAD, &wide, "a piece of text of 600 bytes");
    assert_true(piece.data == NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists),
                                       cmocka_unit_test(test_symbols),
                                       cmocka_unit_test(test_writer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
