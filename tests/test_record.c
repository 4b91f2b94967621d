/* Traces written with golden/record.h, read back with this program's own reader. */
#include "tests/scratch.h"

#include "golden/npz.h"
#include "golden/record.h"
#include "golden/trace.h"

static void closes(mr_record *r) {
    if (mr_record_close(r) != 0) fail_msg("%s", r->error);
}

/* Bits of 1, -2, 0, and of the type's own extremes; two elements differ in every byte order. */
static const double   f64[] = {1, -2, 0, 1e-300, -1e300, 0.1};
static const float    f32[] = {1, -2, 0, 1e-30f, -1e30f, 0.1f};
static const uint16_t f16[] = {0x3c00, 0xc000, 0, 1, 0xfbff, 0x2e66};
static const uint16_t bf16[] = {0x3f80, 0xc000, 0, 1, 0xff7f, 0x3dcd};
static const int64_t  i64[] = {1, -2, 0, INT64_MAX, INT64_MIN, 0x0102030405060708};
static const int32_t  i32[] = {1, -2, 0, INT32_MAX, INT32_MIN, 0x01020304};
static const uint16_t u16[] = {1, 2, 0, 65535, 32768, 0x0102};
static const uint8_t  u8[] = {1, 2, 0, 255, 128, 7};

static const struct {
    const char     *name;       /* as the reader has to call it */
    mr_record_dtype written;
    mr_dtype        read;
    const void     *data;
} all[] = {
    {"layers.0.f64", MR_REC_F64, MR_F64, f64},     {"layers.0.f32", MR_REC_F32, MR_F32, f32},
    {"layers.0.f16", MR_REC_F16, MR_F16, f16},     {"layers.0.bf16", MR_REC_BF16, MR_BF16, bf16},
    {"layers.0.i64", MR_REC_I64, MR_I64, i64},     {"layers.0.i32", MR_REC_I32, MR_I32, i32},
    {"layers.0.u16", MR_REC_U16, MR_U16, u16},     {"layers.0.u8", MR_REC_U8, MR_U8, u8},
    {"e4", MR_REC_F8_E4M3, MR_F8_E4M3, u8},        {"e5", MR_REC_F8_E5M2, MR_F8_E5M2, u8},
};
enum { TYPES = sizeof all / sizeof *all };

/* ---- what is written is read ----------------------------------------------------------------- */

static void write_types(void) {
    static const int64_t dims[] = {2, 3};
    char name[64];
    mr_record r = mr_record_open(scratch("types.npz"), "{\"seed\": 1}");
    for (int i = 0; i < TYPES; i++) {
        snprintf(name, sizeof name, "%s", all[i].name);
        assert_int_equal(mr_record_add(&r, name, all[i].written, 2, dims, all[i].data), 0);
    }
    assert_int_equal(r.count, TYPES + 1);
    closes(&r);
}

static void test_types(void **state) {
    mr_npz *npz;
    mr_err err = {0};
    size_t size[2];
    (void)state;
    write_types();
    unsigned char *first = scratch_read(scratch("types.npz"), &size[0]), *second;
    write_types();   /* replaces the first, with the same bytes */
    second = scratch_read(scratch("types.npz"), &size[1]);
    assert_true(size[0] == size[1] && memcmp(first, second, size[0]) == 0);
    free(first);
    free(second);
    must(mr_npz_open(scratch("types.npz"), &npz, &err), &err);
    assert_int_equal(mr_npz_count(npz), TYPES + 1);
    for (int i = 0; i < TYPES; i++) {
        unsigned char back[48];
        const mr_tensor *t = mr_npz_tensor(npz, i + 1);
        assert_string_equal(t->name, all[i].name);
        assert_int_equal(t->dtype, all[i].read);
        assert_int_equal(t->rank, 2);
        assert_int_equal(t->dim[0], 2);
        assert_int_equal(t->dim[1], 3);
        must(mr_npz_read(npz, i + 1, back, &err), &err);   /* the CRC is checked here */
        check_bits(t->name, all[i].data, back, 6, mr_dtype_size(t->dtype));
    }
    mr_npz_close(npz);
    assert_int_equal(scratch_files(false), 1);   /* no .part, no .dir */
}

