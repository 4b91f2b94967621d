/* A vocabulary made to be slow: pieces with one and the same hash. As many as a look-up may have to
 * try are found, one more is refused. */
#include "tests/check.h"

#include <string.h>

#include "tests/colliding.h"

enum { MOST = MR_PROBE_MAX + 1 };

static void test_collisions(void **state) {
    static char bytes[MOST + 1][COLLIDING];
    (void)state;
    for (idx count = MOST; count <= MOST + 1; count++) {
        mr_vocab vocab;
        mr_err err = {0};
        int32_t twins[2] = {-1, -1};
        assert_int_equal(mr_vocab_open(&vocab, count, &err), MR_OK);
        for (idx i = 0; i < count; i++) {
            colliding(bytes[i], (uint64_t)i * 7919 + 1);
            vocab.piece[i] = (mr_piece){.bytes = bytes[i], .size = COLLIDING};
        }
        if (count == MOST) {
            assert_int_equal(mr_vocab_index(&vocab, twins), MR_OK);
            for (idx i = 0; i < count; i++)
                assert_int_equal(mr_vocab_find(&vocab, bytes[i], COLLIDING), i);
            assert_int_equal(mr_vocab_find(&vocab, "sixteen bytes --", COLLIDING), -1);
        } else {
            assert_int_equal(mr_vocab_index(&vocab, twins), MR_BAD);
            assert_int_equal(twins[0], MOST);
            assert_int_equal(twins[1], MOST);
        }
        mr_vocab_close(&vocab);
    }
}

/* Without collisions, of all lengths at which the hash reads other bytes. */
static void test_lengths(void **state) {
    enum { LONGEST = 40 };
    static char bytes[LONGEST][LONGEST];
    mr_vocab vocab;
    mr_err err = {0};
    int32_t twins[2];
    (void)state;
    assert_int_equal(mr_vocab_open(&vocab, LONGEST, &err), MR_OK);
    for (idx i = 0; i < LONGEST; i++) {
        memset(bytes[i], 'a', LONGEST);
        vocab.piece[i] = (mr_piece){.bytes = bytes[i], .size = (int32_t)i};
    }
    assert_int_equal(mr_vocab_index(&vocab, twins), MR_OK);
    for (idx i = 0; i < LONGEST; i++) assert_int_equal(mr_vocab_find(&vocab, bytes[0], i), i);
    bytes[0][LONGEST - 1] = 'b';
    assert_int_equal(mr_vocab_find(&vocab, bytes[0], LONGEST), -1);   /* longer than all */
    assert_int_equal(mr_vocab_find(&vocab, bytes[0] + 1, LONGEST - 1), -1);
    mr_vocab_close(&vocab);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_collisions),
                                       cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
