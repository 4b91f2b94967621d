/* Single results of every operation, worked out by hand; what a verdict says; plans that are
 * refused. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/check.h"
#include "tests/kernels/rows.h"

/* ---- results --------------------------------------------------------------------------------- */

/* A test whose arrays are filled with what follows: name, numbers, name, numbers, ..., NULL. */
typedef struct {
    const char *name;
    double      x[8];
} array_of_numbers;

static mr_check *fill(mr_check_plan plan, const array_of_numbers *in, int arrays) {
    char text[400];
    plan.store = "f32";
    plan.fill = MR_FILL_OWN;
    mr_check *c = mr_check_new(&plan, text, sizeof text);
    if (c == NULL) fail_msg("%s", text);
    for (int a = 0; a < arrays; a++) {
        const mr_check_buffer *b = mr_check_get(c, in[a].name);
        const bool whole = strcmp(b->name, "tokens") == 0 || strcmp(b->name, "targets") == 0 ||
                           strcmp(b->name, "place") == 0 || strcmp(b->name, "position") == 0;
        for (size_t i = 0; i < b->count; i++)
            if (whole) ((int32_t *)b->data)[i] = (int32_t)in[a].x[i];
            else ((float *)b->data)[i] = (float)in[a].x[i];
    }
    mr_check_begin(c);
    return c;
}

/* The kernel gives these numbers, rounded to float: right, each within a bound of some units. */
static void gives(mr_check *c, const char *name, const double *want, bool exact) {
    char text[2000];
    double bound;
    const mr_check_buffer *b = mr_check_get(c, name);
    for (size_t i = 0; i < b->count; i++) ((float *)b->data)[i] = (float)want[i];
    const int status = mr_check_judge(c, text, sizeof text);
    if (status != 0) fail_msg("%s: status %d: %s", name, status, text);
    for (size_t i = 0; i < b->count; i++) {
        const double got = mr_check_expected(c, name, i, &bound);
        if (!(fabs(got - want[i]) <= 1e-6 * fabs(want[i])))
            fail_msg("%s[%zu]: expected %.9g, by hand %.9g", name, i, got, want[i]);
        if (exact ? bound != 0 : !(bound > 0 && bound < 1e-5 * (1 + fabs(want[i]))))
            fail_msg("%s[%zu]: bound %g", name, i, bound);
    }
    assert_true(mr_check_ratio(c) >= 0 && mr_check_ratio(c) <= 1);
    mr_check_free(c);
}

static void test_rows(void **state) {
    (void)state;
    const array_of_numbers norm[] = {{"x", {3, -4}}, {"g", {1, 2}}};
    const double r = 1 / sqrt(12.75);                            /* (9 + 16) / 2 + 1/4 */
    gives(fill((mr_check_plan){.operation = "rmsnorm", .tokens = 1, .width = 2, .eps = 0.25}, norm,
               2), "y", (const double[]){3 * r, -8 * r}, false);
    const array_of_numbers linear[] = {{"x", {1, 2, 3, 5}}, {"W", {1, 0, -1, 1, 2, 1}}};
    gives(fill((mr_check_plan){.operation = "linear", .tokens = 2, .width = 2, .outputs = 3},
               linear, 2), "y", (const double[]){1, 1, 4, 3, 2, 11}, false);
    const array_of_numbers gate[] = {{"gate", {0, log(3)}}, {"up", {5, 4}}};
    gives(fill((mr_check_plan){.operation = "swiglu", .tokens = 1, .width = 2}, gate, 2), "y",
          (const double[]){0, 3 * log(3)}, false);
    const array_of_numbers copy[] = {{"tokens", {1, 0, 1}}, {"table", {1, 2, 3, 4}}};
    gives(fill((mr_check_plan){.operation = "embedding", .tokens = 3, .width = 2, .vocab = 2}, copy,
               2), "y", (const double[]){3, 4, 1, 2, 3, 4}, true);
    /* row 1 of out for the first choice, row 0 for the second: 1/4 * 8 - 3/4 * 4, ... */
    const array_of_numbers sum[] = {{"out", {-4, 0, 8, 2}}, {"place", {1, 0}},
                                    {"weights", {0.25, 0.75}}};
    gives(fill((mr_check_plan){.operation = "moe_combine", .tokens = 1, .width = 2, .chosen = 2},
               sum, 3), "y", (const double[]){-1, 0.5}, false);
}

