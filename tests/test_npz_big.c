/* Archives that need zip64 for sizes, offsets or counts: minutes, so only with MR_TEST_BIG set. */
#include "tests/scratch.h"

#include "golden/npz.h"
#include "golden/zip.h"

static void skip_unless_asked(void) {
    if (getenv("MR_TEST_BIG") != NULL && sizeof(void *) > 4) return;
    print_message("skipped: set MR_TEST_BIG=1 to test archives beyond 4 GiB "
                  "(2 minutes, 5 GB of disk, 6 of memory, 64 bits)\n");
    skip();
}

/* Zeroed memory, which the system lends page by page when it is touched. */
static unsigned char *zeros(size_t bytes) {
    void *data = calloc(bytes, 1);
    assert_non_null(data);
    return data;
}

/* One tensor of 5 GB of zeros: its size needs 64 bits, and deflate's best ratio must be
 * accepted. */
static void test_big_tensor(void **state) {
    const size_t bytes = (size_t)5000000000u;
    mr_npz_writer *writer;
    mr_npz *npz;
    mr_err err = {0};
    struct stat info;
    (void)state;
    skip_unless_asked();
    unsigned char *data = zeros(bytes);
    const mr_tensor t = {"zeros", MR_F32, 2, {(idx)bytes / 8, 2}, data};
    must(mr_npz_create(scratch("z.npz"), &writer, &err), &err);
    must(mr_npz_add(writer, &t, &err), &err);
    must(mr_npz_finish(writer, &err), &err);
    assert_int_equal(stat(scratch("z.npz"), &info), 0);
    print_message("5 GB of zeros: %lld bytes\n", (long long)info.st_size);

    must(mr_npz_open(scratch("z.npz"), &npz, &err), &err);
    assert_int_equal(mr_npz_tensor(npz, 0)->dim[0], bytes / 8);
    data[0] = data[bytes / 2] = data[bytes - 1] = 1;
    must(mr_npz_read(npz, 0, data, &err), &err);
    assert_int_equal(data[0] | data[bytes / 2] | data[bytes - 1], 0);
    mr_npz_close(npz);
    free(data);
    scratch_files(true);
}

/* Noise, so that compressed offsets pass 4 GiB; a small tensor lies behind. */
static void test_big_offsets(void **state) {
    enum { TENSORS = 18 };
    const size_t bytes = (size_t)1 << 28;
    mr_npz_writer *writer;
    mr_npz *npz;
    mr_err err = {0};
    struct stat info;
    (void)state;
    skip_unless_asked();
    uint64_t *noise = (uint64_t *)(void *)zeros(bytes), x = 88172645463325252u;
    for (size_t i = 0; i < bytes / 8; i++) {   /* xorshift64 */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        noise[i] = x;
    }
    must(mr_npz_create(scratch("n.npz"), &writer, &err), &err);
    for (int i = 0; i <= TENSORS; i++) {
        char name[32];
        snprintf(name, sizeof name, "noise.%d", i);
        const mr_tensor t = {name, MR_U8, 1, {i < TENSORS ? (idx)bytes : 5}, noise};
        must(mr_npz_add(writer, &t, &err), &err);
    }
    must(mr_npz_finish(writer, &err), &err);
    assert_int_equal(stat(scratch("n.npz"), &info), 0);
    print_message("%d tensors of noise: %lld bytes\n", TENSORS, (long long)info.st_size);
    assert_true(info.st_size > 4294967296);

    must(mr_npz_open(scratch("n.npz"), &npz, &err), &err);
    unsigned char last[5], *back = zeros(bytes);
    must(mr_npz_read(npz, mr_npz_find(npz, "noise.18"), last, &err), &err);
    assert_memory_equal(last, noise, 5);
    must(mr_npz_read(npz, mr_npz_find(npz, "noise.17"), back, &err), &err);
    assert_int_equal(memcmp(back, noise, bytes), 0);
    mr_npz_close(npz);
    free(back);
    free(noise);
    scratch_files(true);
}

/* Member counts on both sides of the 65,535 that a plain archive can hold. */
static void test_many_members(void **state) {
    (void)state;
    skip_unless_asked();
    for (int count = 65534; count <= 65536; count++) {
        mr_npz_writer *writer;
        mr_npz *npz;
        mr_err err = {0};
        char name[32];
        unsigned char byte = 0;
        must(mr_npz_create(scratch("m.npz"), &writer, &err), &err);
        for (int i = 0; i < count; i++) {
            const unsigned char value = (unsigned char)(i & 255);
            snprintf(name, sizeof name, "t%d", i);
            must(mr_npz_add(writer, &(mr_tensor){name, MR_U8, 0, {0}, &value}, &err), &err);
        }
        must(mr_npz_finish(writer, &err), &err);
        must(mr_npz_open(scratch("m.npz"), &npz, &err), &err);
        assert_int_equal(mr_npz_count(npz), count);
        must(mr_npz_read(npz, mr_npz_find(npz, "t65533"), &byte, &err), &err);
        assert_int_equal(byte, 65533 & 255);
        mr_npz_close(npz);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_big_tensor),
        cmocka_unit_test(test_big_offsets),
        cmocka_unit_test(test_many_members),
    };
    return cmocka_run_group_tests_name("npz_big", tests, scratch_open, scratch_close);
}
