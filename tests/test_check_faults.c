/* Wrong kernels are caught, each by its own mistake: the paragraph names the place, and where the
 * number itself tells it, the reason. */
#include "tests/check.h"

#include <stdio.h>

#include "tests/kernels/rows.h"

typedef struct {
    mr_check_kernel *kernel;
    const char *operation, *store;
    fault       fault;
    int         how;       /* as in faults.h */
    const char *text;      /* part of the paragraph; "": any disagreement */
} mistake;

static const mistake mistakes[] = {
    {rmsnorm, "rmsnorm", "f32", LAST_TILE_LEFT_OUT, 0, "never written"},
    {rmsnorm, "rmsnorm", "f32", WRITES_PAST_END, 0, "written outside y"},
    {rmsnorm, "rmsnorm", "bf16", READS_PAST_END, 0, "reads outside its arrays"},
    {rmsnorm, "rmsnorm", "f32", INPUT_CHANGED, 0, "input x was changed"},
    {rmsnorm, "rmsnorm", "f32", EPS_OUTSIDE, 0, ""},
    {rmsnorm, "rmsnorm", "f32", EPS_1E6, 0, "epsilon is 1e-6"},
    {rmsnorm, "rmsnorm", "f32", EPS_MISSING, 0, "epsilon is missing"},
    {rmsnorm, "rmsnorm", "f32", MEAN_SUBTRACTED, 0, ""},
    {rmsnorm, "rmsnorm", "f32", GAIN_PLUS_ONE, 0, ""},
    {rmsnorm, "rmsnorm", "f16", SQUARES_IN_HALF, 0, ""},
    {linear, "linear", "f32", LAST_TILE_LEFT_OUT, 0, "never written"},
    {linear, "linear", "f32", WRITES_PAST_END, 0, ""},
    {linear, "linear", "bf16", READS_PAST_END, 0, "reads outside its arrays"},
    {linear, "linear", "f32", NOT_INITIALISED, 0, "nobody initialised"},
    {linear, "linear", "bf16", TRUNCATED, 0, "truncated"},
    {linear, "linear", "bf16", SUM_IN_BF16, 0, ""},
    {linear, "linear", "f32", OPERANDS_TF32, 0, "tf32"},
    {linear, "linear", "bf16", OPERANDS_FP8, 0, ""},
    {linear, "linear", "f32", ROWS_MIXED_UP, 0, ""},
    {rope, "rope", "f32", OTHER_PAIRS, 0, "other rotary layout"},
    {rope, "rope", "bf16", OTHER_PAIRS, 0, "other rotary layout"},
    {rope, "rope", "f32", THETA_1E4, 0, "theta is 10000"},
    {rope, "rope", "f32", FREQUENCIES_BF16, 0, ""},
    {rope, "rope", "f32", POSITION_PLUS_ONE, 0, ""},
    {rope, "rope", "f32", SUBNORMALS_FLUSHED, 0, "flushed to zero"},
    {attention, "attention", "f32", WINDOW_PLUS_ONE, 0, "one key too many"},
    {attention, "attention", "bf16", WINDOW_PLUS_ONE, 0, "one key too many"},
    {attention, "attention", "f32", WINDOW_MINUS_ONE, 0, "one key too few"},
    {attention, "attention", "f32", NO_WINDOW, 0, "window is not applied"},
    {attention, "attention", "f32", NO_MAXIMUM, 0, "without the maximum"},
    {attention, "attention", "f32", MAXIMUM_FROM_ZERO, 0, "starts at 0"},
    {attention, "attention", "f32", SCALE_WRONG, 0, ""},
    {attention, "attention", "f32", HEADS_TILED, 0, ""},
    {attention, "attention", "f32", RING_OFF_BY_ONE, 0, ""},
    {attention, "attention", "f32", CAUSAL_TOP_LEFT, 0, ""},
    {attention, "attention", "f32", EMPTY_SLOTS_READ, 0, "slot without a key"},
    {attention, "attention", "f32", NOT_RESCALED, 2, ""},
    {attention, "attention", "f32", LAST_TILE_LEFT_OUT, 2, ""},
    {cache_write, "cache_write", "bf16", SLOT_PLUS_ONE, 0, ""},
    {cache_write, "cache_write", "f32", FIRST_ROWS_KEPT, 0, ""},
    {cache_write, "cache_write", "f32", TRUNCATED, 0, ""},
    {swiglu, "swiglu", "f32", GATE_UP_SWAPPED, 0, ""},
    {swiglu, "swiglu", "f32", EXP_OVERFLOWS, 0, "overflow"},
    {swiglu, "swiglu", "f32", SIGMOID_1702, 0, ""},
    {swiglu, "swiglu", "bf16", LAST_TILE_LEFT_OUT, 0, "never written"},
    {router, "router", "f32", BEST_FROM_ZERO, 0, "largest logits"},
    {router, "router", "bf16", TIE_TAKEN_TWICE, 0, "is there twice"},
    {router, "router", "f32", NOT_RENORMALISED, 0, ""},
    {moe_combine, "moe_combine", "f32", NOT_INITIALISED, 0, "nobody initialised"},
    {moe_combine, "moe_combine", "f32", PLACE_IGNORED, 0, ""},
    {moe_combine, "moe_combine", "bf16", UNWEIGHTED, 0, ""},
    {embedding, "embedding", "bf16", TOKEN_PLUS_ONE, 0, ""},
    {embedding, "embedding", "f32", LAST_TILE_LEFT_OUT, 0, "never written"},
    {log_probability, "log_probability", "f32", NO_MAXIMUM, 0, "overflow"},
    {log_probability, "log_probability", "f32", MAXIMUM_FROM_ZERO, 0, ""},
    {log_probability, "log_probability", "f32", LOG_OF_UNDERFLOW, 0, "overflow"},
    {cross_entropy, "cross_entropy", "f32", IGNORED_COUNTED, 0, ""},
    {cross_entropy, "cross_entropy", "bf16", NO_MAXIMUM, 0, "overflow"},
};

static void test_mistakes(void **state) {
    char text[2000];
    int  missed = 0;
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const mistake *m = &mistakes[i];
        variant v = {m->fault, m->how};
        const mr_check_plan like = {.operation = m->operation, .store = m->store, .seed = 3};
        const int status = mr_check_sweep(&like, m->kernel, &v, text, sizeof text);
        print_message("%s\n", text);
        if (status == 1 && strstr(text, m->text) != NULL) continue;
        print_error("%s %s, fault %d: status %d, want 1 and \"%s\"\n", m->operation, m->store,
                    (int)m->fault, status, m->text);
        missed++;
    }
    assert_int_equal(missed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests_name("check_faults", tests, NULL, NULL);
}
