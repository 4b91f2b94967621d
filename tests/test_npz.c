/* .npz both ways: numpy's files are read, ours come back, equal tensors give equal files. */
#include "tests/scratch.h"

#include <math.h>
#include <zlib.h>

#include "golden/npz.h"
#include "golden/zip.h"
#include "tests/npz_samples.h"

static mr_npz *open_good(const char *path) {
    mr_npz *npz;
    mr_err err = {0};
    if (mr_npz_open(path, &npz, &err) != MR_OK) fail_msg("%s", err.text);
    return npz;
}

/* The member has this type, shape and bytes. */
static void expect(mr_npz *npz, const mr_tensor *want) {
    mr_err err = {0};
    idx i = mr_npz_find(npz, want->name);
    assert_true(i >= 0);
    const mr_tensor *t = mr_npz_tensor(npz, i);
    assert_string_equal(t->name, want->name);
    assert_int_equal(t->dtype, want->dtype);
    assert_int_equal(t->rank, want->rank);
    for (int k = 0; k < t->rank; k++) assert_int_equal(t->dim[k], want->dim[k]);
    assert_null(t->data);
    size_t bytes = (size_t)(mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype));
    unsigned char *data = malloc(bytes + 1);
    data[bytes] = 0x5a;   /* one byte beyond must stay as it is */
    if (mr_npz_read(npz, i, data, &err) != MR_OK) fail_msg("%s", err.text);
    if (bytes > 0) assert_memory_equal(data, want->data, bytes);
    assert_int_equal(data[bytes], 0x5a);
    free(data);
}

/* ---- reading numpy's files ------------------------------------------------------------------- */

static void test_numpy_deflated(void **state) {
    static const float  a[] = {1.5f, -2, 3, 0.25f, INFINITY, -0.0f};
    static const double b[] = {-1e300};
    (void)state;
    mr_npz *npz = open_good(scratch_write("d.npz", numpy_deflated, sizeof numpy_deflated));
    assert_int_equal(mr_npz_count(npz), 3);
    expect(npz, &(mr_tensor){"a", MR_F32, 2, {2, 3}, a});
    expect(npz, &(mr_tensor){"b", MR_F64, 0, {0}, b});
    expect(npz, &(mr_tensor){"c", MR_I32, 2, {0, 4}, NULL});
    assert_int_equal(mr_npz_find(npz, "a.npy"), -1);
    assert_int_equal(mr_npz_find(npz, ""), -1);
    mr_npz_close(npz);
    mr_npz_close(NULL);
}

static void test_numpy_stored(void **state) {
    static const int64_t d[] = {-1, 0, 1};
    (void)state;
    mr_npz *npz = open_good(scratch_write("s.npz", numpy_stored, sizeof numpy_stored));
    assert_int_equal(mr_npz_count(npz), 1);
    expect(npz, &(mr_tensor){"d", MR_I64, 1, {3}, d});
    mr_npz_close(npz);
}

