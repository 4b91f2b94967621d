/* Crash-safe writing: the old file or the new one, never a mixture, and nothing left behind. */
#include "tests/scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "weights/atomic.h"

static void expect(const char *path, const char *text) {
    size_t bytes;
    unsigned char *data = scratch_read(path, &bytes);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(data, text, bytes);
    free(data);
}

static void test_commit(void **state) {
    mr_atomic file;
    mr_err err = {0};
    const char *path = scratch("a");
    (void)state;
    assert_int_equal(mr_atomic_open(&file, path, &err), MR_OK);
    assert_int_equal(mr_atomic_write(&file, "hello ", 6, &err), MR_OK);
    assert_int_equal(mr_atomic_write(&file, NULL, 0, &err), MR_OK);
    assert_int_equal(mr_atomic_write(&file, "world", 5, &err), MR_OK);
    assert_int_equal(mr_atomic_patch(&file, 0, "J", 1, &err), MR_OK);
    assert_int_equal(mr_atomic_write(&file, "!", 1, &err),
                     MR_OK);   /* patching did not move the end */
    assert_int_equal(access(path, F_OK),
                     -1);                        /* not there before it is complete */
    assert_int_equal(mr_atomic_commit(&file, &err), MR_OK);
    mr_atomic_abandon(&file);                                        /* harmless after commit */
    expect(path, "Jello world!");
    assert_int_equal(scratch_files(false), 1);
}

/* A new file gets the mode that open() would give, an old one keeps its own. */
static void test_mode(void **state) {
    mr_atomic file;
    struct stat info;
    const char *path = scratch("mode");
    (void)state;
    mode_t mask = umask(027);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(mr_atomic_open(&file, path, NULL), MR_OK);
        assert_int_equal(mr_atomic_commit(&file, NULL), MR_OK);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, round == 0 ? 0640 : 0604);
        assert_int_equal(chmod(path, 0604), 0);
    }
    umask(mask);
}

static void test_abandon(void **state) {
    mr_atomic file, zero = {0};
    (void)state;
    const char *path = scratch_write("a", "old", 3);
    assert_int_equal(mr_atomic_open(&file, path, NULL), MR_OK);
    assert_int_equal(mr_atomic_write(&file, "new", 3, NULL), MR_OK);
    mr_atomic_abandon(&file);
    mr_atomic_abandon(&file);
    mr_atomic_abandon(&zero);
    expect(path, "old");
    assert_int_equal(scratch_files(false), 1);
    assert_int_equal(lseek(0, 0, SEEK_CUR) < 0 && errno == EBADF, 0);   /* stdin was not closed */
}

static void refuse(const char *path, const char *text) {
    mr_atomic file;
    mr_err err = {0};
    check_refused(mr_atomic_open(&file, path, &err), MR_BAD, &err, text);
    assert_null(file.temporary);
    mr_atomic_abandon(&file);
}

static void test_refused(void **state) {
    char longest[300];
    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    refuse(scratch("nowhere/file"), "create the folder first");
    refuse(scratch_folder, "no regular file");
    refuse("/dev/null", "no regular file");
    refuse(scratch(longest), "cannot create");
    assert_int_equal(scratch_files(false), 0);
}

/* The target turns into a folder while the file is written: rename fails, the temporary file
 * goes. */
static void test_rename_fails(void **state) {
    mr_atomic file;
    mr_err err = {0};
    const char *path = scratch("late");
    (void)state;
    assert_int_equal(mr_atomic_open(&file, path, &err), MR_OK);
    assert_int_equal(mkdir(path, 0700), 0);
    check_refused(mr_atomic_commit(&file, &err), MR_BAD, &err, "cannot rename");
    assert_int_equal(scratch_files(false), 1);
    assert_int_equal(rmdir(path), 0);
}

/* A killed process with our number left its temporary file: it is neither used nor removed. */
static void test_leftover(void **state) {
    mr_atomic file;
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "b.tmp-%ld-0", (long)getpid());
    const char *left = scratch_write(name, "left", 4);
    assert_int_equal(mr_atomic_open(&file, scratch("b"), NULL), MR_OK);
    assert_int_equal(mr_atomic_write(&file, "new", 3, NULL), MR_OK);
    assert_int_equal(mr_atomic_commit(&file, NULL), MR_OK);
    expect(left, "left");
    expect(scratch("b"), "new");
}

/* A path without a folder: "." is flushed. */
static void test_relative(void **state) {
    mr_atomic file;
    char before[1024];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(scratch_folder), 0);
    assert_int_equal(mr_atomic_open(&file, "here", NULL), MR_OK);
    assert_int_equal(mr_atomic_commit(&file, NULL), MR_OK);
    assert_int_equal(chdir(before), 0);
    expect(scratch("here"), "");
}

/* The disk is full (a file size limit stands for it): an error, the old file stays. */
static void test_full(void **state) {
    mr_atomic file;
    mr_err err = {0};
    struct rlimit old, small;
    static const char block[4096];
    (void)state;
    const char *path = scratch_write("a", "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 10000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    mr_status status = mr_atomic_open(&file, path, &err);
    for (int i = 0; i < 4 && status == MR_OK; i++)   /* the third write is short, the fourth
                                                      * fails */
        status = mr_atomic_write(&file, block, sizeof block, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    check_refused(status, MR_BAD, &err, "cannot write");
    mr_atomic_abandon(&file);
    expect(path, "old");
    assert_int_equal(scratch_files(false), 1);
}

/* Writes A..A or B..B over the file until it is killed. */
static void write_forever(const char *path) {
    static char block[1 << 16];
    for (int i = 0; ; i++) {
        mr_atomic file;
        memset(block, 'A' + i % 2, sizeof block);
        if (mr_atomic_open(&file, path, NULL) != MR_OK) _exit(1);
        for (int k = 0; k < 8; k++) mr_atomic_write(&file, block, sizeof block / 8, NULL);
        if (mr_atomic_commit(&file, NULL) != MR_OK) _exit(1);
    }
}

/* Killed at 40 moments of a save: the file is always whole and all of one kind. */
static void test_killed(void **state) {
    const char *path = scratch("killed");
    (void)state;
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) write_forever(path);
        struct timespec moment = {0, 3000000 + 217000 * round};
        nanosleep(&moment, NULL);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        if (access(path, F_OK) != 0) continue;   /* killed before the first save was complete */
        size_t bytes;
        unsigned char *data = scratch_read(path, &bytes);
        assert_int_equal(bytes, 1 << 16);
        for (size_t i = 1; i < bytes; i++) assert_int_equal(data[i], data[0]);
        free(data);
    }
    assert_int_equal(access(path, F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_commit, scratch_clean),
        cmocka_unit_test(test_mode),
        cmocka_unit_test_setup(test_abandon, scratch_clean),
        cmocka_unit_test_setup(test_refused, scratch_clean),
        cmocka_unit_test_setup(test_rename_fails, scratch_clean),
        cmocka_unit_test(test_leftover),
        cmocka_unit_test(test_relative),
        cmocka_unit_test_setup(test_full, scratch_clean),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests_name("atomic", tests, scratch_open, scratch_close);
}
