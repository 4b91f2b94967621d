/* The .npy header: bytes written out by hand, and one message per broken rule of the grammar. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "golden/npy.h"

/* ---- writing --------------------------------------------------------------------------------- */

/* The header that the format's description asks for, assembled from its dictionary. */
static void expect_header(const mr_tensor *tensor, const char *dictionary) {
    unsigned char header[MR_NPY_FORMAT], want[MR_NPY_FORMAT];
    size_t n = strlen(dictionary), length = n + 11 <= 64 ? 64 : n + 11 <= 128 ? 128 : 256;
    memset(want, ' ', sizeof want);
    memcpy(want, "\x93NUMPY\x01\x00", 8);
    want[8] = (unsigned char)((length - 10) & 255);
    want[9] = (unsigned char)((length - 10) >> 8);
    memcpy(want + 10, dictionary, n);
    want[length - 1] = '\n';
    assert_int_equal(mr_npy_format(tensor, header), length);
    assert_memory_equal(header, want, length);

    /* What is written can be read, and says the same. */
    mr_tensor back = {0};
    mr_err err = {0};
    idx total = 0;
    assert_int_equal(mr_npy_length(header, "x", &total, &err), MR_OK);
    assert_int_equal(total, length);
    assert_int_equal(mr_npy_parse(header, total, "x", &back, &err), MR_OK);
    assert_int_equal(back.dtype, tensor->dtype == MR_BF16 ? MR_U16 : tensor->dtype);
    assert_int_equal(back.rank, tensor->rank);
    for (int i = 0; i < back.rank; i++) assert_int_equal(back.dim[i], tensor->dim[i]);
}

static void test_format(void **state) {
    mr_tensor t = {"t", MR_F64, 2, {3, 4}, NULL};
    (void)state;
    expect_header(&t, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }");
    t.rank = 1;
    t.dtype = MR_F32;
    expect_header(&t, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }");
    t.rank = 0;
    t.dtype = MR_U8;
    expect_header(&t, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }");
    t = (mr_tensor){"t", MR_BF16, 3, {0, 9, 1}, NULL};
    expect_header(&t, "{'descr': '<u2', 'fortran_order': False, 'shape': (0, 9, 1), }");
    t.dtype = MR_U16;
    expect_header(&t, "{'descr': '<u2', 'fortran_order': False, 'shape': (0, 9, 1), }");
    t.dtype = MR_F16;
    expect_header(&t, "{'descr': '<f2', 'fortran_order': False, 'shape': (0, 9, 1), }");
    t.dtype = MR_I32;
    expect_header(&t, "{'descr': '<i4', 'fortran_order': False, 'shape': (0, 9, 1), }");
    t = (mr_tensor){"t", MR_I64, 8, {0, 1, 2, 3, 4, 5, 6, INT32_MAX}, NULL};
    expect_header(&t, "{'descr': '<i8', 'fortran_order': False, "
                  "'shape': (0, 1, 2, 3, 4, 5, 6, 2147483647), }");
}

/* The longest header of all: eight dimensions of 19 digits, where a zero keeps the product
 * small. */
