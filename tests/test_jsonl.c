/* JSON Lines: lines of every length around the room they are read into, and where a bad one is. */
#include "tests/scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

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

/* 64 levels of nesting are read, 65 are not. */
static void depth(void **state) {
    char text[200];
    (void)state;
    for (int levels = 64; levels <= 65; levels++) {
        mr_err err = {0};
        mr_jsonl lines;
        json_t *object;
        int n = sprintf(text, "{\"a\":");
        for (int i = 1; i < levels; i++) text[n++] = '[';
        for (int i = 1; i < levels; i++) text[n++] = ']';
        text[n++] = '}';
        if (mr_jsonl_open(&lines, scratch_write("deep.jsonl", text, (size_t)n), &err))
            fail_msg("%s", err.text);
        const mr_status status = mr_jsonl_next(&lines, &object, &err);
        if (levels == 64) assert_int_equal(status, MR_OK);
        else check_refused(status, MR_BAD, &err, "JSON of more than 64 levels");
        json_decref(object);
        mr_jsonl_close(&lines);
    }
}

/* A file of zeros has no line end: at the limit it is no JSON Lines. */
static void no_end(void **state) {
    mr_err err = {0};
    mr_jsonl lines;
    json_t *object;
    (void)state;
    const char *path = scratch_write("zeros.jsonl", "", 0);
    assert_int_equal(truncate(path, MR_JSONL_LINE_CAP + 1), 0);
    if (mr_jsonl_open(&lines, path, &err)) fail_msg("%s", err.text);
    check_refused(mr_jsonl_next(&lines, &object, &err), MR_BAD, &err,
                  "line 1: more than 16000000 bytes; is this JSON Lines?");
    mr_jsonl_close(&lines);
}

/* A folder opens as a file does, and its bytes cannot be read. */
static void unreadable(void **state) {
    mr_err err = {0};
    mr_jsonl lines;
    json_t *object;
    char text[1200];
    (void)state;
    snprintf(text, sizeof text, "%s: cannot read: %s", scratch_folder, strerror(EISDIR));
    if (mr_jsonl_open(&lines, scratch_folder, &err)) fail_msg("%s", err.text);
    check_refused(mr_jsonl_next(&lines, &object, &err), MR_BAD, &err, text);
    mr_jsonl_close(&lines);
}

static void ring(int number) { (void)number; }

/* Signals that arrive while a pipe is read lose nothing: every 2 ms one, a byte every 5 ms. */
static void interrupted(void **state) {
    static const char line[] = "{\"a\":12345}\n";
    const struct sigaction wake = {.sa_handler = ring};   /* without SA_RESTART */
    const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    const struct timespec pause = {0, 5000000};
    mr_err err = {0};
    mr_jsonl lines;
    json_t *object = NULL;
    (void)state;
    assert_int_equal(mkfifo(scratch("pipe"), 0600), 0);
    const pid_t writer = fork();
    if (writer == 0) {
        FILE *out = fopen(scratch("pipe"), "wb");
        for (size_t i = 0; out != NULL && i + 1 < sizeof line; i++) {
            nanosleep(&pause, NULL);
            fputc(line[i], out);
            fflush(out);
        }
        _exit(0);
    }
    assert_true(writer > 0 && sigaction(SIGALRM, &wake, NULL) == 0);
    setitimer(ITIMER_REAL, &often, NULL);
    const mr_status opened = mr_jsonl_open(&lines, scratch("pipe"), &err);
    const mr_status read = opened == MR_OK ? mr_jsonl_next(&lines, &object, &err) : opened;
    setitimer(ITIMER_REAL, &never, NULL);
    waitpid(writer, NULL, 0);
    if (read != MR_OK) fail_msg("%s", err.text);
    assert_int_equal(json_integer_value(json_object_get(object, "a")), 12345);
    json_decref(object);
    mr_jsonl_close(&lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lengths), cmocka_unit_test(bad_lines),
                                       cmocka_unit_test(no_end),
                                       cmocka_unit_test(unreadable), cmocka_unit_test(interrupted),
                                       cmocka_unit_test(depth)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
