/* A file as memory, where the system says strange things of it: this program's own fstat stands
 * before that of libc. */
#define _GNU_SOURCE                 /* RTLD_NEXT */
#define _FILE_OFFSET_BITS 64        /* fstat is the one that weights/map.c calls */
#include "tests/next_call.h"

#include <errno.h>

#include "weights/header.h"

static struct {
    bool  on;
    int   error;    /* fstat fails so; 0: it says this size */
    off_t size;
} plan;

int fstat(int fd, struct stat *about) {
    int (*call)(int fd, struct stat *about);
    next_call("fstat64", &call);
    const int result = call(fd, about);
    if (!plan.on) return result;
    about->st_size = plan.size;
    errno = plan.error;
    return plan.error != 0 ? -1 : result;
}

static void refused(int error, off_t size, const char *reason) {
    mr_map map;
    mr_err err = {0};
    plan.on = true, plan.error = error, plan.size = size;
    const mr_status status = mr_map_open(&map, scratch("file"), &err);
    plan.on = false;
    check_refused(status, MR_BAD, &err, reason);
    assert_true(map.data == NULL && map.bytes == 0);
}

/* Each refusal names the file and the reason; the file itself is fine. */
static void test_refused(void **state) {
    char text[1200];
    mr_map map;
    mr_err err = {0};
    (void)state;
    scratch_write("file", "four", 4);
    snprintf(text, sizeof text, "%s: cannot read: %s", scratch("file"), strerror(EIO));
    refused(EIO, 0, text);
    refused(0, -1, "larger than the address space of this machine");
    refused(0, (off_t)1 << 62, sizeof(idx) < 8 ? "larger than the address space of this machine"
                                               : "cannot map 4611686018427387904 bytes: ");
    assert_int_equal(mr_map_open(&map, scratch("file"), &err), MR_OK);
    assert_int_equal(map.bytes, 4);
    assert_memory_equal(map.data, "four", 4);
    mr_map_close(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