/* D 2 at positions 0, 1 and 2, both layouts of D 4: pair 1 has frequency 100^-1/2. */
static void test_rope(void **state) {
    (void)state;
    const array_of_numbers three[] = {{"x", {1, 2, 1, 0, 0, 1}}, {"position", {0, 1, 2}}};
    gives(fill((mr_check_plan){.operation = "rope", .tokens = 3, .heads = 1, .head_dim = 2,
                               .theta = 100}, three, 2), "y",
          (const double[]){1, 2, cos(1), sin(1), -sin(2), cos(2)}, false);
    const array_of_numbers pairs[] = {{"x", {0, 1, 1, 0}}, {"position", {1}}};
    gives(fill((mr_check_plan){.operation = "rope", .tokens = 1, .heads = 1, .head_dim = 4,
                               .theta = 100}, pairs, 2), "y",
          (const double[]){-sin(1), cos(1), cos(0.1), sin(0.1)}, false);
    gives(fill((mr_check_plan){.operation = "rope", .tokens = 1, .heads = 1, .head_dim = 4,
                               .theta = 100, .half_split = 1}, pairs, 2), "y",
          (const double[]){-sin(1), cos(0.1), cos(1), sin(0.1)}, false);
}

/* Position 0 in the ring, 1 and 2 new; scores 0 and ln 3 of the last two keys: 1/4 and 3/4. */
static void test_attention(void **state) {
    (void)state;
    const array_of_numbers in[] = {
        {"q", {0, 0, 0, 0, 2, 0, 0, 0}}, {"k", {0, 0, 0, 0, log(3), 0, 0, 0}},
        {"v", {8, 1, 0, 0, -4, 0, 2, 0}}, {"ring_k", {90, 0, 0, 0}}, {"ring_v", {4, 1, 1, 1}}};
    gives(fill((mr_check_plan){.operation = "attention", .tokens = 2, .heads = 1, .kv_heads = 1,
                               .head_dim = 4, .window = 2, .seen = 1, .slots = 1}, in, 5), "y",
          (const double[]){6, 1, 0.5, 0.5, -1, 0.25, 1.5, 0}, false);
}

/* Positions 3 and 4 in a ring of three slots: slots 0 and 1; slot 2 stays. */
static void test_cache_write(void **state) {
    (void)state;
    const array_of_numbers in[] = {{"k", {1, 2, 3, 4}}, {"v", {5, 6, 7, 8}},
                                   {"ring_k", {9, 9, 9, 9, 10, 11}},
                                   {"ring_v", {9, 9, 9, 9, 12, 13}}};
    mr_check *c = fill((mr_check_plan){.operation = "cache_write", .tokens = 2, .kv_heads = 1,
                                       .head_dim = 2, .seen = 3, .slots = 3}, in, 4);
    static const float values[] = {5, 6, 7, 8, 12, 13};
    memcpy(mr_check_data(c, "ring_v"), values, sizeof values);
    gives(c, "ring_k", (const double[]){1, 2, 3, 4, 10, 11}, true);
}

/* Gate weights of the kernel's own order of choice: 3/5 and 2/5. */
static void test_router(void **state) {
    static const int32_t orders[2][2] = {{1, 3}, {3, 1}};
    (void)state;
    for (int o = 0; o < 2; o++) {
        const array_of_numbers in[] = {{"logits", {0, log(3), -1, log(2)}}};
        mr_check *c = fill((mr_check_plan){.operation = "router", .tokens = 1, .experts = 4,
                                           .chosen = 2}, in, 1);
        memcpy(mr_check_data(c, "experts"), orders[o], sizeof orders[o]);
        gives(c, "weights", o == 0 ? (const double[]){0.6, 0.4} : (const double[]){0.4, 0.6},
              false);
    }
}

