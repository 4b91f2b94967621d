/* Damaged and forged archives: cut anywhere, any bit flipped, any field wrong: a message, never a crash or other data. */
#include "tests/scratch.h"

#include <zlib.h>

#include "golden/npz.h"
#include "golden/zip.h"
#include "tests/npz_samples.h"

/* Opens and reads everything; the hash covers names, types, shapes and data. */
static mr_status read_all(const void *data, size_t bytes, uLong *hash, mr_err *err) {
    mr_npz *npz;
    *hash = crc32(0, NULL, 0);
    mr_status status = mr_npz_open(scratch_write("t.npz", data, bytes), &npz, err);
    if (status != MR_OK) return status;
    for (idx i = 0; i < mr_npz_count(npz) && status == MR_OK; i++) {
        const mr_tensor *t = mr_npz_tensor(npz, i);
        idx size = mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype);
        void *out = malloc((size_t)size + 1);
        status = mr_npz_read(npz, i, out, err);
        *hash = crc32(*hash, (const Bytef *)t->name, (uInt)strlen(t->name) + 1);
        *hash = crc32(*hash, (const Bytef *)&t->dtype, sizeof t->dtype);
        *hash = crc32(*hash, (const Bytef *)t->dim, (uInt)((size_t)t->rank * sizeof *t->dim));
        *hash = crc32(*hash, out, (uInt)size);
        free(out);
    }
    mr_npz_close(npz);
    return status;
}

static void refuse(const void *data, size_t bytes, const char *text) {
    uLong hash;
    mr_err err = {0};
    check_refused(read_all(data, bytes, &hash, &err), MR_BAD, &err, text);
}

/* ---- a small archive, written here ----------------------------------------------------------- */

static unsigned char archive[4096];
static size_t        length;

/* Appends a number of that many bytes, least first. */
static void number(int bytes, uint64_t value) {
    for (; bytes > 0; bytes--, value >>= 8) archive[length++] = (unsigned char)(value & 255);
}

static void change(size_t at, int bytes, uint64_t value) {
    size_t keep = length;
    length = at;
    number(bytes, value);
    length = keep;
}

static void append(const void *data, size_t bytes) {
    memcpy(archive + length, data, bytes);
    length += bytes;
}

/* Two stored members "dd/x.npy" and "dd/y.npy": [7, 8] and [9, 10] as |u1. Places of their records: */
static size_t local[2], central[2], end;

static void build(void) {
    unsigned char npy[66];
    length = 0;
    memset(npy, ' ', sizeof npy);
    memcpy(npy, "\x93NUMPY\1\0\66\0{'descr':'|u1','fortran_order':False,'shape':(2,)}", 62);
    for (int i = 0; i < 2; i++) {
        npy[64] = (unsigned char)(7 + 2 * i);
        npy[65] = (unsigned char)(8 + 2 * i);
        local[i] = length;
        append("PK\3\4\24\0\0\0\0\0\0\0\x21\0", 14);
        number(4, crc32(0, npy, sizeof npy));
        number(4, sizeof npy);
        number(4, sizeof npy);
        number(4, 8);   /* length of the name, no extra field */
        append(i == 0 ? "dd/x.npy" : "dd/y.npy", 8);
        append(npy, sizeof npy);
    }
    size_t directory = length;
    for (int i = 0; i < 2; i++) {
        central[i] = length;
        append("PK\1\2\24\0", 6);
        append(archive + local[i] + 4, 26);
        number(6, 0);   /* comment, disk, internal attributes */
        number(4, 0);
        number(4, local[i]);
        append(archive + local[i] + 30, 8);
    }
    end = length;
    append("PK\5\6\0\0\0\0\2\0\2\0", 12);
    number(4, end - directory);
    number(4, directory);
    number(2, 0);
}

/* Puts the zip64 end record and its locator before the end record, whose numbers become saturated. */
static void build64(void) {
    build();
    size_t directory = central[0];
    length = end;
    append("PK\6\6\54\0\0\0\0\0\0\0\55\0\55\0\0\0\0\0\0\0\0\0", 24);
    number(8, 2);
    number(8, 2);
    number(8, end - directory);
    number(8, directory);
    append("PK\6\7\0\0\0\0", 8);
    number(8, end);
    number(4, 1);
    append("PK\5\6\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0", 22);
}

static void test_built(void **state) {
    uLong plain, wide;
    mr_err err = {0};
    (void)state;
    build();
    assert_int_equal(read_all(archive, length, &plain, &err), MR_OK);
    build64();
    if (read_all(archive, length, &wide, &err) != MR_OK) fail_msg("%s", err.text);
    assert_int_equal(plain, wide);
}

/* ---- every length, every bit ----------------------------------------------------------------- */

