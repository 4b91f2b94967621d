/* `trace --grad`: what the command writes is what PyTorch's autograd gives, and what it refuses. */
#include "tests/command.h"

#include "golden/compare.h"
#include "golden/replay_meta.h"
#include "golden/trace.h"

/* The command on the tokens of a golden case: every loss and gradient of the case is in its
 * file. */
static void check_case(const char *model, const char *golden, const char *options,
                       const char *file) {
    char path[256], args[1024], tokens[256] = "";
    mr_trace *want = NULL, *got = NULL;
    mr_meta meta;
    mr_err e = {0};
    snprintf(path, sizeof path, "golden/cases/%s/%s", model, golden);
    assert_int_equal(mr_trace_open(path, &want, &e), MR_OK);
    assert_int_equal(mr_meta_read(path, mr_trace_meta(want), &meta, &e), MR_OK);
    for (idx t = 0; t < meta.count; t++)
        snprintf(tokens + strlen(tokens), sizeof tokens - strlen(tokens), "%s%d", t ? "," : "",
                 (int)meta.tokens[t]);
    snprintf(args, sizeof args, "trace golden/cases/%s --tokens %s --grad --precision f64 "
             "--rope-angles exact --convention hf %s -o @/%s", model, tokens, options, file);
    assert_int_equal(run(args), 0);
    assert_int_equal(mr_trace_open(scratch(file), &got, &e), MR_OK);
    for (idx i = 0; i < mr_trace_count(want); i++) {
        double a[2000], b[2000];
        const mr_tensor *t = mr_trace_tensor(want, i);
        const idx n = mr_count(t->rank, t->dim), at = mr_trace_find(got, t->name);
        if (at < 0) fail_msg("%s: %s is missing", args, t->name);
        assert_true(n <= 2000 && mr_count(mr_trace_tensor(got, at)->rank,
                                          mr_trace_tensor(got, at)->dim) == n);
        assert_int_equal(mr_trace_read(want, i, a, &e), MR_OK);
        assert_int_equal(mr_trace_read(got, at, b, &e), MR_OK);
        const double relative = mr_compare(a, b, n, 53).relative;
        if (!(relative <= 1e-12)) fail_msg("%s: %s is off by %g", args, t->name, relative);
    }
    assert_true(mr_trace_count(want) > 40);
    assert_true(mr_trace_find(got, "logits") >= 0);
    mr_meta_free(&meta);
    mr_trace_close(want);
    mr_trace_close(got);
}

static void as_autograd(void **state) {
    (void)state;
    check_case("grad_dense", "t6.f64.npz", "", "a.npz");
    check_case("grad_dense", "half_t5.f64.npz", "--rope-layout half", "b.npz");
    check_case("grad_window_tied", "t7.f64.npz", "", "c.safetensors");
    check_case("grad_moe_k2", "t6.f64.npz", "--dispatch naive", "d.npz");
    check_case("grad_reward", "t5.f64.npz", "", "e.npz");
}

/* --only looks at the full name, so one pattern selects gradients alone. */
static void only(void **state) {
    (void)state;
    mr_trace *t = NULL;
    mr_err e = {0};
    assert_int_equal(run("trace golden/cases/grad_dense --tokens 1,2,3 --grad --only 'grad.*.wq.*' "
                         "-o @/only.npz"), 0);
    assert_int_equal(mr_trace_open(scratch("only.npz"), &t, &e), MR_OK);
    assert_int_equal(mr_trace_count(t), 2);
    assert_true(mr_trace_find(t, "grad.layers.1.attention.wq.weight") >= 0);
    mr_trace_close(t);
}

static void refused(void **state) {
    static const expectation all[] = {
        {"trace golden/cases/grad_dense --tokens 1,2 --grad --chunk 1 -o @/x.npz", 2, "",
         "--chunk"},
        {"trace golden/cases/grad_dense --tokens 1,2 --grad --decode 1 -o @/x.npz", 2, "",
         "--decode"},
        {"trace golden/cases/grad_dense --tokens 1 --grad -o @/x.npz", 2, "",
         "at least two tokens"},
        {"trace golden/cases/grad_dense --tokens 1,2 --grad --precision bf16 -o @/x.npz", 2, "",
         "16-bit storage"},
        {"trace golden/cases/grad_reward --tokens 1,2 --decode 1 -o @/x.npz", 3, "",
         "no next tokens"},
    };
    (void)state;
    CHECK_ALL(all);
    assert_int_equal(access(scratch("x.npz"), F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_autograd), cmocka_unit_test(only),
                                       cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
