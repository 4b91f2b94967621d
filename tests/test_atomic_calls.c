/* Crash-safe writing when system calls do less than asked: this program's own write, pwrite, pread,
 * fsync and close stand before libc's. */
#define _GNU_SOURCE   /* RTLD_NEXT */
#include "tests/next_call.h"

#include <errno.h>
#include <fcntl.h>

#include "weights/atomic.h"
#include "weights/header.h"

enum { WRITE, FSYNC, CLOSE, READ };

/* From the n-th call of one kind on, `times` calls fail with `error` (0: of writing and reading, no
 * byte). */
static struct plan {
    bool active, one_byte;
    int  kind, at, times, error;
    int  count[4];
} plan;

static bool fails(int kind) {
    if (!plan.active) return false;
    const int n = ++plan.count[kind];
    if (kind != plan.kind || n < plan.at || n >= plan.at + plan.times) return false;
    errno = plan.error;
    return true;
}

typedef ssize_t write_call(int fd, const void *from, size_t bytes);
typedef ssize_t pwrite_call(int fd, const void *from, size_t bytes, off_t offset);
typedef ssize_t pread_call(int fd, void *to, size_t bytes, off_t offset);
typedef int     close_call(int fd);

ssize_t write(int fd, const void *from, size_t bytes) {
    write_call *call;
    next_call("write", &call);
    if (fails(WRITE)) return plan.error == 0 ? 0 : -1;
    return call(fd, from, plan.active && plan.one_byte && bytes > 0 ? 1 : bytes);
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset) {
    pwrite_call *call;
    next_call("pwrite64", &call);
    if (fails(WRITE)) return plan.error == 0 ? 0 : -1;
    return call(fd, from, plan.active && plan.one_byte && bytes > 0 ? 1 : bytes, offset);
}

ssize_t pread(int fd, void *to, size_t bytes, off_t offset) {
    pread_call *call;
    next_call("pread64", &call);
    if (fails(READ)) return plan.error == 0 ? 0 : -1;
    return call(fd, to, plan.active && plan.one_byte && bytes > 0 ? 1 : bytes, offset);
}

int fsync(int fd) {
    (void)fd;
    return fails(FSYNC) ? -1 : 0;
}

int close(int fd) {
    close_call *call;
    next_call("close", &call);
    const bool wrong = fails(CLOSE);
    const int error = errno, result = call(fd);
    if (wrong) errno = error;
    return wrong ? -1 : result;
}

/* Writes "hello world!", moves its last seven letters four up, over their own end, and puts what is
 * missing there. */
static mr_status save_moved(mr_err *err) {
    mr_atomic file;
    memset(plan.count, 0, sizeof plan.count);
    mr_status status = mr_atomic_open(&file, scratch("a"), err);
    plan.active = true;
    if (status == MR_OK) status = mr_atomic_write(&file, "hello world!", 12, err);
    if (status == MR_OK) status = mr_atomic_move(&file, 5, 7, 9, err);
    if (status == MR_OK) status = mr_atomic_patch(&file, 5, " big", 4, err);
    if (status == MR_OK) status = mr_atomic_commit(&file, err);
    else mr_atomic_abandon(&file);
    plan.active = false;
    return status;
}

/* Writes "hello world!" and patches its first two letters; errno is left over before the commit. */
static mr_status save(mr_err *err) {
    mr_atomic file;
    memset(plan.count, 0, sizeof plan.count);
    mr_status status = mr_atomic_open(&file, scratch("a"), err);
    plan.active = true;
    if (status == MR_OK) status = mr_atomic_write(&file, "hello world!", 12, err);
    if (status == MR_OK) status = mr_atomic_patch(&file, 0, "JE", 2, err);
    if (status == MR_OK) errno = EINTR, status = mr_atomic_commit(&file, err);
    else mr_atomic_abandon(&file);
    plan.active = false;
    return status;
}

static void check_saved(const char *text) {
    size_t bytes;
    unsigned char *data = scratch_read(scratch("a"), &bytes);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(data, text, bytes);
    free(data);
    assert_int_equal(scratch_files(false), 1);
}

