/* Meta's "rows": which rows of a tensor a port recorded, and lists that cannot be meant. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "golden/replay_meta.h"

/* The meta of five tokens with these rows. */
static mr_status read_rows(const char *rows, mr_meta *meta, mr_err *err) {
    char text[600];
    *err = (mr_err){0};
    snprintf(text, sizeof text,
             "{\"tokens\":[[3,1,4],[1,5]],\"first_position\":[0,0],\"precision\":\"f32\","
             "\"convention\":\"hf\",\"rope_layout\":\"interleaved\",\"rope_angles\":\"exact\","
             "\"rows\":%s}", rows);
    return mr_meta_read("port.npz", text, meta, err);
}

static void test_rows(void **state) {
    mr_meta meta;
    mr_err err;
    (void)state;
    if (read_rows("{\"logits\":[0,2,4],\"norm\":[],\"h\":[3]}", &meta, &err) != MR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(meta.parts, 3);
    const mr_meta_part *logits = mr_meta_rows(&meta, "logits"), *h = mr_meta_rows(&meta, "h");
    assert_true(logits != NULL && h != NULL && mr_meta_rows(&meta, "norm") != NULL);
    assert_null(mr_meta_rows(&meta, "logit"));
    assert_int_equal(logits->count, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(logits->row[i], 2 * i);
    assert_int_equal(h->count, 1);
    assert_int_equal(h->row[0], 3);
    assert_int_equal(mr_meta_rows(&meta, "norm")->count, 0);
    mr_meta_free(&meta);
    for (int i = 0; i < 2; i++) {
        if (read_rows(i == 0 ? "{\"logits\":[4]}" : "{}", &meta, &err) != MR_OK)
            fail_msg("%s", err.text);
        assert_int_equal(meta.parts, 1 - i);
        assert_int_equal(mr_meta_rows(&meta, "logits") != NULL, 1 - i);
        mr_meta_free(&meta);
    }
}

static void test_refused(void **state) {
    static const struct { const char *rows; int number; } list[] = {
        {"{\"h\":[1],\"logits\":[5]}", 0}, {"{\"logits\":[-1]}", 0}, {"{\"logits\":[0.5]}", 0},
        {"{\"logits\":[2,2,3]}", 1},       {"{\"logits\":[3,1]}", 1},
        {"{\"logits\":[0,1,\"2\"]}", 2}, {"{\"logits\":[0,3,2]}", 2},
    };
    char want[300];
    mr_meta meta;
    mr_err err;
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        assert_int_equal(read_rows(list[i].rows, &meta, &err), MR_BAD);
        snprintf(want, sizeof want,
                 "port.npz: meta: rows of logits: number %d is not a row of 5 tokens after the one "
                 "before; record the trace again", list[i].number);
        assert_string_equal(err.text, want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