static void test_format_longest(void **state) {
    mr_tensor t = {"t", MR_F64, 8, {0}, NULL}, back = {0};
    unsigned char header[MR_NPY_FORMAT];
    mr_err err = {0};
    (void)state;
    for (int i = 1; i < 8; i++) t.dim[i] = MR_IDX_MAX;
    idx length = mr_npy_format(&t, header);
    assert_true(length % 64 == 0 && length <= MR_NPY_FORMAT);
    assert_int_equal(mr_npy_parse(header, length, "x", &back, &err), MR_OK);
    assert_int_equal(back.dim[7], MR_IDX_MAX);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A whole header around a dictionary; its length has 2 bytes in version 1, 4 in versions 2 and
 * 3. */
static idx wrap_version(unsigned char *header, int version, const char *dictionary) {
    size_t n = strlen(dictionary), before = version == 1 ? 10 : 12;
    memcpy(header, "\x93NUMPY\x00\x00\x00\x00\x00\x00", 12);
    header[6] = (unsigned char)version;
    header[8] = (unsigned char)(n & 255);
    header[9] = (unsigned char)(n >> 8);
    memcpy(header + before, dictionary, n);
    return (idx)(n + before);
}

static idx wrap(unsigned char *header, const char *dictionary) {
    return wrap_version(header, 1, dictionary);
}

static void test_accepted(void **state) {
    static const struct {
        const char *dictionary;
        mr_dtype    dtype;
        int         rank;
        idx         dim[3];
    } good[] = {
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", MR_F64, 0, {0}},
        {"{'descr':'<f4','fortran_order':False,'shape':(7,)}", MR_F32, 1, {7}},
        {"{\"shape\": (1, 2, 3), \"fortran_order\": False, \"descr\": \"<f2\"}   \n", MR_F16, 3,
         {1, 2, 3}},
        {" { 'fortran_order' : False , 'shape' : ( 5 , 0 , ) , 'descr' : '<i8' , } ", MR_I64, 2,
         {5, 0}},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,)}", MR_I32, 1, {1}},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (1,)}", MR_U16, 1, {1}},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", MR_U8, 1, {1}},
        {"{'descr': '<u1', 'fortran_order': False, 'shape': (1,)}", MR_U8, 1, {1}},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", MR_U8, 1, {1}},
    };
    (void)state;
    for (size_t n = 0; n < 3 * sizeof good / sizeof *good; n++) {
        unsigned char header[512];
        mr_tensor t = {0};
        mr_err err = {0};
        size_t i = n / 3;
        idx length = wrap_version(header, 1 + (int)(n % 3), good[i].dictionary), total = 0;
        assert_int_equal(mr_npy_length(header, "x", &total, &err), MR_OK);
        assert_int_equal(total, length);
        if (mr_npy_parse(header, length, "x", &t, &err) != MR_OK) fail_msg("%s", err.text);
        assert_int_equal(t.dtype, good[i].dtype);
        assert_int_equal(t.rank, good[i].rank);
        for (int k = 0; k < t.rank; k++) assert_int_equal(t.dim[k], good[i].dim[k]);
    }
}

/* What is larger than any size. */
#if PTRDIFF_MAX > INT32_MAX
#define OVERFLOWS "its size in bytes overflows"
#else
#define OVERFLOWS "a dimension is too large"
#endif

#define START "{'descr': '<f8', 'fortran_order': False, "

static const struct {
    const char *dictionary, *message;
} refused[] = {
    {"", "expected '{'"},
    {"[1, 2]", "expected '{'"},
    {"{", "a key in quotes"},
    {"{descr: '<f8'}", "a key in quotes, found \"descr: '<f8'}\""},
    {"{'descr", "a key in quotes"},
    {"{'descr' '<f8'}", "':' after a key"},
    {"{'descr': <f8}", "a dtype in quotes"},
    {"{'descr': ''}", "dtype '' is not supported"},
    {"{'descr': '>f4'}", "big-endian"},
    {"{'descr': '<U5'}", "numpy.frombuffer(text.encode()"},
    {"{'descr': '|O'}", "pickled"},
    {"{'descr': '<c16'}", "dtype '<c16' is not supported; convert"},
    {"{'descr': '<i2'}", "NAME.bf16"},
    {"{'descr': '<f8 and a name that is far too long to be that of a type'}", "is not supported"},
    {"{'descr': [('a', '<f8')]}", "structured dtype"},
    {"{'descr': '<f8', 'descr': '<f8'}", "key 'descr' twice"},
    {"{'order': False}", "unknown key 'order'"},
    {"{'fortran_order': True}", "Fortran order; save numpy.ascontiguousarray"},
    {"{'fortran_order': 0}", "True or False"},
    {"{'fortran_order': Falsehood}", "',' or '}'"},
    {START "}", "descr, fortran_order or shape is missing"},
    {"{}", "descr, fortran_order or shape is missing"},
    {START "'shape': (2, 3)", "',' or '}'"},
    {START "'shape': (2, 3) 'x'}", "',' or '}'"},
    {START "'shape': (2, 3)} x", "nothing but spaces after '}', found \"x\""},
    {START "'shape': [2, 3]}", "a shape in parentheses"},
    {START "'shape': 6}", "a shape in parentheses"},
    {START "'shape': (6)}", "a comma in the shape of rank 1"},
    {START "'shape': (2 3)}", "',' or ')' in the shape"},
    {START "'shape': (2,, 3)}", "a dimension"},
    {START "'shape': (,)}", "a dimension"},
    {START "'shape': (-1,)}", "a dimension"},
    {START "'shape': (+1,)}", "a dimension"},
    {START "'shape': (01,)}", "a dimension"},
    {START "'shape': (1.5,)}", "',' or ')' in the shape"},
    {START "'shape': (10L,)}", "',' or ')' in the shape"},
    {START "'shape': (True,)}", "a dimension"},
    {START "'shape': (2**3,)}", "',' or ')' in the shape"},
    {START "'shape': (__import__('os'),)}", "a dimension, found \"__import__('os'),)}\""},
    {START "'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}", "more than 8 dimensions"},
    {START "'shape': (99999999999999999999,)}", "a dimension is too large"},
    {START "'shape': (9223372036854775808,)}", "a dimension is too large"},
    {START "'shape': (9223372036854775807,)}", OVERFLOWS},
    {START "'shape': (4294967296, 4294967296)}", OVERFLOWS},
    {START "'shape': (1152921504606846976,)}", OVERFLOWS},
    {START "'shape': (3,), 'shape': (3,)}", "key 'shape' twice"},
    {START "'shape': (3,),,}", "a key in quotes"},
    {START "'shape': (\x01\xff", "a dimension, found \"??\""},
    {START "'shape': ( ~\x7f", "a dimension, found \"~?\""},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        unsigned char header[512];
        mr_tensor t = {0};
        mr_err err = {0};
        idx length = wrap(header, refused[i].dictionary);
        check_refused(mr_npy_parse(header, length, "file.npz: member x", &t, &err), MR_BAD, &err,
                      refused[i].message);
        assert_int_equal(strncmp(err.text, "file.npz: member x: ", 20), 0);
    }
}