static const struct {
    const unsigned char *data;
    size_t bytes;
} samples[] = {
    {numpy_deflated, sizeof numpy_deflated}, {numpy_stored, sizeof numpy_stored},
    {numpy_streamed, sizeof numpy_streamed}, {archive, 0},
};

static void test_cut(void **state) {
    (void)state;
    build64();
    for (size_t s = 0; s < 4; s++) {
        size_t whole = samples[s].bytes > 0 ? samples[s].bytes : length;
        for (size_t n = 0; n < whole; n++) refuse(samples[s].data, n, s == 0 && n == 0 ? "shorter" : "");
    }
}

/* A flipped bit is found, or lies in a field without meaning (versions, times, attributes, some flags). */
static void test_flip(void **state) {
    int silent = 0, total = 0;
    (void)state;
    build64();
    for (size_t s = 0; s < 4; s++) {
        uLong want, got;
        mr_err none = {0};
        static unsigned char copy[4096];
        size_t bytes = samples[s].bytes > 0 ? samples[s].bytes : length;
        memcpy(copy, samples[s].data, bytes);
        assert_int_equal(read_all(copy, bytes, &want, &none), MR_OK);
        for (size_t bit = 0; bit < 8 * bytes; bit++) {
            mr_err err = {0};
            copy[bit / 8] = (unsigned char)(copy[bit / 8] ^ 1 << bit % 8);
            mr_status status = read_all(copy, bytes, &got, &err);
            copy[bit / 8] = (unsigned char)(copy[bit / 8] ^ 1 << bit % 8);
            total++;
            if (status == MR_OK) {
                silent++;
                if (got != want) fail_msg("sample %zu, bit %zu: other data", s, bit);
            } else if (err.text[0] == '\0') {
                fail_msg("sample %zu, bit %zu: no message", s, bit);
            }
        }
    }
    print_message("%d of %d flipped bits carry no meaning\n", silent, total);
    assert_true(silent < total / 4);
}

/* ---- every field ----------------------------------------------------------------------------- */

/* Which record a change goes to. */
typedef enum { LOCAL0, LOCAL1, CENTRAL0, CENTRAL1, END, END64, LOCATOR } record;

static size_t place(record r) {
    const size_t at[] = {local[0], local[1], central[0], central[1], length - 22, end, end + 56};
    return at[r];
}

typedef struct {
    record      where;
    size_t      field;
    int         bytes;
    uint64_t    value;
    const char *message;
} forgery;

