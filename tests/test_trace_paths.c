/* One trace, many paths: prefill, every chunking and decoding must write the same tensors, bit for
 * bit, rings included. */
#include "tests/scratch.h"

#include "golden/trace.h"

#define TOKENS "1,5,3,7,9,2,4,8,6,1,2,3,4"   /* 2W+3 of a model with W = 5 */

static void trace(const char *model, const char *options, const char *name) {
    char command[2048];
    snprintf(command, sizeof command, "./mistral-ref trace golden/cases/%s --tokens %s -o %s",
             model, options, scratch(name));
    if (system(command) != 0) fail_msg("%s", command);
}

/* Every tensor of the first trace is in the second, equal in shape and bits, and the other way
 * round. */
static void check_equal(const char *first, const char *second) {
    mr_err err = {0};
    mr_trace *a, *b;
    static double want[1 << 16], got[1 << 16];
    if (mr_trace_open(scratch(first), &a, &err) || mr_trace_open(scratch(second), &b, &err))
        fail_msg("%s", err.text);
    assert_int_equal(mr_trace_count(a), mr_trace_count(b));
    assert_true(mr_trace_count(a) > 40);
    for (idx i = 0; i < mr_trace_count(a); i++) {
        const mr_tensor *t = mr_trace_tensor(a, i);
        const idx at = mr_trace_find(b, t->name), n = mr_count(t->rank, t->dim);
        if (at < 0) fail_msg("%s is missing", t->name);
        const mr_tensor *u = mr_trace_tensor(b, at);
        assert_int_equal(t->rank, u->rank);
        for (int d = 0; d < t->rank; d++) assert_int_equal(t->dim[d], u->dim[d]);
        assert_true(n <= 1 << 16);
        if (mr_trace_read(a, i, want, &err) || mr_trace_read(b, at, got, &err))
            fail_msg("%s", err.text);
        check_bits(t->name, want, got, n, sizeof *want);
    }
    mr_trace_close(a);
    mr_trace_close(b);
}

static void check_paths(const char *model, const char *precision) {
    char options[512];
    const char *const ways[] = {"--chunk 1", "--chunk 2", "--chunk 3",       "--chunk 4",
                                "--chunk 5", "--chunk 6", "--dispatch naive"};
    snprintf(options, sizeof options, TOKENS " %s", precision);
    trace(model, options, "whole.npz");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(options, sizeof options, TOKENS " %s %s", precision, ways[i]);
        trace(model, options, i % 2 ? "part.npz" : "part.safetensors");
        check_equal("whole.npz", i % 2 ? "part.npz" : "part.safetensors");
    }
}

static void test_window_moe(void **state) {
    (void)state;
    check_paths("mixtral_e7k2_w5", "--precision f32");
    check_paths("mixtral_e7k2_w5", "--precision f64 --window-rule swa-inclusive");
    check_paths("mixtral_e7k2_w5", "--precision bf16 --convention hf");
}

static void test_no_window(void **state) {
    (void)state;
    check_paths("dense_gqa", "--precision f32");
    check_paths("mixtral_e3k3", "--precision f64");
}

/* Decoding greedily from 4 tokens is the prefill of those 4 and what was decoded. */
static void test_decoding(void **state) {
    (void)state;
    char options[512];
    mr_err err = {0};
    mr_trace *t;
    trace("mixtral_e7k2_w5", "1,5,3,7 --decode 9", "decoded.npz");
    if (mr_trace_open(scratch("decoded.npz"), &t, &err)) fail_msg("%s", err.text);
    const char *tokens = strstr(mr_trace_meta(t), "\"tokens\":[[");
    assert_non_null(tokens);
    snprintf(options, sizeof options, "%.*s", (int)strcspn(tokens + 11, "]"), tokens + 11);
    mr_trace_close(t);
    trace("mixtral_e7k2_w5", options, "whole.npz");
    check_equal("whole.npz", "decoded.npz");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_moe),
        cmocka_unit_test(test_no_window),
        cmocka_unit_test(test_decoding),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