/* Ranks 0 to 8, empty tensors in every place of a zero, and meta. */
static void test_shapes(void **state) {
    static const int64_t dims[] = {1, 2, 1, 3, 1, 1, 2, 1}, none[] = {0, 4}, last[] = {4, 0};
    static const char meta[] = "{\"format\": \"mistral-ref trace 1\", \"tokens\": [[1, 5]]}";
    mr_trace *trace;
    mr_err err = {0};
    double back[12];
    char name[32];
    (void)state;
    mr_record r = mr_record_open(scratch("shapes.npz"), meta);
    for (int rank = 0; rank <= 8; rank++) {
        snprintf(name, sizeof name, "rank.%d", rank);
        mr_record_add(&r, name, MR_REC_F64, rank, rank > 0 ? dims : NULL, (double[12]){5, 6});
    }
    mr_record_add(&r, "none", MR_REC_BF16, 2, none, NULL);
    mr_record_add(&r, "last", MR_REC_I32, 2, last, NULL);
    closes(&r);

    must(mr_trace_open(scratch("shapes.npz"), &trace, &err), &err);
    assert_int_equal(mr_trace_count(trace), 11);
    assert_string_equal(mr_trace_meta(trace), meta);
    for (int rank = 0; rank <= 8; rank++) {
        const mr_tensor *t = mr_trace_tensor(trace, rank);
        assert_int_equal(t->rank, rank);
        for (int k = 0; k < rank; k++) assert_int_equal(t->dim[k], dims[k]);
        must(mr_trace_read(trace, rank, back, &err), &err);
        assert_true(back[0] == 5);
    }
    assert_int_equal(mr_trace_tensor(trace, 9)->dim[0], 0);
    assert_int_equal(mr_trace_tensor(trace, 10)->dim[1], 0);
    mr_trace_close(trace);
}

/* Sizes on both sides of the four bytes of a step of the CRC and of a header's 64. */
static void test_sizes(void **state) {
    uint8_t data[300], back[300];
    mr_npz *npz;
    mr_err err = {0};
    char name[300];
    (void)state;
    for (int i = 0; i < 300; i++) data[i] = (uint8_t)(i * 37 + i / 7);
    mr_record r = mr_record_open(scratch("sizes.npz"), NULL);
    for (int64_t n = 0; n < 300; n++) {
        snprintf(name, sizeof name, "%0*d", (int)n % 120 + 1, (int)n + 1000);
        mr_record_add(&r, name, MR_REC_U8, 1, &n, data + (n > 290 ? 300 - n : n % 7));
    }
    closes(&r);
    must(mr_npz_open(scratch("sizes.npz"), &npz, &err), &err);
    assert_int_equal(mr_npz_count(npz), 300);
    for (idx n = 0; n < 300; n++) {
        assert_int_equal(mr_npz_tensor(npz, n)->dim[0], n);
        must(mr_npz_read(npz, n, back, &err), &err);
        check_bits("sizes", data + (n > 290 ? 300 - n : n % 7), back, n, 1);
    }
    mr_npz_close(npz);
}

/* Counts on both sides of the 65535 members that need the zip64 records at the end. */
static void test_many(void **state) {
    (void)state;
    for (int count = 65534; count <= 65536; count++) {
        mr_npz *npz;
        mr_err err = {0};
        char name[32];
        uint16_t value = 0;
        mr_record r = mr_record_open(scratch("many.npz"), NULL);
        for (int i = 0; i < count; i++) {
            value = (uint16_t)i;
            snprintf(name, sizeof name, "t%d", i);
            mr_record_add(&r, name, MR_REC_U16, 0, NULL, &value);
        }
        closes(&r);
        must(mr_npz_open(scratch("many.npz"), &npz, &err), &err);
        assert_int_equal(mr_npz_count(npz), count);
        must(mr_npz_read(npz, mr_npz_find(npz, "t65533"), &value, &err), &err);
        assert_int_equal(value, 65533);
        mr_npz_close(npz);
    }
}