static void test_fields(void **state) {
    static const forgery bad[] = {
        {LOCAL0, 0, 4, 0, "no local header"},
        {LOCAL0, 6, 2, 1, "local header that contradicts"},          /* encrypted */
        {LOCAL0, 6, 2, 8, "local header that contradicts"},          /* streamed */
        {LOCAL0, 8, 2, 8, "local header that contradicts"},          /* method */
        {LOCAL0, 14, 4, 1, "local header that contradicts"},         /* CRC */
        {LOCAL0, 18, 4, 65, "local header that contradicts"},        /* packed size */
        {LOCAL0, 22, 4, 65, "local header that contradicts"},        /* size */
        {LOCAL0, 22, 4, 0, "local header that contradicts"},
        {LOCAL0, 18, 4, 0xffffffff, "malformed extra field"},        /* and no zip64 field */
        {LOCAL0, 26, 2, 7, "another name"},
        {LOCAL0, 26, 2, 9, "overlaps"},
        {LOCAL0, 26, 2, 65535, "overlaps"},
        {LOCAL0, 28, 2, 1, "overlaps"},
        {LOCAL0, 30, 1, 'D', "another name"},
        {CENTRAL0, 0, 4, 0, "entry is missing"},
        {CENTRAL0, 8, 2, 1, "is encrypted"},
        {CENTRAL0, 8, 2, 0x20, "unknown flags"},
        {CENTRAL0, 8, 2, 0x2000, "unknown flags"},
        {CENTRAL0, 8, 2, 8, "not followed by a data descriptor"},
        {CENTRAL0, 10, 2, 12, "other than deflate"},
        {CENTRAL0, 10, 2, 9, "other than deflate"},
        {CENTRAL0, 16, 4, 1, "local header that contradicts"},
        {CENTRAL0, 20, 4, 65, "sizes differ"},
        {CENTRAL0, 20, 4, 100000, "outside the file"},
        {CENTRAL0, 20, 4, 0xfffffffe, "outside the file"},
        {CENTRAL0, 24, 4, 67, "sizes differ"},
        {CENTRAL0, 24, 4, 0xffffffff, "malformed extra field"},
        {CENTRAL0, 28, 2, 0, "name is empty"},
        {CENTRAL0, 28, 2, 5000, "beyond the directory"},
        {CENTRAL0, 30, 2, 65535, "beyond the directory"},
        {CENTRAL0, 32, 2, 65535, "beyond the directory"},
        {CENTRAL0, 34, 2, 1, "another disk"},
        {CENTRAL0, 42, 4, 1, "bytes before the first member"},
        {CENTRAL0, 42, 4, 0xfffffffe, "outside the file"},
        {CENTRAL0, 46, 1, '/', "absolute"},
        {CENTRAL0, 46, 2, 0x2e2e, "\"..\""},
        {CENTRAL0, 46, 1, 0, "printable ASCII"},
        {CENTRAL0, 46, 1, 0x1b, "printable ASCII"},
        {CENTRAL0, 46, 1, 0xc3, "printable ASCII"},
        {CENTRAL0, 46, 1, 0x7f, "printable ASCII"},
        {CENTRAL1, 42, 4, 0, "overlaps"},                             /* twice the same bytes */
        {CENTRAL1, 42, 4, 20, "overlaps"},                            /* a member inside another */
        {CENTRAL1, 42, 4, 103, "overlaps"},
        {CENTRAL1, 42, 4, 105, "stray bytes"},
        {END, 0, 4, 0, "no end record"},
        {END, 4, 2, 1, "split"},
        {END, 6, 2, 1, "split"},
        {END, 8, 2, 1, "split"},
        {END, 8, 4, 0x00010001, "more than its number"},
        {END, 8, 4, 0x00030003, "too small for its number"},
        {END, 8, 4, 0xffffffff, "too small for its number"},
        {END, 12, 4, 107, "does not fill"},
        {END, 12, 4, 0xffffffff, "outside the file"},
        {END, 16, 4, 0, "does not fill"},
        {END, 16, 4, 0xffffffff, "outside the file"},
        {END, 20, 2, 1, "no end record"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        build();
        change(place(bad[i].where) + bad[i].field, bad[i].bytes, bad[i].value);
        refuse(archive, length, bad[i].message);
    }
}

static void test_fields64(void **state) {
    static const forgery bad[] = {
        {LOCATOR, 4, 4, 1, "split"},
        {LOCATOR, 16, 4, 2, "split"},
        {LOCATOR, 8, 8, 0, "not where its locator says"},
        {LOCATOR, 8, 8, UINT64_MAX, "not where its locator says"},
        {LOCATOR, 0, 4, 0, "outside the file"},                       /* then the saturated numbers count */
        {END64, 0, 4, 0, "no zip64 end record"},
        {END64, 4, 8, 45, "no zip64 end record"},
        {END64, 16, 4, 1, "split"},
        {END64, 20, 4, 1, "split"},
        {END64, 24, 8, 1, "split"},
        {END64, 40, 8, 107, "does not fill"},
        {END64, 40, 8, UINT64_MAX, "outside the file"},
        {END64, 48, 8, UINT64_C(1) << 63, "outside the file"},
        {END, 10, 2, 2, "split"},
        {END, 8, 4, 0x00030003, "contradicts the end record"},
        {END, 12, 4, 107, "contradicts the end record"},
        {END, 16, 4, 0, "contradicts the end record"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        build64();
        change(place(bad[i].where) + bad[i].field, bad[i].bytes, bad[i].value);
        refuse(archive, length, bad[i].message);
    }
    /* The number of members stands twice, and both sides of its limit give different messages. */
    for (uint64_t members = 1000000; members <= 1000001; members++) {
        build64();
        change(end + 24, 8, members);
        change(end + 32, 8, members);
        refuse(archive, length, members == 1000000 ? "too small for its number" : "more than 1000000");
    }
}

/* Changes of one member in both its records. */
static void twice(size_t in_local, size_t in_central, int bytes, uint64_t value) {
    change(local[1] + in_local, bytes, value);
    change(central[1] + in_central, bytes, value);
}

static void test_members(void **state) {
    (void)state;
    build();
    twice(33, 49, 1, 'x');
    refuse(archive, length, "tensor dd/x is there twice");
    build();
    twice(37, 53, 1, 'z');
    refuse(archive, length, "ending in .npy");
    build();
    twice(14, 16, 4, 12345);
    refuse(archive, length, "CRC is");
    build();
    twice(8, 10, 2, 8);   /* the stored bytes as deflate data */
    refuse(archive, length, "damaged compressed data");
    build();
    archive[local[1] + 38] = 'x';
    refuse(archive, length, "wrong magic");
    build();
    archive[local[1] + 38 + 58] = '3';   /* shape (3,) in a member of 2 */
    refuse(archive, length, "needs 3 bytes, the member holds 2");
    build();
    archive[local[1] + 38 + 8] = 64;     /* the header would be longer than the member */
    refuse(archive, length, "ends inside its .npy header");
    build();
    memmove(archive + local[1] + 1, archive + local[1], length - local[1]);
    length++;
    refuse(archive, length, "");
}

/* ---- forged sizes ---------------------------------------------------------------------------- */

/* One deflated member "b.npy" of `packed` zero-filled deflate bytes that declares `size` bytes. */
static void build_deflated(const void *data, size_t packed, uint64_t size, uLong crc) {
    length = 0;
    append("PK\3\4\24\0\0\0\10\0\0\0\x21\0", 14);
    number(4, crc);
    number(4, packed);
    number(4, size);
    number(4, 5);
    append("b.npy", 5);
    append(data, packed);
    size_t directory = length;
    append("PK\1\2\24\0", 6);
    append(archive + 4, 26);
    number(6, 0);
    number(8, 0);
    append("b.npy", 5);
    end = length;
    append("PK\5\6\0\0\0\0\1\0\1\0", 12);
    number(4, end - directory);
    number(4, directory);
    number(2, 0);
}

/* Deflates an npy array of |u1 zeros that declares `declared` of them and holds `held`. */
static size_t deflate_zeros(unsigned char *out, size_t room, idx declared, size_t held, uLong *crc) {
    unsigned char *plain = calloc(128 + held, 1);
    z_stream z = {0};
    int n = snprintf((char *)plain, 128, "%cNUMPY%cx%c{'descr':'|u1','fortran_order':False,'shape':(%td,)}",
                     0x93, 1, 1, declared);
    memset(plain + n, ' ', 128 - (size_t)n);
    plain[7] = 0;
    plain[8] = 118;
    plain[9] = 0;
    plain[10] = '{';
    *crc = crc32(crc32(0, NULL, 0), plain, (uInt)(128 + held));
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = plain;
    z.avail_in = (uInt)(128 + held);
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t packed = room - z.avail_out;
    deflateEnd(&z);
    free(plain);
    return packed;
}

static void test_sizes(void **state) {
    static unsigned char data[4000];
    uLong crc, hash;
    mr_err err = {0};
    (void)state;
    size_t held = 2000000, packed = deflate_zeros(data, 3000, (idx)held, held, &crc);
    build_deflated(data, packed, 128 + held, crc);   /* honest zeros compress about 1000:1 */
    if (read_all(archive, length, &hash, &err) != MR_OK) fail_msg("%s", err.text);
    build_deflated(data, packed, 1100 * packed + 1, crc);
    refuse(archive, length, "more than 1100 times");
    build_deflated(data, packed, 1100 * packed, crc);
    refuse(archive, length, "its shape needs 2000000 bytes");
    build_deflated(data, packed, 128 + held, crc + 1);
    refuse(archive, length, "CRC is");
    build_deflated(data, packed - 1, 128 + held, crc);
    refuse(archive, length, "damaged");

    /* More or fewer bytes than declared; bytes after the end of the deflate data. */
    packed = deflate_zeros(data, 3000, 1000, 1001, &crc);
    build_deflated(data, packed, 1128, crc);
    refuse(archive, length, "holds more bytes than it declares");
    packed = deflate_zeros(data, 3000, 1000, 999, &crc);
    build_deflated(data, packed, 1128, crc);
    refuse(archive, length, "holds fewer bytes than it declares");
    packed = deflate_zeros(data, 3000, 1000, 1000, &crc);
    build_deflated(data, packed, 1128, crc);
    if (read_all(archive, length, &hash, &err) != MR_OK) fail_msg("%s", err.text);
    build_deflated(data, packed + 1, 1128, crc);
    refuse(archive, length, "holds more bytes than it declares");

    /* A shape that would need exabytes is refused by its size, before memory is asked for. */
    packed = deflate_zeros(data, 3000, (idx)1 << 60, 10, &crc);
    build_deflated(data, packed, 138, crc);
    refuse(archive, length, "needs 1152921504606846976 bytes, the member holds 10");
}

static void test_no_file(void **state) {
    mr_npz *npz;
    mr_err err = {0}, folder = {0};
    (void)state;
    check_refused(mr_npz_open(scratch("absent.npz"), &npz, &err), MR_BAD, &err, "No such file");
    assert_null(npz);
    check_refused(mr_npz_open(scratch_folder, &npz, &folder), MR_BAD, &folder, "no regular file");
    assert_null(npz);
    assert_int_equal(mr_npz_open("/dev/null", &npz, NULL), MR_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built),    cmocka_unit_test(test_cut),     cmocka_unit_test(test_flip),
        cmocka_unit_test(test_fields),   cmocka_unit_test(test_fields64), cmocka_unit_test(test_members),
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests_name("npz_bad", tests, scratch_open, scratch_close);
}