static void refused(const char *why, int error) {
    char text[1200];
    mr_err err = {0};
    scratch_write("a", "old", 3);
    snprintf(text, sizeof text, "%s: %s: %s", scratch("a"), why, strerror(error));
    check_refused(save(&err), MR_BAD, &err, text);
}

/* One byte per call, and signals in between, lose nothing; the file and its folder are flushed. */
static void test_little_by_little(void **state) {
    (void)state;
    for (int kind = WRITE; kind <= FSYNC; kind++)
        for (int at = 1; at < 4; at++) {
            mr_err err = {0};
            scratch_clean(NULL);
            plan.one_byte = true;
            plan.kind = kind, plan.at = at, plan.times = 2, plan.error = EINTR;
            if (save(&err) != MR_OK) fail_msg("%s", err.text);
            check_saved("JEllo world!");
            assert_int_equal(plan.count[WRITE], 14 + (kind == WRITE ? 2 : 0));
            assert_int_equal(plan.count[FSYNC], 2 + (kind == FSYNC && at < 3 ? 2 : 0));
        }
    plan.one_byte = false;
}

/* The same of data that are moved; a file that ends too early, and a failing disk, are told. */
static void test_moved(void **state) {
    static const int errors[] = {0, EIO};
    (void)state;
    scratch_clean(NULL);
    for (int few = 0; few < 2; few++) {
        mr_err err = {0};
        plan = (struct plan){.one_byte = few, .kind = READ, .at = 1, .times = 1, .error = EINTR};
        if (save_moved(&err) != MR_OK) fail_msg("%s", err.text);
        check_saved("hello big world!");
        assert_int_equal(plan.count[READ], few ? 8 : 2);
    }
    for (int k = 0; k < 2; k++) {
        mr_err err = {0};
        plan = (struct plan){.kind = READ, .at = 1, .times = 1, .error = errors[k]};
        check_refused(save_moved(&err), MR_BAD, &err, "cannot read back: Input/output error");
        check_saved("hello big world!");
    }
}

/* No progress, a full disk, a failing disk: the old file stays. */
static void test_failures(void **state) {
    (void)state;
    scratch_clean(NULL);
    plan.times = 1, plan.kind = WRITE;
    for (plan.at = 1; plan.at <= 2; plan.at++) {
        plan.error = 0;
        refused("cannot write", EIO);
        check_saved("old");
        plan.error = ENOSPC;
        refused("cannot write", ENOSPC);
        check_saved("old");
    }
    plan.at = 1, plan.error = EIO;
    plan.kind = FSYNC;
    refused("cannot flush to disk", EIO);
    check_saved("old");
    plan.kind = CLOSE;
    refused("cannot close", EIO);
    check_saved("old");
}

/* The folder: a failing disk is told, with the new file in place; no such operation is fine. */
static void test_folder(void **state) {
    mr_err err = {0};
    (void)state;
    scratch_clean(NULL);
    plan.kind = FSYNC, plan.at = 2, plan.times = 1, plan.error = EIO;
    refused("is complete, but its folder could not be flushed to disk", EIO);
    check_saved("JEllo world!");
    plan.error = EINVAL;
    assert_int_equal(save(&err), MR_OK);
    plan.kind = CLOSE, plan.at = 1, plan.error = EINTR;   /* the descriptor is gone all the same */
    assert_int_equal(save(&err), MR_OK);
    check_saved("JEllo world!");
}

/* Without a standard input, files get descriptor 0. */
static void test_descriptor_zero(void **state) {
    mr_err err = {0};
    mr_map map;
    (void)state;
    scratch_clean(NULL);
    const int input = dup(STDIN_FILENO);
    close(STDIN_FILENO);
    plan.times = 0;
    const mr_status saved = save(&err), mapped = mr_map_open(&map, scratch("a"), &err);
    if (input >= 0) dup2(input, STDIN_FILENO), close(input);
    assert_true(saved == MR_OK && mapped == MR_OK);
    assert_int_equal(map.bytes, 12);
    mr_map_close(&map);
    check_saved("JEllo world!");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_little_by_little), cmocka_unit_test(test_moved),
        cmocka_unit_test(test_failures),         cmocka_unit_test(test_folder),
        cmocka_unit_test(test_descriptor_zero),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
