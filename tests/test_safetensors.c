/* safetensors headers: every rule broken once, extreme numbers, truncation, bit flips. */
#include "tests/scratch.h"

#include "weights/header.h"
#include "weights/safetensors.h"

/* A whole file: length, header, `data` zero bytes. JSON is written with ' for ". The block is
 * exactly as long as the file, so that a sanitizer sees a read past its end. */
static unsigned char *make_file(const char *json, idx data, idx *bytes) {
    const size_t n = strlen(json);
    *bytes = 8 + (idx)n + data;
    unsigned char *file = calloc((size_t)*bytes, 1);
    assert_non_null(file);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)n >> 8 * i);
    for (size_t i = 0; i < n; i++) file[8 + i] = (unsigned char)(json[i] == '\'' ? '"' : json[i]);
    return file;
}

static mr_status read_file(const unsigned char *file, idx bytes, mr_err *err) {
    mr_header header;
    unsigned char *exact = malloc(bytes > 0 ? (size_t)bytes : 1);
    assert_non_null(exact);
    if (bytes > 0) memcpy(exact, file, (size_t)bytes);
    *err = (mr_err){0};
    mr_status status = mr_header_read("f.safetensors", exact, bytes, &header, err);
    mr_header_free(&header);
    free(exact);
    return status;
}

/* text NULL: must open. */
static void check_json(const char *json, idx data, const char *text) {
    mr_err err;
    idx    bytes;
    unsigned char *file = make_file(json, data, &bytes);
    mr_status status = read_file(file, bytes, &err);
    free(file);
    if (text != NULL) check_refused(status, MR_BAD, &err, text);
    else if (status != MR_OK) fail_msg("%s: %s", json, err.text);
}

#define A8 "'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}"
#define T(dtype, shape, offsets) \
    "{'a':{'dtype':'" dtype "','shape':" shape ",'data_offsets':" offsets "}}"

/* What no size can say: as a product of 64 bits, as a number of 32 (make m32). */
#if PTRDIFF_MAX > INT32_MAX
#define OVERFLOWS "overflows"
#else
#define OVERFLOWS "dimension 0 is not a size"
#endif

