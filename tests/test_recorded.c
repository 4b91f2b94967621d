/* Traces in a narrower type than the run's: no false alarm over every golden case, and seeded bugs
 * are still found. */
#include "tests/command.h"

#include "golden/trace.h"
#include "ref/half.h"

#define CASES "golden/cases/"

/* The trace with every real tensor in another element type. */
static void save_as(const char *from, const char *to, mr_dtype type) {
    mr_err e = {0};
    mr_trace *in;
    mr_trace_writer *w;
    if (mr_trace_open(from, &in, &e) || mr_trace_create(to, 1, &w, &e)) fail_msg("%s", e.text);
    for (idx i = 0; i < mr_trace_count(in); i++) {
        mr_tensor t = *mr_trace_tensor(in, i);
        const idx n = mr_count(t.rank, t.dim);
        double *x = malloc((size_t)(n + 1) * sizeof *x);
        void *data = malloc((size_t)(n + 1) * sizeof *x);
        assert_int_equal(mr_trace_read(in, i, x, &e), MR_OK);
        const bool real = t.dtype == MR_F64 || t.dtype == MR_F32 || t.dtype == MR_BF16;
        for (idx k = 0; k < n; k++) {
            if (t.dtype == MR_I32) ((int32_t *)data)[k] = (int32_t)x[k];
            else if (!real) ((uint8_t *)data)[k] = (uint8_t)x[k];
            else if (type == MR_F32) ((float *)data)[k] = (float)x[k];
            else ((uint16_t *)data)[k] = type == MR_BF16 ? mr_double_to_bf16(x[k])
                                                         : mr_double_to_half(x[k]);
        }
        if (real) t.dtype = type;
        t.data = data;
        if (mr_trace_add(w, &t, &e) != MR_OK) fail_msg("%s", e.text);
        free(x);
        free(data);
    }
    if (mr_trace_finish(w, mr_trace_meta(in), &e) != MR_OK) fail_msg("%s", e.text);
    mr_trace_close(in);
}

/* Traces of this precision below golden/cases, saved as that type: all of them agree. */
static void check_cases(const char *precision, mr_dtype type) {
    int cases = 0;
    DIR *all = opendir(CASES);
    assert_non_null(all);
    for (struct dirent *m; (m = readdir(all)) != NULL; ) {
        char folder[300], path[900], command[2000];
        snprintf(folder, sizeof folder, CASES "%.200s", m->d_name);
        DIR *one = m->d_name[0] != '.' ? opendir(folder) : NULL;
        for (struct dirent *e; one != NULL && (e = readdir(one)) != NULL; ) {
            if (strstr(e->d_name, precision) == NULL) continue;
            snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
            save_as(path, scratch("port.npz"), type);
            snprintf(command, sizeof command, "compare %s @/port.npz --model %s", path, folder);
            if (run(command) != 0) fail_msg("%s:\n%s%s", path, out, err);
            cases++;
        }
        if (one != NULL) closedir(one);
    }
    closedir(all);
    assert_true(cases >= 15);
}

static void test_f64_as_f32(void **state) { (void)state, check_cases(".f64.", MR_F32); }
static void test_f64_as_bf16(void **state) { (void)state, check_cases(".f64.", MR_BF16); }
static void test_f32_as_bf16(void **state) { (void)state, check_cases(".f32.", MR_BF16); }
static void test_f32_as_f16(void **state) { (void)state, check_cases(".f32.", MR_F16); }
static void test_bf16_as_f16(void **state) { (void)state, check_cases(".bf16.", MR_F16); }

/* A run of ours with another option, recorded narrower: found where it is, and the report says that
 * the recording was taken into account. */
static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *options, *precision, *tensor;
        mr_dtype    type;
    } seeds[] = {
        {"--window 6", "f64", "layers.0.scores", MR_F32},
        {"--window 6", "f32", "layers.0.scores", MR_BF16},
        {"--window none", "f32", "layers.0.scores", MR_F16},
        {"--rope-theta 1e6", "f64", "layers.0.q_rope", MR_F32},
        {"--rope-theta 1e6", "f32", "layers.0.q_rope", MR_BF16},
        {"--rope-theta 1e6", "f32", "layers.0.q_rope", MR_F16},
        {"--norm-eps 1e-3", "f64", "layers.0.attention_norm", MR_F32},
        {"--rope-theta 1e6 --only '*[.]h'", "f64", "layers.0.h", MR_F32},
    };
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        char command[600], first[80];
        snprintf(command, sizeof command,
                 "trace " CASES "mixtral_e7k2_w5 --tokens 1,5,3,7,9,2,4,8,6,1,2,3,4 --precision %s "
                 "%s -o @/wide.npz", seeds[i].precision, seeds[i].options);
        if (run(command) != 0) fail_msg("%s: %s", command, err);
        save_as(scratch("wide.npz"), scratch("port.npz"), seeds[i].type);
        snprintf(first, sizeof first, "tensor      %s", seeds[i].tensor);
        const int status = run("compare @/wide.npz @/port.npz --model " CASES "mixtral_e7k2_w5");
        if (status != 1 || strstr(out, first) == NULL || strstr(out, " recorded in ") == NULL)
            fail_msg("%s: %d\n%s", command, status, out);
    }
}

/* What the program holds is told by --dtype, too; then nothing was lost. */
static void test_told(void **state) {
    (void)state;
    assert_int_equal(run("trace " CASES "dense_gqa --tokens 1,5,3,7 --precision f32 -o @/w.npz"),
                     0);
    save_as(scratch("w.npz"), scratch("port.npz"), MR_BF16);
    assert_int_equal(run("compare @/w.npz @/port.npz --model " CASES "dense_gqa --dtype bf16"), 1);
    assert_null(strstr(out, "recorded in"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f64_as_f32),  cmocka_unit_test(test_f64_as_bf16),
        cmocka_unit_test(test_f32_as_bf16), cmocka_unit_test(test_f32_as_f16),
        cmocka_unit_test(test_bf16_as_f16), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_told),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
