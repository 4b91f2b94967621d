/* Traces in both kinds of file: every type as doubles, meta, and runs of several calls joined. */
#include "tests/scratch.h"

#include <math.h>

#include "golden/trace.h"
#include "tests/npz_samples.h"

/* The macros of <math.h> are floats. */
#define NAN64 ((double)NAN)
#define INF64 ((double)INFINITY)

static const char *const endings[] = {"t.npz", "t.safetensors"};

static mr_trace *open_good(const char *path) {
    mr_trace *trace;
    mr_err err = {0};
    must(mr_trace_open(path, &trace, &err), &err);
    return trace;
}

/* The tensor has this type, shape and these values (NaN equals NaN). */
static void expect(mr_trace *trace, const char *name, mr_dtype dtype, int rank, const idx *dim,
                   const double *want) {
    mr_err err = {0};
    idx i = mr_trace_find(trace, name);
    if (i < 0) fail_msg("%s is missing", name);
    const mr_tensor *t = mr_trace_tensor(trace, i);
    assert_string_equal(t->name, name);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->rank, rank);
    assert_null(t->data);
    for (int k = 0; k < rank; k++) assert_int_equal(t->dim[k], dim[k]);
    idx count = mr_count(rank, dim);
    double *got = malloc((size_t)(count + 1) * sizeof *got);
    got[count] = 42;
    must(mr_trace_read(trace, i, got, &err), &err);
    for (idx k = 0; k < count; k++)
        if (!(got[k] == want[k] || (isnan(got[k]) && isnan(want[k]))))
            fail_msg("%s[%td]: got %.17g, want %.17g", name, k, got[k], want[k]);
    assert_true(got[count] == 42);   /* nothing was written behind the end */
    free(got);
}

/* ---- types ----------------------------------------------------------------------------------- */

/* The same numbers in every type; the bits of the 16-bit ones are from the formats' definitions. */
static void test_types(void **state) {
    static const double   f64[] = {1, -2, 0.1, NAN64, INF64};
    static const float    f32[] = {1, -2, 0.1f, NAN, -INFINITY};
    static const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x7e00, 0x7c00};
    static const uint16_t bf16[] = {0x3f80, 0xc000, 0x0001, 0x7fc0, 0xff80};
    static const int64_t  i64[] = {1, -2, 9007199254740992, 0, -9007199254740992};
    static const int32_t  i32[] = {1, -2, INT32_MAX, 0, INT32_MIN};
    static const uint16_t u16[] = {1, 2, 65535, 0, 7};
    static const uint8_t  u8[] = {1, 2, 255, 0, 7};
    static const struct {
        const char *name;
        mr_dtype    dtype;
        const void *data;
        double      want[5];
    } all[] = {
        {"f64", MR_F64, f64, {1, -2, 0.1, NAN64, INF64}},
        {"f32", MR_F32, f32, {1, -2, 13421773 / 134217728.0, NAN64, -INF64}},
        {"f16", MR_F16, f16, {1, -2, 1 / 16777216.0, NAN64, INF64}},
        {"bf16", MR_BF16, bf16, {1, -2, 0x1p-133, NAN64, -INF64}},
        {"i64", MR_I64, i64, {1, -2, 9007199254740992.0, 0, -9007199254740992.0}},
        {"i32", MR_I32, i32, {1, -2, 2147483647, 0, -2147483648.0}},
        {"u16", MR_U16, u16, {1, 2, 65535, 0, 7}},
        {"u8", MR_U8, u8, {1, 2, 255, 0, 7}},
    };
    (void)state;
    for (int e = 0; e < 2; e++)
        for (idx calls = 1; calls <= 2; calls++) {
            mr_trace_writer *writer;
            mr_err err = {0};
            must(mr_trace_create(scratch(endings[e]), calls, &writer, &err), &err);
            for (int i = 0; i < 8; i++)
                must(mr_trace_add(writer,
                                  &(mr_tensor){all[i].name, all[i].dtype, 1, {5}, all[i].data},
                                  &err), &err);
            must(mr_trace_add(writer, &(mr_tensor){"none", MR_F32, 2, {0, 3}, NULL}, &err), &err);
            must(mr_trace_add(writer, &(mr_tensor){"loss.x", MR_F64, 0, {0}, f64}, &err), &err);
            must(mr_trace_finish(writer, "{\"seed\": 1}", &err), &err);

            mr_trace *trace = open_good(scratch(endings[e]));
            assert_int_equal(mr_trace_count(trace), 10);
            assert_string_equal(mr_trace_meta(trace), "{\"seed\": 1}");
            assert_int_equal(mr_trace_find(trace, "meta"), -1);
            assert_int_equal(mr_trace_find(trace, "absent"), -1);
            for (int i = 0; i < 8; i++) expect(trace, all[i].name, all[i].dtype, 1, (idx[]){5},
                                               all[i].want);
            expect(trace, "none", MR_F32, 2, (idx[]){0, 3}, NULL);
            expect(trace, "loss.x", MR_F64, 0, NULL, (double[]){1});
            for (idx i = 0; i < 10; i++)   /* the index is right on both sides of meta */
                assert_int_equal(mr_trace_find(trace, mr_trace_tensor(trace, i)->name), i);
            mr_trace_close(trace);
        }
    mr_trace_close(NULL);
}

