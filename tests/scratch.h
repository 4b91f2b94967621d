/* A folder of files for one test program, which leaves nothing behind. Include it first (POSIX). */
#ifndef MR_TESTS_SCRATCH_H
#define MR_TESTS_SCRATCH_H

#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/check.h"

static char scratch_folder[512];

/* cmocka's group setup. */
static inline int scratch_open(void **state) {
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(scratch_folder, sizeof scratch_folder, "%s/mistral-ref-test-XXXXXX",
             base != NULL && *base != '\0' ? base : "/tmp");
    return mkdtemp(scratch_folder) != NULL ? 0 : -1;
}

/* Path of a file in the folder; valid for the next seven calls. */
static inline const char *scratch(const char *name) {
    static char path[8][1024];
    static int  next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", scratch_folder, name);
    return path[next];
}

/* Number of files in the folder; with `clean` they are removed. */
static inline int scratch_files(bool clean) {
    int  count = 0;
    DIR *folder = opendir(scratch_folder);
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder)) != NULL; ) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        count++;
        if (clean) remove(scratch(e->d_name));
    }
    closedir(folder);
    return count;
}

/* cmocka's group teardown; also fine as the setup of a test that counts files. */
static inline int scratch_clean(void **state) {
    (void)state;
    scratch_files(true);
    return 0;
}

static inline int scratch_close(void **state) {
    scratch_clean(state);
    return rmdir(scratch_folder);
}

static inline const char *scratch_write(const char *name, const void *data, size_t bytes) {
    const char *path = scratch(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* The whole file on the heap, for free(). */
static inline unsigned char *scratch_read(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *bytes = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

#endif
