/* Gradients: traces that PyTorch made (golden/generate_backward.py), right ones and ones whose
 * backward pass has one fault; and reward models. */
#include "tests/command.h"

#define BACKWARD "golden/backward/"

/* Judges a trace; its text must have every line of `lines`, up to NULL. */
static void check(const char *trace, const char *model, int status, const char *const *lines) {
    char command[300];
    snprintf(command, sizeof command,
             "compare " BACKWARD "%s.npz " BACKWARD "%s.npz --model golden/cases/%s", trace, trace,
             model);
    const int got = run(command);
    if (got != status) fail_msg("%s: status %d\n%s%s", trace, got, out, err);
    for (; *lines != NULL; lines++)
        if (strstr(out, *lines) == NULL) fail_msg("%s: lacks \"%s\":\n%s", trace, *lines, out);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_right(void **state) {
    (void)state;
    check("grad_dense.right.f32", "grad_dense", 0, LINES("46 verified from their own inputs"));
    check("grad_dense.right.bf16", "grad_dense", 0, LINES("46 verified from their own inputs"));
    check("grad_dense.right.f16", "grad_dense", 0, LINES("46 verified from their own inputs"));
    check("grad_moe_k2.right.f32", "grad_moe_k2", 0, LINES("34 verified from their own inputs"));
    check("grad_moe_k2.right.bf16", "grad_moe_k2", 0, LINES("34 verified from their own inputs"));
}

/* The same experts as the reference's, if recorded; nothing is measured against others. */
static void test_choices(void **state) {
    (void)state;
    assert_int_equal(run("compare " BACKWARD "grad_moe_k2.right.f32.npz " BACKWARD
                         "grad_moe_k2.right.f32.npz --model golden/cases/grad_moe_k2"), 0);
    assert_null(strstr(out, "router_experts"));
    assert_int_equal(run("compare golden/cases/grad_moe_k2/aux_t6.f64.npz golden/cases/grad_moe_k2/"
                         "aux_t6.f32.npz --model golden/cases/grad_moe_k2"), 0);
    assert_non_null(strstr(out, "router_experts"));
}

/* The first faulty operation in backward order, that is in the last layer. */
static void test_faults(void **state) {
    (void)state;
    check("grad_dense.rope_sign.f32", "grad_dense", 1,
          LINES("tensor      grad.layers.1.q ", "(R1')", "grad.layers.0.q  error/bound"));
    check("grad_dense.rope_sign.bf16", "grad_dense", 1, LINES("tensor      grad.layers.1.q "));
    check("grad_dense.norm_mean.f32", "grad_dense", 1,
          LINES("tensor      grad.layers.1.h ", "(N1')"));
    check("grad_dense.silu_slope.f32", "grad_dense", 1,
          LINES("tensor      grad.layers.1.w1 ", "(F1')"));
}

/* Operations without a bound are judged by their distance from the reference's gradient. */
static void test_measured(void **state) {
    (void)state;
    check("grad_dense.first_head.f32", "grad_dense", 1,
          LINES("tensor      grad.layers.1.k_rope\n", "measured"));
    check("grad_dense.loss_sum.f32", "grad_dense", 1,
          LINES("tensor      grad.logits\n", "5 times the reference's"));
}

/* One matrix's gradient is off, everything else right: the fault is that matrix. */
static void test_alone(void **state) {
    (void)state;
    CHECK_ALL(((const expectation[]){
        {"compare golden/cases/grad_dense/t6.f64.npz golden/cases/grad_dense/t6.f32.npz "
         "--model golden/cases/grad_dense", 0, "gradients and losses", ""},
        {"compare golden/cases/grad_moe_k2/aux_t6.f64.npz golden/cases/grad_moe_k2/aux_t6.f32.npz "
         "--model golden/cases/grad_moe_k2 --json", 0, "\"beyond\":0", ""},
        {"compare " BACKWARD "grad_dense.right.f32.npz " BACKWARD "grad_dense.rope_sign.f32.npz "
         "--model golden/cases/grad_dense --only 'grad.*.q'", 1, "grad.layers.1.q", ""},
        {"compare " BACKWARD "grad_dense.right.f32.npz " BACKWARD "grad_dense.rope_sign.f32.npz "
         "--model golden/cases/grad_dense --only 'grad.*.act'", 0, "AGREES", ""},
        {"compare " BACKWARD "grad_dense.right.f32.npz " BACKWARD "grad_dense.rope_sign.f32.npz",
         1, "grad.layers.1.q", ""},
    }));
}

/* A reward model has one logit per token; its head, its gradients and a fault in its trunk. */
static void test_reward(void **state) {
    (void)state;
    CHECK_ALL(((const expectation[]){
        {"trace golden/cases/grad_reward --tokens 5,7,3,2,9 --grad -o @/r.npz", 0, "", ""},
        {"compare @/r.npz @/r.npz --model golden/cases/grad_reward", 0, "AGREES", ""},
        {"trace golden/cases/grad_reward --tokens 5,7,3,2,9 --norm-eps 1e-6 -o @/e.npz", 0, "", ""},
        {"compare @/r.npz @/e.npz --model golden/cases/grad_reward", 1,
         "norm epsilon 1e-06 instead of 1e-05", ""},
        {"trace golden/cases/grad_reward_moe --tokens 5,7,3,2 -o @/m.npz", 0, "", ""},
        {"compare @/m.npz @/m.npz --model golden/cases/grad_reward_moe", 0, "AGREES", ""},
        {"compare golden/cases/grad_reward/t5.f64.npz golden/cases/grad_reward/t5.f32.npz "
         "--model golden/cases/grad_reward", 0, "AGREES", ""},
    }));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),  cmocka_unit_test(test_faults),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_measured), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_reward),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