static void test_numpy_streamed(void **state) {
    (void)state;
    mr_npz *npz = open_good(scratch_write("p.npz", numpy_streamed, sizeof numpy_streamed));
    assert_int_equal(mr_npz_count(npz), 1);
    expect(npz, &(mr_tensor){"e", MR_U8, 1, {2}, "\1\0"});
    mr_npz_close(npz);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void write_good(const char *path, const mr_tensor *tensor, int count) {
    mr_npz_writer *writer;
    mr_err err = {0};
    mr_status status = mr_npz_create(path, &writer, &err);
    for (int i = 0; i < count && status == MR_OK; i++) status = mr_npz_add(writer, &tensor[i],
                                                                           &err);
    if (status == MR_OK) status = mr_npz_finish(writer, &err);
    if (status != MR_OK) fail_msg("%s", err.text);
}

/* Every type, ranks 0 to 8, empty tensors, and lengths on both sides of the buffers of 64 KiB
 * and 256 KiB. */
static void test_round_trip(void **state) {
    static const idx sizes[] = {0, 1, 2, 3, 5, 10, 50, 65535, 65536, 65537, 262143, 262144, 262145};
    enum { SIZES = sizeof sizes / sizeof *sizes, COUNT = MR_DTYPES * SIZES + 9 };
    static mr_tensor tensor[COUNT];
    static char names[COUNT][32];
    static double data[262145];
    (void)state;
    fill_f64(data, 262145, 1);
    for (int i = 0; i < COUNT; i++) {
        int rank = i - MR_DTYPES * SIZES;
        snprintf(names[i], sizeof names[i], "layers.%d/x y", i);
        tensor[i] = (mr_tensor){names[i], (mr_dtype)(i % MR_DTYPES), 1,
                                {sizes[i / MR_DTYPES % SIZES]}, data};
        if (rank < 0) continue;
        tensor[i].rank = rank;
        for (int k = 0; k < rank; k++) tensor[i].dim[k] = k % 3 + 1;
    }
    write_good(scratch("r.npz"), tensor, COUNT);
    mr_npz *npz = open_good(scratch("r.npz"));
    assert_int_equal(mr_npz_count(npz), COUNT);
    for (int i = 0; i < COUNT; i++) expect(npz, &tensor[i]);
    mr_npz_close(npz);

    /* Equal tensors, equal bytes. */
    size_t first, second;
    unsigned char *one = scratch_read(scratch("r.npz"), &first);
    write_good(scratch("r2.npz"), tensor, COUNT);
    unsigned char *two = scratch_read(scratch("r2.npz"), &second);
    assert_int_equal(first, second);
    assert_memory_equal(one, two, first);
    free(one);
    free(two);
}

/* The smallest archive with data, field by field; only the deflated bytes are zlib's. */
static void test_bytes(void **state) {
    static const unsigned char local[] = {
        'P', 'K', 3, 4, 45, 0, 0, 0, 8, 0, 0, 0, 0x21, 0};
    static const char header[] =
        "\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
    size_t bytes;
    (void)state;
    write_good(scratch("b.npz"), &(mr_tensor){"x", MR_U8, 1, {2}, "\7\7"}, 1);
    unsigned char *file = scratch_read(scratch("b.npz"), &bytes), member[130];
    memset(member, ' ', sizeof member);
    memcpy(member, header, sizeof header - 1);
    memcpy(member + 127, "\n\7\7", 3);
    uLong crc = crc32(0, member, 130);
    assert_memory_equal(file, local, sizeof local);
    assert_int_equal(file[14] | file[15] << 8 | file[16] << 16, crc & 0xffffff);
    assert_memory_equal(file + 18, "\xff\xff\xff\xff\xff\xff\xff\xff\5\0\24\0x.npy"
                        "\1\0\20\0\x82\0\0\0\0\0\0\0", 29);
    assert_memory_equal(file + bytes - 22, "PK\5\6\0\0\0\0\1\0\1\0", 12);
    free(file);
}

static void test_bf16_names(void **state) {
    static const uint16_t bits[] = {0x3f80, 0x4000};
    const mr_tensor tensor[] = {
        {"x", MR_BF16, 1, {2}, bits}, {"y", MR_U16, 1, {2}, bits}, {"z.bf16", MR_F32, 1, {1}, bits},
        {"w.bf16", MR_BF16, 1, {2}, bits}, {".bf16", MR_F16, 1, {2}, bits}};
    (void)state;
    write_good(scratch("n.npz"), tensor, 5);
    mr_npz *npz = open_good(scratch("n.npz"));
    for (int i = 0; i < 5; i++) expect(npz, &tensor[i]);
    mr_npz_close(npz);
}

static void test_empty(void **state) {
    (void)state;
    write_good(scratch("e.npz"), NULL, 0);
    mr_npz *npz = open_good(scratch("e.npz"));
    assert_int_equal(mr_npz_count(npz), 0);
    assert_int_equal(mr_npz_find(npz, "x"), -1);
    mr_npz_close(npz);
}

/* ---- what the writer refuses ----------------------------------------------------------------- */

static void refuse(const mr_tensor *tensor, int count, const char *text) {
    mr_npz_writer *writer;
    mr_err err = {0};
    scratch_files(true);
    const char *path = scratch_write("old.npz", "old", 3);
    mr_status status = mr_npz_create(path, &writer, &err);
    assert_int_equal(status, MR_OK);
    for (int i = 0; i < count && status == MR_OK; i++) status = mr_npz_add(writer, &tensor[i],
                                                                           &err);
    check_refused(status, MR_BAD, &err, text);
    mr_npz_abandon(writer);
    size_t bytes;
    unsigned char *old = scratch_read(path, &bytes);
    assert_int_equal(bytes, 3);
    assert_int_equal(scratch_files(false), 1);
    free(old);
}

static void test_writer_refuses(void **state) {
    static char longest[4100];
    const mr_tensor twice[] = {{"x", MR_U8, 1, {1}, "a"}, {"x", MR_U8, 1, {1}, "a"}};
    const mr_tensor both[] = {{"x", MR_U16, 1, {1}, "ab"}, {"x", MR_BF16, 1, {1}, "ab"}};
    (void)state;
    memset(longest, 'n', sizeof longest - 1);
    refuse(twice, 2, "tensor x is written twice");
    refuse(both, 2, "tensor x is written twice");
    refuse(&(mr_tensor){NULL, MR_U8, 0, {0}, "a"}, 1, "needs a name");
    refuse(&(mr_tensor){"", MR_U8, 0, {0}, "a"}, 1, "needs a name");
    refuse(&(mr_tensor){longest, MR_U8, 0, {0}, "a"}, 1, "needs a name");
    refuse(&(mr_tensor){"/x", MR_U8, 0, {0}, "a"}, 1, "absolute");
    refuse(&(mr_tensor){"a/../x", MR_U8, 0, {0}, "a"}, 1, "\"..\"");
    refuse(&(mr_tensor){"a\nb", MR_U8, 0, {0}, "a"}, 1, "printable ASCII");
    refuse(&(mr_tensor){"x.bf16", MR_U16, 0, {0}, "ab"}, 1, "would be read as BF16");
    refuse(&(mr_tensor){"x", MR_U8, 9, {0}, "a"}, 1, "impossible shape");
    refuse(&(mr_tensor){"x", MR_U8, -1, {0}, "a"}, 1, "impossible shape");
    refuse(&(mr_tensor){"x", MR_U8, 1, {-1}, "a"}, 1, "impossible shape");
    refuse(&(mr_tensor){"x", MR_F64, 1, {MR_IDX_MAX / 4}, "a"}, 1, "impossible shape");
    refuse(&(mr_tensor){"x", MR_U8, 1, {1}, NULL}, 1, "no data");
    mr_npz_abandon(NULL);
}

/* The archive itself has each name once, whoever writes to it. */
static void test_member_twice(void **state) {
    const mr_zip_piece piece = {"a", 1};
    mr_zip_writer *writer;
    mr_err err = {0};
    (void)state;
    assert_int_equal(mr_zip_create(scratch("x.zip"), &writer, &err), MR_OK);
    assert_int_equal(mr_zip_add(writer, "m", &piece, 1, &err), MR_OK);
    check_refused(mr_zip_add(writer, "m", &piece, 1, &err), MR_BAD, &err, "m is written twice");
    mr_zip_abandon(writer);
}

/* A failed member may not become a finished archive. */
static void test_broken(void **state) {
    mr_npz_writer *writer;
    mr_err err = {0}, again = {0}, last = {0};
    (void)state;
    scratch_files(true);
    assert_int_equal(mr_npz_create(scratch("x.npz"), &writer, &err), MR_OK);
    check_refused(mr_npz_add(writer, &(mr_tensor){"/x", MR_U8, 0, {0}, "a"}, &err), MR_BAD, &err,
                  "absolute");
    check_refused(mr_npz_add(writer, &(mr_tensor){"x", MR_U8, 0, {0}, "a"}, &again), MR_BAD, &again,
                  "earlier");
    check_refused(mr_npz_finish(writer, &last), MR_BAD, &last, "earlier");
    assert_int_equal(scratch_files(false), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numpy_deflated), cmocka_unit_test(test_numpy_stored),
        cmocka_unit_test(test_numpy_streamed), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bytes),          cmocka_unit_test(test_bf16_names),
        cmocka_unit_test(test_empty),          cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_member_twice), cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests_name("npz", tests, scratch_open, scratch_close);
}