static void test_no_meta(void **state) {
    (void)state;
    for (int e = 0; e < 2; e++) {
        mr_trace_writer *writer;
        mr_err err = {0};
        must(mr_trace_create(scratch(endings[e]), 1, &writer, &err), &err);
        must(mr_trace_add(writer, &(mr_tensor){"zz", MR_U8, 1, {1}, "a"}, &err), &err);
        must(mr_trace_finish(writer, e == 0 ? NULL : "", &err), &err);
        mr_trace *trace = open_good(scratch(endings[e]));
        assert_string_equal(mr_trace_meta(trace), "");
        assert_int_equal(mr_trace_count(trace), 1);
        expect(trace, "zz", MR_U8, 1, (idx[]){1}, (double[]){'a'});
        mr_trace_close(trace);
    }
}

static void test_numpy(void **state) {
    static const double a[] = {1.5, -2, 3, 0.25, INF64, -0.0};
    (void)state;
    mr_trace *trace = open_good(scratch_write("n.npz", numpy_deflated, sizeof numpy_deflated));
    assert_int_equal(mr_trace_count(trace), 3);
    expect(trace, "a", MR_F32, 2, (idx[]){2, 3}, a);
    expect(trace, "b", MR_F64, 0, NULL, (double[]){-1e300});
    expect(trace, "c", MR_I32, 2, (idx[]){0, 4}, NULL);
    mr_trace_close(trace);
}

/* ---- several calls --------------------------------------------------------------------------- */

/* value of the whole tensor at [h, t, s]: what joining has to give back. */
static float value(idx h, idx t, idx s) { return (float)(100 * h + 10 * t + s); }

/* A run of T = 6 in calls of 3, 1, 0 and 2 tokens: q [T,2,2], scores [2,T,4], a cache at the
 * end, a loss. */
static void write_run(mr_trace_writer *writer) {
    static const idx calls[] = {3, 1, 0, 2};
    mr_err err = {0};
    for (idx c = 0, first = 0; c < 4; first += calls[c++]) {
        float q[12], scores[24], h_part[3];
        idx   n = calls[c], at = 0;
        for (idx t = 0; t < n; t++)
            for (idx k = 0; k < 4; k++) q[at++] = value(k / 2, first + t, k % 2);
        at = 0;
        for (idx h = 0; h < 2; h++)
            for (idx t = 0; t < n; t++)
                for (idx s = 0; s < 4; s++) scores[at++] = value(h, first + t, s);
        for (idx t = 0; t < n; t++) h_part[t] = (float)(first + t);
        must(mr_trace_add(writer, &(mr_tensor){"layers.0.q", MR_F32, 3, {n, 2, 2}, q}, &err), &err);
        must(mr_trace_add(writer, &(mr_tensor){"layers.0.scores", MR_F32, 3, {2, n, 4}, scores},
                          &err), &err);
        must(mr_trace_add(writer, &(mr_tensor){"layers.0.probs", MR_F32, 3, {2, n, 4}, scores},
                          &err), &err);
        must(mr_trace_add(writer, &(mr_tensor){"h", MR_F32, 1, {n}, h_part}, &err), &err);
        memset(q, 0, sizeof q);   /* the writer must have its own copy */
        memset(scores, 0, sizeof scores);
    }
    must(mr_trace_add(writer, &(mr_tensor){"layers.0.cache_k", MR_U8, 1, {2}, "\1\2"}, &err), &err);
    must(mr_trace_add(writer, &(mr_tensor){"loss", MR_F64, 0, {0}, &(double){0.5}}, &err), &err);
}

static void test_calls(void **state) {
    double q[24], scores[48];
    (void)state;
    for (idx i = 0; i < 24; i++) q[i] = (double)value(i % 4 / 2, i / 4, i % 2);
    for (idx i = 0; i < 48; i++) scores[i] = (double)value(i / 24, i / 4 % 6, i % 4);
    for (int e = 0; e < 2; e++) {
        mr_trace_writer *writer;
        mr_err err = {0};
        must(mr_trace_create(scratch(endings[e]), 4, &writer, &err), &err);
        write_run(writer);
        must(mr_trace_finish(writer, "{}", &err), &err);
        mr_trace *trace = open_good(scratch(endings[e]));
        assert_int_equal(mr_trace_count(trace), 6);
        expect(trace, "layers.0.q", MR_F32, 3, (idx[]){6, 2, 2}, q);
        expect(trace, "layers.0.scores", MR_F32, 3, (idx[]){2, 6, 4}, scores);
        expect(trace, "layers.0.probs", MR_F32, 3, (idx[]){2, 6, 4}, scores);
        expect(trace, "h", MR_F32, 1, (idx[]){6}, (double[]){0, 1, 2, 3, 4, 5});
        expect(trace, "layers.0.cache_k", MR_U8, 1, (idx[]){2}, (double[]){1, 2});
        expect(trace, "loss", MR_F64, 0, NULL, (double[]){0.5});
        if (e == 0) assert_string_equal(mr_trace_tensor(trace, 1)->name,
                                        "layers.0.scores");   /* order kept */
        mr_trace_close(trace);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_no_meta),
        cmocka_unit_test(test_numpy),
        cmocka_unit_test(test_calls),
    };
    return cmocka_run_group_tests_name("trace", tests, scratch_open, scratch_close);
}
