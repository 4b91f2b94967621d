/* Damaged .npz files, cut or with any bit flipped: a message, never a crash, never other data. */
#include "tests/forge.h"

#include "tests/npz_samples.h"

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
        for (size_t n = 0; n < whole; n++) refuse(samples[s].data, n,
                                                  s == 0 && n == 0 ? "shorter" : "");
    }
}

/* A flipped bit is found, or lies in a field without meaning (versions, times, attributes, some
 * flags). */
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

/* ---- forged sizes ---------------------------------------------------------------------------- */

/* One deflated member "b.npy": `packed` bytes of `data`, which declare `size` bytes with this
 * CRC. */
static void build_deflated(const unsigned char *data, size_t packed, uint64_t size, uLong crc) {
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
static size_t deflate_zeros(unsigned char *out, size_t room, idx declared, size_t held,
                            uLong *crc) {
    unsigned char *plain = calloc(128 + held, 1);
    z_stream z = {0};
    memset(plain, ' ', 128);
    memcpy(plain, "\x93NUMPY\1\0\166\0", 10);
    int n = snprintf((char *)plain + 10, 118,
                     "{'descr':'|u1','fortran_order':False,'shape':(%td,)}", declared);
    plain[10 + n] = ' ';
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

/* Packed bytes up to either side of 65536, which are read at a time: zeros in one stored block of
 * deflate, which is its last (1), their number and its complement (RFC 1951, 3.2.4). */
static void test_pieces(void **state) {
    static unsigned char block[66000];
    (void)state;
    for (size_t packed = 65534; packed <= 65539; packed++) {
        const size_t size = packed - 5;
        unsigned char *plain = block + 5;
        uLong hash;
        mr_err err = {0};
        memset(block, 0, sizeof block);
        block[0] = 1;
        for (int i = 0; i < 2; i++) {
            block[1 + i] = (unsigned char)(size >> 8 * i & 255);
            block[3 + i] = (unsigned char)(~size >> 8 * i & 255);
        }
        memset(plain, ' ', 128);
        memcpy(plain, "\x93NUMPY\1\0\166\0", 10);
        const int n = snprintf((char *)plain + 10, 118,
                               "{'descr':'|u1','fortran_order':False,'shape':(%zu,)}", size - 128);
        plain[10 + n] = ' ';
        build_deflated(block, packed, size, crc32(crc32(0, NULL, 0), plain, (uInt)size));
        if (read_all(archive, length, &hash, &err) != MR_OK) fail_msg("%zu: %s", packed, err.text);
    }
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
    packed = deflate_zeros(data, 3000, MR_IDX_MAX / 8 + 1, 10, &crc);
    build_deflated(data, packed, 138, crc);
    refuse(archive, length, WIDE_SIZES ? "needs 1152921504606846976 bytes, the member holds 10"
                                       : "needs 268435456 bytes, the member holds 10");
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
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_flip),
        cmocka_unit_test(test_pieces), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests_name("npz_bad", tests, scratch_open, scratch_close);
}
