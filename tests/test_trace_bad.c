/* Traces that must not be written or read: a message for each, and nothing left behind. */
#include "tests/scratch.h"

#include "golden/npz.h"
#include "golden/trace.h"
#include "weights/safetensors.h"

static const char *const endings[] = {"t.npz", "t.safetensors"};

/* Adding `second` after `first` fails with this message, and nothing is left behind. */
static void refuse(int ending, idx calls, mr_tensor first, mr_tensor second, const char *text) {
    mr_trace_writer *writer;
    mr_err err = {0};
    scratch_files(true);
    must(mr_trace_create(scratch(endings[ending]), calls, &writer, &err), &err);
    must(mr_trace_add(writer, &first, &err), &err);
    check_refused(mr_trace_add(writer, &second, &err), MR_BAD, &err, text);
    mr_trace_abandon(writer);
    assert_int_equal(scratch_files(false), 0);
}

static void test_refused(void **state) {
    const mr_tensor x = {"x", MR_U8, 2, {2, 2}, "abcd"};
    (void)state;
    for (int e = 0; e < 2; e++) {
        const char *twice = e == 0 ? "written twice" : "comes twice";
        refuse(e, 1, x, x, twice);
        refuse(e, 2, x, (mr_tensor){"x", MR_U8, 2, {1, 3}, "abc"},
               "along axis 1 expected 2, found 3");
        refuse(e, 2, x, (mr_tensor){"x", MR_U16, 2, {1, 2}, "abcd"},
               "expected U8 of rank 2 as in the first call");
        refuse(e, 2, x, (mr_tensor){"x", MR_U8, 1, {2}, "ab"}, "found U8 of rank 1");
        refuse(e, 2, (mr_tensor){"a.scores", MR_U8, 3, {2, 1, 2}, "abcd"},
               (mr_tensor){"a.scores", MR_U8, 3, {1, 2, 2},
                           "abcd"}, "along axis 1 only; along axis 0 expected 2");
        refuse(e, 2, (mr_tensor){"loss", MR_U8, 0, {0}, "a"},
               (mr_tensor){"loss", MR_U8, 0, {0}, "a"}, "comes twice");
        refuse(e, 2, (mr_tensor){"l.cache_v", MR_U8, 1, {1}, "a"},
               (mr_tensor){"l.cache_v", MR_U8, 1, {1}, "a"}, "comes twice");
        refuse(e, 2, x, (mr_tensor){"meta", MR_U8, 1, {1}, "a"}, "name meta is taken");
        refuse(e, 2, x, (mr_tensor){"y", MR_U8, 1, {-1}, "a"}, "impossible shape");
        refuse(e, 2, x, (mr_tensor){"y", MR_U8, 9, {1}, "a"}, "impossible shape");
        refuse(e, 2, x, (mr_tensor){"y", MR_U8, 1, {1}, NULL}, "no data");
    }
    mr_trace_abandon(NULL);
}

static void test_paths(void **state) {
    mr_trace_writer *writer;
    mr_trace *trace;
    mr_err e[5] = {{0}};
    (void)state;
    check_refused(mr_trace_create(scratch("t.npy"), 1, &writer, &e[0]), MR_BAD, &e[0],
                  "must end in .npz");
    check_refused(mr_trace_open(scratch("t"), &trace, &e[1]), MR_BAD, &e[1], "must end in .npz");
    check_refused(mr_trace_create(scratch("no/t.npz"), 1, &writer, &e[2]), MR_BAD, &e[2],
                  "cannot create");
    check_refused(mr_trace_create(scratch("no/t.safetensors"), 1, &writer, &e[3]), MR_BAD, &e[3],
                  "cannot create");
    check_refused(mr_trace_open(scratch("no.npz"), &trace, &e[4]), MR_BAD, &e[4], "No such file");
}

/* A finished trace replaces an old file at once, an abandoned one does not touch it. */
static void test_abandon(void **state) {
    (void)state;
    for (int e = 0; e < 2; e++)
        for (idx calls = 1; calls <= 2; calls++) {
            mr_trace_writer *writer;
            mr_err err = {0};
            size_t bytes;
            scratch_files(true);
            const char *path = scratch_write(endings[e], "old", 3);
            must(mr_trace_create(path, calls, &writer, &err), &err);
            must(mr_trace_add(writer, &(mr_tensor){"x", MR_U8, 1, {1}, "a"}, &err), &err);
            mr_trace_abandon(writer);
            unsigned char *old = scratch_read(path, &bytes);
            assert_int_equal(bytes, 3);
            assert_memory_equal(old, "old", 3);
            assert_int_equal(scratch_files(false), 1);
            free(old);
        }
}

static void refuse_meta(const mr_tensor *meta, const char *text) {
    for (int e = 0; e < 2; e++) {
        mr_npz_writer *writer;
        mr_trace *trace;
        mr_err err = {0};
        const char *path = scratch(endings[e]);
        if (e == 0) {
            must(mr_npz_create(path, &writer, &err), &err);
            must(mr_npz_add(writer, meta, &err), &err);
            must(mr_npz_finish(writer, &err), &err);
        } else {
            must(mr_safetensors_save(path, meta, 1, NULL, &err), &err);
        }
        check_refused(mr_trace_open(path, &trace, &err), MR_BAD, &err, text);
        assert_null(trace);
    }
}

static void test_bad_meta(void **state) {
    (void)state;
    refuse_meta(&(mr_tensor){"meta", MR_I32, 1, {1}, "abcd"}, "expected JSON text as U8 of rank 1");
    refuse_meta(&(mr_tensor){"meta", MR_U8, 2, {2, 2}, "abcd"},
                "expected JSON text as U8 of rank 1");
    refuse_meta(&(mr_tensor){"meta", MR_U8, 0, {0}, "a"}, "expected JSON text as U8 of rank 1");
    refuse_meta(&(mr_tensor){"meta", MR_U8, 1, {3}, "a\0b"}, "NUL byte");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_bad_meta),
    };
    return cmocka_run_group_tests_name("trace_bad", tests, scratch_open, scratch_close);
}
