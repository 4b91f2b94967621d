/* Whole safetensors files: our bytes are the public library's, shards agree with their index. */
#include "tests/scratch.h"

#include <signal.h>
#include <sys/resource.h>

#include "weights/safetensors.h"

/* The bytes that the format's own library writes for these tensors. */
static void test_saved_bytes(void **state) {
    static const float a[2] = {1, -2};
    const mr_tensor one = {"a", MR_F32, 1, {2}, a};
    const mr_tensor many[] = {{"b", MR_BF16, 1, {1}, a}, {"c", MR_F16, 1, {1}, a},
                              {"d", MR_F32, 0, {0}, a},
                              {"e", MR_U8, 2, {3, 0}, a}, {"f", MR_I64, 1, {1}, a},
                              {"g\"\\\xc3\xa9", MR_F64, 1, {1}, a}};
    const char *const metadata[] = {"format", "pt", NULL};
    const char *want = "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"f\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
        "\"g\\\"\\\\\xc3\xa9\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]},"
        "\"d\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[20,22]},"
        "\"c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[22,24]},"
        "\"e\":{\"dtype\":\"U8\",\"shape\":[3,0],\"data_offsets\":[24,24]}}";
    mr_err     err = {0};
    mr_tensors set;
    size_t     bytes;
    (void)state;
    const char *path = scratch("one.safetensors");
    assert_int_equal(mr_safetensors_save(path, &one, 1, NULL, &err), MR_OK);
    unsigned char *file = scratch_read(path, &bytes);
    assert_int_equal(bytes, 72);
    assert_memory_equal(file, "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
                        "\"data_offsets\":[0,8]}}  \0\0\x80\x3f\0\0\0\xc0", 72);
    free(file);

    assert_int_equal(mr_safetensors_save(path, many, 6, metadata, &err), MR_OK);
    file = scratch_read(path, &bytes);
    assert_memory_equal(file + 8, want, strlen(want));
    assert_int_equal((bytes - 24) % 8, 0);
    free(file);
    assert_int_equal(mr_safetensors_open(path, &set, &err), MR_OK);
    assert_int_equal(set.count, 6);
    for (idx i = 1; i < 6; i++) assert_true(strcmp(set.tensor[i - 1].name, set.tensor[i].name) < 0);
    for (idx i = 0; i < 6; i++) {
        const mr_tensor *t = mr_tensors_find(&set, many[i].name);
        assert_non_null(t);
        const idx bytes_of = mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype);
        assert_memory_equal(t->data, a, (size_t)bytes_of);
    }
    assert_null(mr_tensors_find(&set, "h"));
    assert_null(mr_tensors_find(&set, ""));
    mr_tensors_close(&set);
}

static void test_no_tensors(void **state) {
    mr_err err = {0};
    size_t bytes;
    (void)state;
    const char *path = scratch("none.safetensors");
    assert_int_equal(mr_safetensors_save(path, NULL, 0, NULL, &err), MR_OK);
    unsigned char *file = scratch_read(path, &bytes);
    assert_int_equal(bytes, 16);
    assert_memory_equal(file, "\x08\0\0\0\0\0\0\0{}      ", 16);
    free(file);
}