/* Sizes and offsets beyond 4 GiB: 10 GB of disk, so only when asked. */
static void test_big(void **state) {
    const int64_t bytes = 5000000000, five = 5;
    mr_npz *npz;
    mr_err err = {0};
    unsigned char back[5];
    (void)state;
    if (getenv("MR_TEST_BIG") == NULL) {
        print_message("skipped: set MR_TEST_BIG=1 to test traces beyond 4 GiB\n");
        skip();
    }
    unsigned char *data = calloc((size_t)bytes, 1);
    assert_non_null(data);
    data[bytes - 1] = 9;
    mr_record r = mr_record_open(scratch("big.npz"), "{}");
    mr_record_add(&r, "first", MR_REC_U8, 1, &bytes, data);
    mr_record_add(&r, "small", MR_REC_U8, 1, &five, "hello");
    mr_record_add(&r, "last", MR_REC_U8, 1, &bytes, data);
    closes(&r);
    must(mr_npz_open(scratch("big.npz"), &npz, &err), &err);
    must(mr_npz_read(npz, mr_npz_find(npz, "small"), back, &err), &err);
    assert_memory_equal(back, "hello", 5);
    data[bytes - 1] = 0;
    must(mr_npz_read(npz, mr_npz_find(npz, "last"), data, &err), &err);
    assert_int_equal(data[bytes - 1], 9);
    mr_npz_close(npz);
    free(data);
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* The trace must have failed with this text, and stay failed. */
static void refused(mr_record *r, const char *text) {
    char first[sizeof r->error];
    const int64_t one = 1;
    if (strstr(r->error, text) == NULL) fail_msg("\"%s\", expected \"%s\"", r->error, text);
    memcpy(first, r->error, sizeof first);
    assert_int_equal(mr_record_add(r, "later", MR_REC_U8, 1, &one, "x"), -1);
    assert_int_equal(mr_record_close(r), -1);
    assert_string_equal(r->error, first);
    assert_int_equal(scratch_files(true), 0);
}

static void test_bad_arguments(void **state) {
    static const int64_t two = 2, minus = -1, huge[] = {(int64_t)1 << 40, (int64_t)1 << 40};
    static char longest[600];
    static const struct {
        const char    *name;
        int            dtype, rank;
        const int64_t *dims;
        const void    *data;
        const char    *text;
    } bad[] = {
        {NULL, 0, 0, NULL, f64, "needs a name"},
        {"", 0, 0, NULL, f64, "needs a name"},
        {longest, 0, 0, NULL, f64, "too long"},
        {"/q", 0, 0, NULL, f64, "leading /"},
        {"a/../q", 0, 0, NULL, f64, "no .."},
        {"q\n", 0, 0, NULL, f64, "printable ASCII"},
        {"caf\xc3\xa9", 0, 0, NULL, f64, "printable ASCII"},
        {"q.bf16", MR_REC_U16, 1, &two, u16, "read as BF16"},
        {"q", 99, 0, NULL, f64, "no such dtype"},
        {"q", 0, -1, NULL, f64, "rank is 0 to 8"},
        {"q", 0, 9, huge, f64, "rank is 0 to 8"},
        {"q", 0, 1, NULL, f64, "rank is 0 to 8"},
        {"q", 0, 1, &minus, f64, "impossible shape"},
        {"q", 0, 2, huge, f64, "impossible shape"},
        {"q", 0, 1, &two, NULL, "has no data"},
    };
    (void)state;
    scratch_clean(NULL);
    memset(longest, 'q', sizeof longest - 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mr_record r = mr_record_open(scratch("bad.npz"), "{}");
        assert_int_equal(mr_record_add(&r, bad[i].name, (mr_record_dtype)bad[i].dtype, bad[i].rank,
                                       bad[i].dims, bad[i].data), -1);
        refused(&r, bad[i].text);
    }
}

static void test_bad_paths(void **state) {
    static char longest[2000];
    (void)state;
    scratch_clean(NULL);
    memset(longest, 'q', sizeof longest - 1);
    mr_record r = mr_record_open(NULL, NULL);
    refused(&r, "needs a path");
    r = mr_record_open(longest, NULL);
    refused(&r, "needs a path");
    r = mr_record_open(scratch("no/such/folder.npz"), "{}");
    refused(&r, "cannot create");

    assert_int_equal(mkdir(scratch("taken.npz"), 0700), 0);     /* a folder has the name */
    r = mr_record_open(scratch("taken.npz"), "{}");
    assert_int_equal(mr_record_close(&r), -1);
    assert_non_null(strstr(r.error, "cannot give the trace its name"));
    assert_int_equal(rmdir(scratch("taken.npz")), 0);
    assert_int_equal(scratch_files(false), 0);

    r = mr_record_open(scratch("twice.npz"), "{}");
    closes(&r);
    assert_int_equal(mr_record_close(&r), -1);
}

/* A full disk, while data are written and when the last buffer goes out; an older trace stays. */
static void test_full_disk(void **state) {
    static const char *const ending[] = {".part", ".dir"};
    static uint8_t data[1 << 20];
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    scratch_clean(NULL);
    for (int i = 0; i < 4; i++) {
        const int64_t bytes = i % 2 == 0 ? (int64_t)sizeof data : 3;
        char beside[64];
        scratch_write("old.npz", "old", 3);
        snprintf(beside, sizeof beside, "old.npz%s", ending[i / 2]);
        assert_int_equal(symlink("/dev/full", scratch(beside)), 0);
        mr_record r = mr_record_open(scratch("old.npz"), "{}");
        mr_record_add(&r, "q", MR_REC_U8, 1, &bytes, data);
        assert_int_equal(mr_record_close(&r), -1);
        assert_non_null(strstr(r.error, "cannot"));
        assert_int_equal(scratch_files(false), 1);
        struct stat info;
        assert_int_equal(stat(scratch("old.npz"), &info), 0);
        assert_int_equal(info.st_size, 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),         cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_many),
        cmocka_unit_test(test_big),           cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_bad_paths),     cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("record", tests, scratch_open, scratch_close);
}
