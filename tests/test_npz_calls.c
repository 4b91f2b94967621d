/* Reading an archive when the system gives less than asked: this program's own pread, inflateInit2
 * and inflate stand before those of libc and zlib. */
#define _GNU_SOURCE                 /* RTLD_NEXT */
#define _FILE_OFFSET_BITS 64        /* pread is the one that golden/zip_stream.c calls */
#include "tests/next_call.h"

#include <errno.h>
#include <math.h>
#include <zlib.h>

#include "golden/npz.h"
#include "tests/npz_samples.h"

/* The first `times` calls fail so. */
static struct {
    int    times, error;         /* of pread; 0: the file ends here */
    bool   one_byte;
    int    inits, inflates;      /* out of memory */
} plan;

ssize_t pread(int fd, void *to, size_t bytes, off_t offset) {
    ssize_t (*call)(int fd, void *to, size_t bytes, off_t offset);
    next_call("pread64", &call);
    if (plan.times > 0) {
        plan.times--;
        errno = plan.error;
        return plan.error == 0 ? 0 : -1;
    }
    return call(fd, to, plan.one_byte && bytes > 0 ? 1 : bytes, offset);
}

int inflateInit2_(z_stream *z, int bits, const char *version, int size) {
    int (*call)(z_stream *z, int bits, const char *version, int size);
    next_call("inflateInit2_", &call);
    return plan.inits-- > 0 ? Z_MEM_ERROR : call(z, bits, version, size);
}

int inflate(z_stream *z, int flush) {
    int (*call)(z_stream *z, int flush);
    next_call("inflate", &call);
    return plan.inflates-- > 0 ? Z_MEM_ERROR : call(z, flush);
}

static mr_npz *open_sample(const unsigned char *sample, size_t bytes) {
    mr_npz *npz;
    mr_err err = {0};
    memset(&plan, 0, sizeof plan);
    scratch_write("s.npz", sample, bytes);
    if (mr_npz_open(scratch("s.npz"), &npz, &err) != MR_OK) fail_msg("%s", err.text);
    return npz;
}

#define DEFLATED open_sample(numpy_deflated, sizeof numpy_deflated)
#define STORED   open_sample(numpy_stored, sizeof numpy_stored)

/* Its first tensor: 1.5 -2 3 0.25 inf 0 as floats, or -1 0 1 as 64-bit integers. */
static void reads(mr_npz *npz, bool floats) {
    static const float   a[] = {1.5f, -2, 3, 0.25f, INFINITY, -0.0f};
    static const int64_t d[] = {-1, 0, 1};
    unsigned char got[24];
    mr_err err = {0};
    if (mr_npz_read(npz, 0, got, &err) != MR_OK) fail_msg("%s", err.text);
    assert_memory_equal(got, floats ? (const void *)a : (const void *)d, 24);
}

static void refuses(mr_npz *npz, const char *what) {
    unsigned char got[24];
    char text[900];
    mr_err err = {0};
    snprintf(text, sizeof text, "%s: %s", scratch("s.npz"), what);
    check_refused(mr_npz_read(npz, 0, got, &err), MR_BAD, &err, text);
    mr_npz_close(npz);
}

/* Signals interrupt, and a read may give one byte at a time: the same numbers. */
static void test_little_by_little(void **state) {
    (void)state;
    for (int floats = 0; floats < 2; floats++) {
        mr_npz *npz = floats ? DEFLATED : STORED;
        plan.one_byte = true;
        plan.times = 3, plan.error = EINTR;
        reads(npz, floats);
        mr_npz_close(npz);
    }
}

static void test_fails(void **state) {
    (void)state;
    mr_npz *npz = DEFLATED;
    plan.times = 1, plan.error = EIO;
    refuses(npz, "cannot read: Input/output error");
    npz = STORED;
    plan.times = 1, plan.error = 0;
    refuses(npz, "bad zip archive: it became shorter while it was read");
}

static void test_no_memory_for_inflating(void **state) {
    (void)state;
    mr_npz *npz = DEFLATED;
    plan.inits = 1;
    refuses(npz, "member a.npy: out of memory for inflating");
    npz = DEFLATED;
    plan.inflates = 1;
    refuses(npz, "member a.npy: out of memory for inflating");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_little_by_little), cmocka_unit_test(test_fails),
        cmocka_unit_test(test_no_memory_for_inflating),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
