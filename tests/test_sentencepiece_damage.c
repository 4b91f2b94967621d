/* A damaged SentencePiece model, at every byte of it, and one that does not end. */
#include "tests/sentencepiece_file.h"

/* Cut at every byte, and one byte changed at a time: a message or a smaller model, no crash. */
static void test_damage(void **state) {
    mr_tokenizer *t;
    (void)state;
    tiny();
    for (idx whole = file.count, at = 0; at < 2 * whole; at++) {
        mr_err err = {0};
        char *byte = &file.byte[at / 2], kept = *byte;
        file.count = at % 2 ? at / 2 : whole;
        *byte = (char)(kept + 1 + at % 255);
        mr_status status = open_file("x.model", &t, &err);
        assert_true(status == MR_OK || (status == MR_BAD && err.text[0] != '\0'));
        if (status == MR_OK) ids_are(t, NULL, 0, "");
        mr_tokenizer_close(t);
        *byte = kept;
    }
}

static void test_endless(void **state) {
    mr_tokenizer *t;
    mr_err err = {0};
    (void)state;
    check_refused(mr_tokenizer_open("/dev/zero", &t, &err), MR_BAD, &err, "larger than 256 MiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage), cmocka_unit_test(test_endless),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
