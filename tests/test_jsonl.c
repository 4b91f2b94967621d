/* JSON Lines: lines of every length around the room they are read into, and where a bad one is. */
#include "tests/scratch.h"

#include "weights/jsonl.h"

/* {"text":"xxx..."} of so many bytes */
static idx line_of(char *at, idx bytes) {
    const idx frame = (idx)sizeof "{\"text\":\"\"}" - 1;
    assert_true(bytes >= frame);
    memcpy(at, "{\"text\":\"", 9);
    memset(at + 9, 'x', (size_t)(bytes - frame));
    memcpy(at + bytes - 2, "\"}", 2);
    return bytes;
}

static void lengths(void **state) {
    static const idx sizes[] = {11, 4095, 4096, 4097, 8191, 8192, 8193, 40000, 12};
    static char text[80000];
    enum { LINES = sizeof sizes / sizeof *sizes };
    idx n = 0;
    mr_err err = {0};
    mr_jsonl lines;
    json_t *object;
    (void)state;
    for (int i = 0; i < LINES; i++) {
        n += line_of(text + n, sizes[i]);
        text[n++] = '\n';
        if (i == 3) n += sprintf(text + n, " \t\r\n\n");
    }
    const char *path = scratch_write("lines.jsonl", text, (size_t)n);
    if (mr_jsonl_open(&lines, path, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < LINES; i++) {
        if (mr_jsonl_next(&lines, &object, &err)) fail_msg("%s", err.text);
        assert_non_null(object);
        const char *value = json_string_value(json_object_get(object, "text"));
        assert_int_equal(strlen(value), sizes[i] - 11);
        assert_int_equal(strspn(value, "x"), sizes[i] - 11);
        json_decref(object);
    }
    assert_int_equal(mr_jsonl_next(&lines, &object, &err), MR_OK);
    assert_null(object);
    mr_jsonl_close(&lines);
}

static void bad_lines(void **state) {
    static const struct { const char *text, *where; } bad[] = {
        {"{}\n[]\n", "line 2"}, {"\n\n{} {}\n", "line 3"}, {"{\"a\":}", "line 1, column"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mr_err err = {0};
        mr_jsonl lines;
        json_t *object;
        mr_status status = MR_OK;
        bool any;
        const char *path = scratch_write("bad.jsonl", bad[i].text, strlen(bad[i].text));
        if (mr_jsonl_open(&lines, path, &err)) fail_msg("%s", err.text);
        do {
            object = NULL;
            status = mr_jsonl_next(&lines, &object, &err);
            any = object != NULL;
            json_decref(object);
        } while (status == MR_OK && any);
        check_refused(status, MR_BAD, &err, bad[i].where);
        mr_jsonl_close(&lines);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lengths), cmocka_unit_test(bad_lines)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
