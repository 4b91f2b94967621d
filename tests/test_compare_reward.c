/* compare on models with a score head in place of the output matrix: what PyTorch recorded of them,
 * traces of our own, one tensor changed at a time. A mask that is added to the scores. */
#include "tests/copies.h"

#define REWARD     "golden/cases/grad_reward"
#define REWARD_MOE "golden/cases/grad_reward_moe"
#define IDS        " --tokens 9,10,1,10,6 "
#define MOE_IDS    " --tokens 5,6,6,4 "

static double number(const char *path, const char *name, idx element) {
    mr_err e = {0};
    mr_trace *trace;
    double x[512];
    if (mr_trace_open(path, &trace, &e)) fail_msg("%s", e.text);
    const idx at = mr_trace_find(trace, name);
    if (at < 0) fail_msg("%s: no %s", path, name);
    const mr_tensor *t = mr_trace_tensor(trace, at);
    assert_true(element < mr_count(t->rank, t->dim) && mr_count(t->rank, t->dim) <= 512);
    if (mr_trace_read(trace, at, x, &e)) fail_msg("%s", e.text);
    mr_trace_close(trace);
    return x[element];
}

/* The traces hold the scores; that of the last token is the reward that PyTorch gave. */
static void test_trace(void **state) {
    (void)state;
    const expectation list[] = {
        {"trace " REWARD IDS "--precision f64 --rope-angles exact -o @/golden.npz", 0, "", ""},
        {"trace " REWARD_MOE MOE_IDS "--precision f64 --rope-angles exact -o @/sparse.npz", 0, "",
         ""},
        {"info @/golden.npz", 0, "logits                       F64  [5,1]", ""},
    };
    CHECK_ALL(list);
    const double dense = number(REWARD "/t5.f64.npz", "loss.reward", 0),
                 sparse = number(REWARD_MOE "/t4.f64.npz", "loss.reward", 0);
    assert_true(fabs(number(scratch("golden.npz"), "logits", 4) - dense) <= 1e-12 * fabs(dense));
    assert_true(fabs(number(scratch("sparse.npz"), "logits", 3) - sparse) <= 1e-12 * fabs(sparse));
}

/* PyTorch's own gradients and losses, and runs of ours in other storage. */
static void test_agrees(void **state) {
    (void)state;
    const expectation list[] = {
        {"compare " REWARD "/t5.f64.npz " REWARD "/t5.f32.npz --model " REWARD, 0,
         "17 verified: 0 faults", ""},
        {"compare " REWARD_MOE "/t4.f64.npz " REWARD_MOE "/t4.f32.npz --model " REWARD_MOE, 0,
         "router_experts are not recorded", ""},
        {"trace " REWARD IDS "--precision f64 -o @/golden.npz", 0, "", ""},
        {"trace " REWARD IDS "--precision bf16 -o @/bf16.npz", 0, "", ""},
        {"trace " REWARD IDS "--chunk 2 -o @/chunks.npz", 0, "", ""},
        {"trace " REWARD IDS "-o @/f32.npz", 0, "", ""},
        {"compare @/golden.npz @/f32.npz --model " REWARD, 0, "AGREES", ""},
        {"compare @/golden.npz @/bf16.npz --model " REWARD, 0, "stored in bf16", ""},
        {"compare @/golden.npz @/f32.npz", 5, "NO PROOF", "give --model"},
        {"compare --paths @/f32.npz @/chunks.npz --model " REWARD, 0, "together", ""},
        {"compare @/golden.npz @/f32.npz --model " REWARD_MOE, 3, "", "another model"},
    };
    CHECK_ALL(list);
}

static void last(double *x, const mr_tensor *t) { x[mr_count(t->rank, t->dim) - 1] *= 1.0001; }

static void half_more(double *x, const mr_tensor *t) {
    for (idx i = 0; i < mr_count(t->rank, t->dim); i++) x[i] *= 1.5;
}

static void test_disagrees(void **state) {
    (void)state;
    assert_int_equal(run("trace " REWARD IDS "--precision f64 -o @/golden.npz"), 0);
    assert_int_equal(run("trace " REWARD IDS "-o @/f32.npz"), 0);
    copy_trace(scratch("f32.npz"), "head.npz", "logits", last, NULL);
    copy_trace(REWARD "/t5.f32.npz", "grad.npz", "grad.score.weight", half_more, NULL);
    copy_trace(REWARD "/t5.f32.npz", "loss.npz", "loss.reward", half_more, NULL);
    const expectation list[] = {
        {"compare @/golden.npz @/head.npz --model " REWARD, 1, "score in a reward model", ""},
        {"compare " REWARD "/t5.f64.npz @/grad.npz --model " REWARD, 1, "grad.score.weight", ""},
        {"compare " REWARD "/t5.f64.npz @/loss.npz --model " REWARD, 1, "loss.reward", ""},
        {"trace " REWARD IDS "--norm-eps 1e-6 -o @/eps.npz", 0, "", ""},
        {"compare @/golden.npz @/eps.npz --model " REWARD, 1, "epsilon", ""},
    };
    CHECK_ALL(list);
}

/* ---- masks that are added -------------------------------------------------------------------- */

static void minus_infinity(double *x, const mr_tensor *t) {
    for (idx i = 0; i < mr_count(t->rank, t->dim); i++) x[i] = x[i] != 0 ? 0 : -(double)INFINITY;
}
static void least_float(double *x, const mr_tensor *t) {
    for (idx i = 0; i < mr_count(t->rank, t->dim); i++) x[i] = x[i] != 0 ? 0 : -0x1.fffffep127;
}
static void one_key_more(double *x, const mr_tensor *t) {
    least_float(x, t);
    x[t->dim[1] - 1] = 0;
}

static void test_added_mask(void **state) {
    (void)state;
    copy_trace(MODEL "/t13.f32.npz", "infinite.npz", "mask", minus_infinity, NULL);
    copy_trace(MODEL "/t13.f32.npz", "least.npz", "mask", least_float, NULL);
    copy_trace(MODEL "/t13.f32.npz", "more.npz", "mask", one_key_more, NULL);
    const char *const same = "relative 0.00e+00, largest 0.00e+00, 0 of 169 differ";
    const expectation list[] = {
        {"compare " MODEL "/t13.f64.npz @/infinite.npz --model " MODEL " -v", 0, same, ""},
        {"compare " MODEL "/t13.f64.npz @/least.npz --model " MODEL " -v", 0, same, ""},
        {"compare " MODEL "/t13.f64.npz @/more.npz --model " MODEL " -v", 0,
         "largest 1.00e+00, 1 of", ""},
    };
    CHECK_ALL(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_agrees),
        cmocka_unit_test(test_disagrees),
        cmocka_unit_test(test_added_mask),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