/* -log of 3/4, 1/5 and, not scored, anything. */
static void test_log_probabilities(void **state) {
    (void)state;
    const array_of_numbers in[] = {{"logits", {0, log(3), log(4), 0, 1, 2}},
                                   {"targets", {1, 1, -100}}};
    mr_check_plan plan = {.operation = "cross_entropy", .tokens = 3, .vocab = 2};
    gives(fill(plan, in, 2), "y", (const double[]){(log(4.0 / 3) + log(5)) / 2}, false);
    plan.operation = "log_probability", plan.tokens = 2;
    gives(fill(plan, in, 2), "y", (const double[]){log(0.75), log(0.2)}, false);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static mr_check *two_numbers(void) {
    const array_of_numbers in[] = {{"x", {3, -4}}, {"g", {1, 2}}};
    return fill((mr_check_plan){.operation = "rmsnorm", .tokens = 1, .width = 2, .eps = 0.25}, in,
                2);
}

static void test_one_wrong(void **state) {
    char text[2000];
    (void)state;
    mr_check *c = two_numbers();
    assert_int_equal(mr_check_judge(c, text, sizeof text), 1);
    assert_non_null(strstr(text, "rmsnorm, f32, inputs of the caller, x [1,2] g [2] y [1,2]: 2 of "
                                 "2 elements of y are wrong; worst y[0,0]: got "));
    assert_non_null(strstr(text, "nothing was written"));
    ((float *)mr_check_data(c, "y"))[0] = (float)(3 / sqrt(12.75));
    ((float *)mr_check_data(c, "y"))[1] = 7;
    assert_int_equal(mr_check_judge(c, text, sizeof text), 1);
    assert_non_null(strstr(text, "1 of 2 elements of y are wrong; worst y[0,1]: got 7, expected "
                                 "-2.24"));
    assert_null(strstr(text, "likely reason"));
    assert_true(isnan(mr_check_expected(c, "y", 2, NULL)));
    assert_true(isnan(mr_check_expected(c, "z", 0, NULL)));
    mr_check_free(c);
}

/* The nearest byte outside an array, on either side; an input that is not as it was. */
static void test_memory(void **state) {
    static const struct { int at, bytes; const char *text; } wrong[] = {
        {8, 1, "1 bytes were written outside y, the nearest 0 bytes after its end"},
        {11, 2, "2 bytes were written outside y, the nearest 3 bytes after its end"},
        {-1, 1, "1 bytes were written outside y, the nearest 1 bytes before its start"},
        {-9, 3, "3 bytes were written outside y, the nearest 7 bytes before its start"}};
    char text[2000];
    (void)state;
    for (int i = 0; i < 4; i++) {
        mr_check *c = two_numbers();
        float *y = mr_check_data(c, "y");
        y[0] = (float)(3 / sqrt(12.75)), y[1] = (float)(-8 / sqrt(12.75));
        memset((char *)y + wrong[i].at, 1, (size_t)wrong[i].bytes);
        assert_int_equal(mr_check_judge(c, text, sizeof text), 1);
        if (strstr(text, wrong[i].text) == NULL) fail_msg("%s: lacks %s", text, wrong[i].text);
        assert_true(isinf(mr_check_ratio(c)));
        mr_check_free(c);
    }
    mr_check *c = two_numbers();
    ((float *)mr_check_data(c, "g"))[1] = 3;
    assert_int_equal(mr_check_judge(c, text, sizeof text), 1);
    assert_non_null(strstr(text, "the input g was changed"));
    mr_check_free(c);
}

/* Eight sizes of eight fills. */
static void test_sweep(void **state) {
    char text[2000];
    variant v = {CORRECT, 0};
    (void)state;
    const mr_check_plan like = {.operation = "swiglu", .store = "f32"};
    assert_int_equal(mr_check_sweep(&like, swiglu, &v, text, sizeof text), 0);
    assert_non_null(strstr(text, "swiglu, f32: agrees in 64 runs (0 of them prove nothing), "
                                 "largest error/bound "));
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
        cmocka_unit_test(test_rows),            cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attention),       cmocka_unit_test(test_cache_write),
        cmocka_unit_test(test_router),          cmocka_unit_test(test_log_probabilities),
        cmocka_unit_test(test_one_wrong),       cmocka_unit_test(test_memory),
        cmocka_unit_test(test_sweep),           cmocka_unit_test(test_proves_nothing),
        cmocka_unit_test(test_refused_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