/* Every proper prefix of a good dictionary is refused. */
static void test_cut(void **state) {
    static const char whole[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }";
    (void)state;
    for (size_t n = 0; n + 1 < sizeof whole; n++) {
        char part[sizeof whole];
        unsigned char header[512];
        mr_tensor t = {0};
        mr_err err = {0};
        memcpy(part, whole, n);
        part[n] = '\0';
        assert_int_equal(mr_npy_parse(header, wrap(header, part), "x", &t, &err), MR_BAD);
    }
}

static mr_status length_of(const char *first, idx *length, mr_err *err) {
    return mr_npy_length((const unsigned char *)first, "x", length, err);
}

static void test_length(void **state) {
    static const struct {
        const char *first, *message;
    } bad[] = {
        {"\x92NUMPY\1\0\20\0\0\0", "wrong magic"},
        {"PK\3\4\0\0\0\0\0\0\0\0", "wrong magic"},
        {"\x93NUMPY\0\0\20\0\0\0", "version 0.0"},
        {"\x93NUMPY\4\0\20\0\0\0", "version 4.0"},
        {"\x93NUMPY\1\1\20\0\0\0", "version 1.1"},
        {"\x93NUMPY\1\0\1\0\0\0", "too short"},
        {"\x93NUMPY\1\0\xff\xff\0\0", "header of 65545 bytes, limit is 65536"},
        {"\x93NUMPY\2\0\xf5\xff\0\0", "header of 65537 bytes"},
        {"\x93NUMPY\3\0\0\0\1\0", "header of 65548 bytes"},
        {"\x93NUMPY\2\0\xff\xff\xff\xff", "header of 4294967307 bytes"},
    };
    mr_err err = {0};
    idx length = 0;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mr_err why = {0};
        check_refused(length_of(bad[i].first, &length, &why), MR_BAD, &why, bad[i].message);
    }
    /* The other side of each limit. */
    assert_int_equal(length_of("\x93NUMPY\1\0\2\0\0\0", &length, &err), MR_OK);
    assert_int_equal(length, 12);
    assert_int_equal(length_of("\x93NUMPY\1\0\xf6\xff\0\0", &length, &err), MR_OK);
    assert_int_equal(length, 65536);
    assert_int_equal(length_of("\x93NUMPY\2\0\xf4\xff\0\0", &length, &err), MR_OK);
    assert_int_equal(length, 65536);
    assert_int_equal(length_of("\x93NUMPY\3\0\0\0\0\0", &length, &err), MR_OK);
    assert_int_equal(length, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),   cmocka_unit_test(test_format_longest),
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cut),      cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests_name("npy", tests, NULL, NULL);
}
