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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correct),
        cmocka_unit_test(test_arithmetic),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
