/* Forged .npz files: every field of every zip record set to a lie, each with its own message. */
#include "tests/forge.h"

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

static const forgery fields[] = {
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
    {CENTRAL0, 8, 2, 8, "local header that contradicts"},        /* streamed */
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

static void test_fields(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        build();
        change(place(fields[i].where) + fields[i].field, fields[i].bytes, fields[i].value);
        refuse(archive, length, fields[i].message);
    }
}

static const forgery fields64[] = {
    {LOCATOR, 4, 4, 1, "split"},
    {LOCATOR, 16, 4, 2, "split"},
    {LOCATOR, 8, 8, 0, "not where its locator says"},
    {LOCATOR, 8, 8, UINT64_MAX, "not where its locator says"},
    {LOCATOR, 0, 4, 0,
     "outside the file"},                       /* then the saturated numbers count */
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

static void test_fields64(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fields64 / sizeof *fields64; i++) {
        build64();
        change(place(fields64[i].where) + fields64[i].field, fields64[i].bytes, fields64[i].value);
        refuse(archive, length, fields64[i].message);
    }
    /* The number of members stands twice, and both sides of its limit give different messages. */
    for (uint64_t members = 1000000; members <= 1000001; members++) {
        build64();
        change(end + 24, 8, members);
        change(end + 32, 8, members);
        refuse(archive, length,
               members == 1000000 ? "too small for its number" : "more than 1000000");
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
    refuse(archive, length, "fewer bytes than it declares");
    build();
    archive[local[1] + 38] = 'x';
    refuse(archive, length, "wrong magic");
    build();
    archive[local[1] + 38 + 56] = '3';   /* shape (3,) in a member of 2 */
    refuse(archive, length, "needs 3 bytes, the member holds 2");
    build();
    archive[local[1] + 38 + 8] = 64;     /* the header would be longer than the member */
    refuse(archive, length, "ends inside its .npy header");
    build();
    memmove(archive + local[1] + 1, archive + local[1], length - local[1]);
    length++;
    refuse(archive, length, "");
}

/* The last member gets a data descriptor of the length and numbers given. */
static void describe(int bytes, uint32_t signature, uint32_t crc, uint64_t packed, uint64_t size) {
    unsigned char tail[256];
    int    wide = bytes >= 20 ? 8 : 4;
    build();
    twice(6, 8, 2, 8);
    change(local[1] + 14, 8, 0);   /* not known yet */
    change(local[1] + 22, 4, 0);
    size_t from = central[0], rest = length - from;
    memcpy(tail, archive + from, rest);
    length = from;
    if (bytes == 16 || bytes == 24) number(4, signature);
    number(4, crc);
    number(wide, packed);
    number(wide, size);
    size_t moved = length;
    append(tail, rest);
    change(length - 6, 4, moved);
}

static void test_descriptors(void **state) {
    (void)state;
    build();
    uint32_t crc = 0;
    for (int i = 3; i >= 0; i--) crc = crc << 8 | archive[local[1] + 14 + (size_t)i];
    for (int bytes = 12; bytes <= 24; bytes += 4) {
        uLong hash;
        mr_err err = {0};
        describe(bytes, 0x08074b50, crc, 66, 66);
        if (read_all(archive, length, &hash, &err) != MR_OK) fail_msg("%d: %s", bytes, err.text);
        describe(bytes, 0x08074b50, crc + 1, 66, 66);
        refuse(archive, length, "descriptor that contradicts");
        describe(bytes, 0x08074b50, crc, 67, 66);
        refuse(archive, length, "descriptor that contradicts");
        describe(bytes, 0x08074b50, crc, 66, 65);
        refuse(archive, length, "descriptor that contradicts");
        describe(bytes, 0x08074b51, crc, 66, 66);
        if (bytes == 16 || bytes == 24) refuse(archive, length, "descriptor that contradicts");
    }
    build();
    twice(6, 8, 2, 8);
    refuse(archive, length, "not followed by a data descriptor");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields64),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests_name("npz_forged", tests, scratch_open, scratch_close);
}