static void test_rules(void **state) {
    static const struct { const char *json; idx data; const char *text; } cases[] = {
        {"{" A8 "}", 8, NULL},
        {"{" A8 "}     ", 8, NULL},
        {"{}", 0, NULL},
        {"{'__metadata__':{'format':'pt'}," A8 "}", 8, NULL},
        {T("F32", "[]", "[0,4]"), 4, NULL},
        {T("F32", "[0,3]", "[0,0]"), 0, NULL},
        {T("U8", "[1,1,1,1,1,1,1,2]", "[0,2]"), 2, NULL},
        {"{'z':{'dtype':'F32','shape':[0],'data_offsets':[8,8]}," A8 "}", 8, NULL},
        {"{" A8 ",'b':{'dtype':'BF16','shape':[1],'data_offsets':[8,10]}}", 10, NULL},
        {"{" A8 "}", 7, "cut short"},
        {"{" A8 "}", 9, "the last tensor ends at byte 8"},
        {"{}", 1, "the last tensor ends at byte 0"},
        {" {" A8 "}", 8, "must start with '{'"},
        {"{" A8 "}\n", 8, "must start with '{'"},
        {"{" A8 "}\t ", 8, "must start with '{'"},
        {"[" A8 "]", 8, "must start with '{'"},
        {"", 8, "must start with '{'"},
        {"{", 0, "must start with '{'"},
        {"{" A8 ",}", 8, "column"},
        {"{'\xff':1}", 0, "byte 0xff"},
        {"{'a\\u0000b':1}", 0, "column"},
        {"{" A8 "," A8 "}", 8, "duplicate"},
        {"{" A8 ",'\\u0061':{'dtype':'F32','shape':[0],'data_offsets':[8,8]}}", 8, "duplicate"},
        {"{'__metadata__':{},'__metadata__':{}}", 0, "duplicate"},
        {"{'a':1}", 0, "expected an object, found an integer"},
        {"{'a\\u001bb':1}", 0, "control character"},
        {"{'a':{'shape':[],'data_offsets':[0,4]}}", 4, "dtype: expected a string, found nothing"},
        {"{'a':{'dtype':7,'shape':[],'data_offsets':[0,4]}}", 4, "found an integer"},
        {"{'a':{'dtype':'F32','data_offsets':[0,4]}}", 4, "shape: expected a list, found nothing"},
        {"{'a':{'dtype':'F32','shape':[]}}", 4, "data_offsets: expected [begin, end]"},
        {T("Q4", "[2]", "[0,8]"), 8, "unknown dtype 'Q4'"},
        {T("F8_E8M0", "[8]", "[0,8]"), 8, "tensor 'a' has dtype F8_E8M0"},
        {T("BOOL", "[8]", "[0,8]"), 8, "tensor 'a' has dtype BOOL"},
        {T("F32", "{}", "[0,8]"), 8, "shape: expected a list"},
        {T("F32", "[-2]", "[0,8]"), 8, "dimension 0 is not a size"},
        {T("F32", "[2.0]", "[0,8]"), 8, "dimension 0 is not a size"},
        {T("F32", "['2']", "[0,8]"), 8, "dimension 0 is not a size"},
        {T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "expected at most 8 dimensions, found 9"},
        {T("F32", "[3]", "[0,8]"), 8, "need 12 bytes, data_offsets give 8"},
        {T("F64", "[2]", "[0,8]"), 8, "dtype F64 need 16 bytes"},
        {T("F32", "[4294967296,4294967296]", "[0,8]"), 8, OVERFLOWS},
        {T("F64", "[2305843009213693952]", "[0,8]"), 8, OVERFLOWS},
        {T("F32", "[2]", "[8,0]"), 8, "begin at 8 after their end 0"},
        {T("F32", "[2]", "[0,8,8]"), 8, "two sizes"},
        {T("F32", "[2]", "[-8,0]"), 8, "two sizes"},
        {T("F32", "[2]", "{}"), 8, "two sizes"},
        {T("F32", "[2]", "[4,12]"), 12, "a gap: bytes 0 to 4"},
        {"{" A8 ",'b':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}}", 12, "'a' and 'b' over"},
        {"{" A8 ",'b':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8, "overlap at byte 0"},
        {"{" A8 ",'b':{'dtype':'F32','shape':[2],'data_offsets':[12,20]}}", 20,
         "a gap: bytes 8 to 12"},
        {"{'__metadata__':{'n':1}," A8 "}", 8, "__metadata__: expected strings only"},
        {"{'__metadata__':[]," A8 "}", 8, "__metadata__: expected an object"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_json(cases[i].json, cases[i].data, cases[i].text);
}

/* The length field at its extremes, on a file that is otherwise good. */
static void test_length_field(void **state) {
    static const struct { uint64_t n; const char *text; } cases[] = {
        {0, "must start with"}, {1, "must start with"}, {53, "column 53"},
        {55, "must start with"}, {62, "must start with"}, {63, "only 62 follow"},
        {UINT64_C(100000000), "only 62 follow"}, {UINT64_C(100000001), "over the limit"},
        {UINT64_C(1) << 31, "over the limit"}, {UINT32_MAX, "over the limit"},
        {UINT64_C(1) << 63, "over the limit"}, {UINT64_MAX, "over the limit"}};
    mr_err err;
    idx    bytes;
    (void)state;
    unsigned char *file = make_file("{" A8 "}", 8, &bytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int b = 0; b < 8; b++) file[b] = (unsigned char)(cases[i].n >> 8 * b);
        check_refused(read_file(file, bytes, &err), MR_BAD, &err, cases[i].text);
    }
    free(file);
}

/* Every number of an entry at every extreme; only the right ones may pass. */
static void test_extreme_fields(void **state) {
    static const char *const values[] = {
        "0", "1", "2", "8", "-1", "2147483648", "4294967295", "9223372036854775807",
        "9223372036854775808", "18446744073709551615", "1e3", "'1'", "null", "true", "[]", "{}"};
    const size_t n = sizeof values / sizeof *values;
    (void)state;
    for (size_t a = 0; a < n * n * n; a++) {
        const char *shape = values[a % n], *begin = values[a / n % n], *end = values[a / n / n];
        const bool good = strcmp(shape, "2") == 0 && strcmp(begin, "0") == 0 &&
                          strcmp(end, "8") == 0;
        char json[256];
        mr_err err;
        idx bytes;
        snprintf(json, sizeof json, "{'a':{'dtype':'F32','shape':[%s],'data_offsets':[%s,%s]}}",
                 shape, begin, end);
        unsigned char *file = make_file(json, 8, &bytes);
        assert_int_equal(read_file(file, bytes, &err), good ? MR_OK : MR_BAD);
        assert_true(good || err.text[0] != '\0');
        free(file);
    }
}

/* Cut anywhere: refused. One bit of the header turned: refused or read, never a crash. */
static void test_damage(void **state) {
    mr_err err;
    idx    bytes;
    (void)state;
    unsigned char *file = make_file("{'__metadata__':{'format':'pt'}," A8 ",'b':{'dtype':'F16',"
                                    "'shape':[2,1],'data_offsets':[8,12]}}  ", 12, &bytes);
    assert_int_equal(read_file(file, bytes, &err), MR_OK);
    for (idx cut = 0; cut < bytes; cut++) {
        assert_int_equal(read_file(file, cut, &err), MR_BAD);
        assert_true(err.text[0] != '\0');
    }
    for (idx bit = 0; bit < 8 * (bytes - 12); bit++) {
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
        const mr_status status = read_file(file, bytes, &err);
        assert_true(status == MR_OK || (status == MR_BAD && err.text[0] != '\0'));
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(file);
}

/* {"aaa...":0} with a name of n letters: on both sides of the limit, told apart by the message. */
static void test_limits(void **state) {
    (void)state;
    for (int more = 0; more < 2; more++) {
        char *json = calloc(5000, 1), *names = malloc(12 * 1000001 + 8), *at = names;
        assert_non_null(json);
        assert_non_null(names);
        snprintf(json, 5000, "{'%0*d':0}", 4096 + more, 0);
        check_json(json, 0, more ? "the limit is 4096" : "expected an object");
        *at++ = '{';
        for (int i = 0; i < 1000000 + more; i++)
            at += sprintf(at, "%s'%07d':0", i > 0 ? "," : "", i);
        strcpy(at, "}");
        check_json(names, 0, more ? "more than 1000000 tensors" : "expected an object");
        free(json);
        free(names);
    }
}

static void test_not_a_file(void **state) {
    mr_tensors set;
    mr_err     err = {0};
    (void)state;
    check_refused(mr_safetensors_open(scratch("absent"), &set, &err), MR_BAD, &err, "cannot open");
    err = (mr_err){0};
    check_refused(mr_safetensors_open(scratch_folder, &set, &err), MR_BAD, &err, "expected a file");
    err = (mr_err){0};
    check_refused(mr_safetensors_open(scratch_write("empty", "", 0), &set, &err), MR_BAD, &err,
                  "too few");
    assert_int_equal(mr_safetensors_open(scratch("absent"), &set, NULL), MR_BAD);
    assert_null(set.tensor);
    mr_tensors_close(&set);                     /* fine on {0} */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules), cmocka_unit_test(test_length_field),
        cmocka_unit_test(test_extreme_fields), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_not_a_file)};
    return cmocka_run_group_tests_name("safetensors", tests, scratch_open, scratch_close);
}