/* A file system that takes no more than 100 kB: the old file stays, nothing is left beside it. */
static void test_no_room(void **state) {
    static float data[100000];
    const mr_tensor t[] = {{"a", MR_F32, 1, {100000}, data}, {"b", MR_F32, 1, {100000}, data}};
    struct rlimit before;
    mr_err err = {0};
    (void)state;
    scratch_clean(NULL);
    const char *path = scratch_write("full.safetensors", "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit little = {100000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    const mr_status status = mr_safetensors_save(path, t, 2, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    check_refused(status, MR_BAD, &err, "full.safetensors: cannot write: File too large");
    assert_int_equal(scratch_files(false), 1);
    size_t bytes;
    unsigned char *file = scratch_read(path, &bytes);
    assert_true(bytes == 3 && memcmp(file, "old", 3) == 0);
    free(file);
}

static void test_unsavable(void **state) {
    static const float a[2] = {1, 2};
    static const struct { mr_tensor tensor[2]; const char *text; } cases[] = {
        {{{"a", MR_F32, 1, {2}, a}, {"a", MR_U8, 1, {2}, a}}, "two tensors are called 'a'"},
        {{{"a", MR_F32, 1, {2}, a}, {"__metadata__", MR_U8, 1, {2}, a}}, "cannot have this name"},
        {{{"a", MR_F32, 1, {2}, a}, {"b\n", MR_U8, 1, {2}, a}}, "cannot have this name"},
        {{{"a", MR_F32, 1, {2}, a}, {"b\xff", MR_U8, 1, {2}, a}}, "not UTF-8"},
        {{{"a", MR_F32, 1, {2}, a}, {"b", MR_U8, 9, {1, 1, 1, 1, 1, 1, 1, 1}, a}},
         "0 to 8 dimensions"},
        {{{"a", MR_F32, 1, {2}, a}, {"b", MR_F64, 1, {MR_IDX_MAX / 4}, a}}, "overflows"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_err err = {0};
        const char *path = scratch("bad.safetensors");
        check_refused(mr_safetensors_save(path, cases[i].tensor, 2, NULL, &err), MR_BAD, &err,
                      cases[i].text);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

/* Two shards with tensors a and b, and every way in which an index can be wrong about them. */
static void test_shards(void **state) {
    static const struct { const char *json, *text; } cases[] = {
        {"{'weight_map':{'a':'1.safetensors','b':'2.safetensors'}}", NULL},
        {"{'metadata':{'total_size':12},'weight_map':{'a':'1.safetensors','b':'2.safetensors'}}",
         NULL},
        {"{'metadata':{'total_size':12.0,'x':1},'weight_map':{'b':'2.safetensors',"
         "'a':'1.safetensors'}}", NULL},
        {"{'metadata':{'total_size':16},'weight_map':{'a':'1.safetensors','b':'2.safetensors'}}",
         "total_size is 16, but the shards hold 12"},
        {"{'metadata':{'total_size':'x'},'weight_map':{'a':'1.safetensors','b':'2.safetensors'}}",
         "total_size: expected a number"},
        {"{'metadata':3,'weight_map':{}}", "metadata: expected an object"},
        {"{'metadata':{}}", "weight_map is missing"},
        {"[]", "expected an object"},
        {"{'weight_map':{'a':1}}", "expected file names"},
        {"{'weight_map':{'a':'../1.safetensors'}}", "outside its folder"},
        {"{'weight_map':{'a':'/etc/passwd'}}", "outside its folder"},
        {"{'weight_map':{'a':'x\\\\1.safetensors'}}", "outside its folder"},
        {"{'weight_map':{'a':''}}", "outside its folder"},
        {"{'weight_map':{'a':'3.safetensors'}}", "3.safetensors: cannot open"},
        {"{'weight_map':{'a':'1.safetensors','c':'1.safetensors','b':'2.safetensors'}}",
         "tensor 'c' is missing from 1.safetensors"},
        {"{'weight_map':{'c':'1.safetensors'}}",
         "tensor 'a' of 1.safetensors is not in the weight_map"},
        {"{'weight_map':{'a':'1.safetensors','b':'2.safetensors','x':'dup.safetensors'}}",
         "is a duplicate or misplaced in dup.safetensors"},
        {"{'weight_map':{'a':'1.safetensors','a':'2.safetensors'}}", "duplicate"},
    };
    static const float data[2] = {1, 2};
    const mr_tensor a = {"a", MR_F32, 1, {2}, data}, b = {"b", MR_F32, 1, {1}, data};
    mr_err err = {0};
    (void)state;
    assert_int_equal(mr_safetensors_save(scratch("1.safetensors"), &a, 1, NULL, &err), MR_OK);
    assert_int_equal(mr_safetensors_save(scratch("2.safetensors"), &b, 1, NULL, &err), MR_OK);
    assert_int_equal(mr_safetensors_save(scratch("dup.safetensors"), &a, 1, NULL, &err), MR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_tensors set;
        char       json[512];
        snprintf(json, sizeof json, "%s", cases[i].json);
        for (char *c = json; *c != '\0'; c++)
            if (*c == '\'') *c = '"';
        const char *path = scratch_write("model.safetensors.index.json", json, strlen(json));
        err = (mr_err){0};
        mr_status status = mr_safetensors_open(path, &set, &err);
        if (cases[i].text != NULL) {
            check_refused(status, MR_BAD, &err, cases[i].text);
            assert_null(set.owner);
            continue;
        }
        if (status != MR_OK) fail_msg("%s", err.text);
        assert_int_equal(set.count, 2);
        assert_memory_equal(mr_tensors_find(&set, "b")->data, data, 4);
        mr_tensors_close(&set);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_saved_bytes),
                                       cmocka_unit_test(test_no_tensors),
                                       cmocka_unit_test(test_no_room),
                                       cmocka_unit_test(test_unsavable),
                                       cmocka_unit_test(test_shards)};
    return cmocka_run_group_tests_name("safetensors_files", tests, scratch_open, scratch_close);
}
