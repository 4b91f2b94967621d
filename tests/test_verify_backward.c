/* Gradients: traces that PyTorch made (golden/generate_backward.py), right ones and ones whose
 * backward pass has one fault; and reward models. */
#include "tests/command.h"

#include <math.h>

#include "golden/replay_backward.h"
#include "golden/replay_round.h"
#include "weights/checkpoint.h"

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

/* The mean is over all sequences: with four times the one that PyTorch had and one without tokens,
 * the loss and the gradients of all parameters are four fifths of PyTorch's. */
static void test_empty_sequence(void **state) {
    static const char path[] = "golden/cases/grad_reward/t5.f64.npz";
    mr_err e = {0};
    mr_checkpoint c;
    mr_trace *port;
    mr_meta one;
    mr_gradients g;
    idx seen = 0;
    (void)state;
    if (mr_checkpoint_open("golden/cases/grad_reward", &c, &e) || mr_trace_open(path, &port, &e) ||
        mr_meta_read(path, mr_trace_meta(port), &one, &e)) fail_msg("%s", e.text);
    c.model.config.rope_angles = one.rope_angles;
    int32_t tokens[20];
    assert_int_equal(one.count, 5);
    for (int t = 0; t < 20; t++) tokens[t] = one.tokens[t % 5];
    const mr_meta five = {.n_seqs = 5, .count = 20, .length = (idx[]){5, 5, 0, 5, 5},
                          .first = (int64_t[]){0, 0, 0, 0, 0}, .tokens = tokens};
    if (mr_measure_gradients(&c.model, &five, port, &g, &e) != MR_OK) fail_msg("%s", e.text);
    for (idx i = 0; i < g.count; i++) {
        const char *name = mr_trace_tensor(port, g.list[i].at)->name;
        if (strcmp(name, "loss.reward") != 0 && strstr(name, ".weight") == NULL) continue;
        seen++;
        if (!(fabs(g.list[i].factor - 1.25) < 1e-10 && g.list[i].apart < 1e-10))
            fail_msg("%s: %g times the reference's", name, g.list[i].factor);
    }
    assert_int_equal(seen, 1 + 2 * 9 + 3);
    mr_gradients_free(&g);
    mr_meta_free(&one);
    mr_trace_close(port);
    mr_checkpoint_close(&c);
}

/* Far from the reference's, but what its operation gives on the port's own inputs: no fault. */
static void test_verified_is_no_fault(void **state) {
    const mr_tensor list[] = {{"grad.layers.0.q", MR_F32, 1, {4}, NULL}};
    mr_arithmetic a;
    mr_trace *port;
    mr_err e = {0};
    (void)state;
    assert_true(mr_arithmetic_of("f32", "f32", &a));
    assert_int_equal(mr_trace_made(list, 1, "", NULL, NULL, &port, &e), MR_OK);
    mr_gradient far = {.at = 0, .distance = {.relative = 0.5, .norm = 1, .count = 4}, .error = 0.5,
                       .factor = 1, .apart = 0.5};
    mr_gradients all = {.list = &far, .count = 1, .largest = 1};
    for (int verified = 0; verified < 2; verified++) {
        mr_verification v = {.first = -1};
        if (verified) snprintf(mr_verification_add(&v, &e)->name, 96, "%s", list[0].name);
        assert_int_equal(mr_judge_gradients(&all, port, &a, &v, &e),
                         verified ? MR_OK : MR_DISAGREE);
        assert_int_equal(all.beyond, 1);
        assert_int_equal(v.faults, !verified);
        mr_verification_free(&v);
    }
    mr_trace_close(port);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),  cmocka_unit_test(test_faults),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_measured), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_reward), cmocka_unit_test(test_empty_sequence),
        cmocka_unit_test(test_verified_is_no_fault),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
