/* Correct kernels are never refused: every operation, way to compute it, storage type, fill and
 * size. The kernels are written as a port would write them and share no code with the reference. */
#include "tests/check.h"

#include <stdio.h>

#include "tests/kernels/rows.h"

static const struct {
    const char      *operation;
    mr_check_kernel *kernel;
} kernels[] = {
    {"rmsnorm", rmsnorm}, {"linear", linear}, {"rope", rope}, {"attention", attention},
    {"cache_write", cache_write}, {"swiglu", swiglu}, {"router", router},
    {"moe_combine", moe_combine}, {"embedding", embedding},
    {"log_probability", log_probability}, {"cross_entropy", cross_entropy},
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

static void test_correct(void **state) {
    static const char *const stores[] = {"f32", "bf16", "f16"};
    char text[2000];
    (void)state;
    for (int k = 0; k < KERNELS; k++)
        for (int s = 0; s < 3; s++)
            for (int how = s / 2; how < 4; how += s > 0 ? 2 : 1) {
                variant v = {CORRECT, how};
                const mr_check_plan like = {.operation = kernels[k].operation, .store = stores[s],
                                            .seed = (uint64_t)(how + 7 * s),
                                            .half_split = how % 2};
                const int status = mr_check_sweep(&like, kernels[k].kernel, &v, text, sizeof text);
                if (how < 2) print_message("%s\n", text);
                if (status != 0) fail_msg("way %d: status %d: %s", how, status, text);
            }
}

/* Kernels that keep scores in float whatever they store, and matrix units that round to tf32. */
static void test_arithmetic(void **state) {
    char text[2000];
    variant v = {CORRECT, 2}, tf32 = {OPERANDS_TF32, 0}, fp8 = {OPERANDS_FP8, 0};
    (void)state;
    const mr_check_plan fused = {.operation = "attention", .store = "bf16", .inside = "f32"};
    if (mr_check_sweep(&fused, attention, &v, text, sizeof text) != 0) fail_msg("%s", text);
    const mr_check_plan unit = {.operation = "linear", .store = "f32", .sum = "tf32"};
    if (mr_check_sweep(&unit, linear, &tf32, text, sizeof text) != 0) fail_msg("%s", text);
    const mr_check_plan eight = {.operation = "linear", .store = "bf16", .sum = "fp8"};
    if (mr_check_sweep(&eight, linear, &fp8, text, sizeof text) != 0) fail_msg("%s", text);
}

/* One operation on inputs of the caller; expected values worked out by hand. */
static void test_one_result(void **state) {
    static const float x[] = {3, -4}, g[] = {1, 2};
    char text[2000];
    double bound;
    (void)state;
    const mr_check_plan plan = {.operation = "rmsnorm", .store = "f32", .fill = MR_FILL_OWN,
                                .tokens = 1, .width = 2, .eps = 0.25};
    mr_check *c = mr_check_new(&plan, text, sizeof text);
    if (c == NULL) fail_msg("%s", text);
    memcpy(mr_check_data(c, "x"), x, sizeof x);
    memcpy(mr_check_data(c, "g"), g, sizeof g);
    mr_check_begin(c);
    assert_int_equal(mr_check_judge(c, text, sizeof text), 1);   /* nothing was written */
    assert_non_null(strstr(text, "nothing was written"));
    const double r = 1 / sqrt(12.75);                            /* (9 + 16) / 2 + 1/4 */
    check_number("y[0]", 3 * r, mr_check_expected(c, "y", 0, &bound), 4);
    check_number("y[1]", -8 * r, mr_check_expected(c, "y", 1, NULL), 4);
    assert_true(bound > 0 && bound < 1e-6);
    assert_true(isnan(mr_check_expected(c, "y", 2, NULL)));
    assert_true(isnan(mr_check_expected(c, "z", 0, NULL)));
    ((float *)mr_check_data(c, "y"))[0] = (float)(3 * r);
    ((float *)mr_check_data(c, "y"))[1] = (float)(-8 * r);
    assert_int_equal(mr_check_judge(c, text, sizeof text), 0);
    assert_true(mr_check_ratio(c) <= 1);
    mr_check_free(c);
}

/* Where every expected number is equal, agreement proves nothing. */
static void test_proves_nothing(void **state) {
    char text[2000];
    (void)state;
    const mr_check_plan plan = {.operation = "linear", .store = "f32", .fill = MR_FILL_OWN,
                                .tokens = 2, .width = 2, .outputs = 2};
    mr_check *c = mr_check_new(&plan, text, sizeof text);
    if (c == NULL) fail_msg("%s", text);
    memset(mr_check_data(c, "x"), 0, 16);
    memset(mr_check_data(c, "W"), 0, 16);
    mr_check_begin(c);
    memset(mr_check_data(c, "y"), 0, 16);
    assert_int_equal(mr_check_judge(c, text, sizeof text), 5);
    assert_non_null(strstr(text, "proves nothing"));
    mr_check_free(c);
}

static void test_refused_plans(void **state) {
    static const struct {
        mr_check_plan plan;
        const char   *text;
    } bad[] = {
        {{.operation = "gelu", .store = "f32"}, "operation \"gelu\" is not known"},
        {{.operation = NULL, .store = "f32"}, "\"(null)\" is not known"},
        {{.operation = "rmsnorm", .store = "f8"}, "store: expected f32"},
        {{.operation = "rmsnorm", .store = "f32", .sum = "f64"}, "sum: expected f32"},
        {{.operation = "rmsnorm", .store = "f32", .inside = "x"}, "inside: f32"},
        {{.operation = "rmsnorm", .store = "f32", .fill = 99}, "99 is no mr_check_inputs"},
        {{.operation = "rmsnorm", .store = "f32", .tokens = 3}, "array x would have no elements"},
        {{.operation = "rmsnorm", .store = "f32", .tokens = -3, .width = 4}, "array x"},
        {{.operation = "rmsnorm", .store = "f32", .tokens = 1 << 30, .width = 1},
         "a size is 1073741824, expected below 2^30"},
        {{.operation = "rmsnorm", .store = "f32", .tokens = (1 << 30) - 1, .width = 1 << 29},
         "array x would have"},
        {{.operation = "rope", .store = "f32", .tokens = 1, .heads = 1, .head_dim = 3, .theta = 1},
         "even head_dim"},
        {{.operation = "attention", .store = "f32", .tokens = 1, .heads = 3, .kv_heads = 2,
          .head_dim = 4}, "3 heads do not share 2 kv heads"},
        {{.operation = "attention", .store = "f32", .tokens = 1, .heads = 2, .kv_heads = 2,
          .head_dim = 4, .seen = 9, .slots = 4}, "sees 9 cached keys, the ring holds 4"},
        {{.operation = "cache_write", .store = "f32", .tokens = 1, .kv_heads = 1, .head_dim = 4},
         "slots must be 1 or more"},
        {{.operation = "router", .store = "f32", .tokens = 1, .experts = 2, .chosen = 3},
         "3 of 2 experts"},
        {{.operation = "moe_combine", .store = "f32", .tokens = 1, .width = 2, .chosen = 65},
         "at most 64"},
    };
    char text[2000];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text[0] = '\0';
        assert_null(mr_check_new(&bad[i].plan, text, sizeof text));
        if (strstr(text, bad[i].text) == NULL) fail_msg("%s: lacks \"%s\"", text, bad[i].text);
    }
    mr_check_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correct),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_one_result),
        cmocka_unit_test(test_proves_nothing),
        cmocka_unit_test(test_refused_plans),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
