/* Inputs of kernel tests: every fill has the size, the spread and the structure that finds its kind
 * of mistake (docs/KERNELS.md). Means and deviations are those of the distributions: four uniform
 * numbers added, |mean| 0.8084 and deviation 0.5889 where the sign is dropped. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

#include "golden/check.h"

#define BELL 3.4642    /* 2 sqrt(3): no bell-shaped number is larger */

enum { T = 32, H = 4, D = 64, WIDTH = 64, ROWS = 64, K = 2, E = 64, SLOTS = 5 };

static mr_check *make(const char *operation, int fill, const char *store, ptrdiff_t seen) {
    char text[400];
    const mr_check_plan plan = {
        .operation = operation, .store = store, .fill = fill, .seed = 5, .tokens = T,
        .width = WIDTH, .outputs = ROWS, .heads = H, .kv_heads = H, .head_dim = D, .window = 2,
        .seen = seen, .slots = SLOTS, .vocab = ROWS, .experts = E, .chosen = K, .theta = 1e4};
    mr_check *c = mr_check_new(&plan, text, sizeof text);
    if (c == NULL) fail_msg("%s", text);
    return c;
}

static double at(const mr_check *c, const char *name, size_t i, const char *store) {
    return mr_check_load(store, mr_check_data(c, name), i);
}

#define X "rmsnorm", "x"
#define WEIGHTS "linear", "W"
#define GAIN "rmsnorm", "g"
#define Q "attention", "q"
#define KEY "attention", "k"
#define V "attention", "v"
#define LOGIT "log_probability", "logits"
#define GATE "swiglu", "gate"
#define UP "swiglu", "up"
#define TABLE "embedding", "table"

/* Mean and deviation of one array, and the interval in which all of it lies. */
static const struct {
    const char *operation, *name;
    int         fill;
    double      mean, deviation, least, most;
} fills[] = {
    {X, MR_FILL_ORDINARY, 0, 1, -BELL, BELL},
    {X, MR_FILL_INTEGERS, 0, 2.582, -4, 4},
    {X, MR_FILL_LARGE, 0, 0.7638 * 0x1p59, -0x1p59, 0x1p59},   /* 64 squares: 2^124 */
    {X, MR_FILL_TINY, 0, 0x1p-125 / 1.732, -0x1p-125, 0x1p-125},
    {X, MR_FILL_NEGATIVE, -1.3084, 0.5889, -0.5 - BELL, -0.5},
    {X, MR_FILL_TIES, 0.2, 0.8124, -1, 1},
    {X, MR_FILL_OFFSET, 100, 1, 100 - BELL, 100 + BELL},
    {X, MR_FILL_CANCELLATION, 0, 1000, -1000 - BELL, 1000 + BELL},
    {WEIGHTS, MR_FILL_ORDINARY, 0, 0.125, -BELL / 8, BELL / 8},
    {WEIGHTS, MR_FILL_INTEGERS, 0, 2.582, -4, 4},
    {WEIGHTS, MR_FILL_LARGE, 0, 1.0 / 256, -BELL / 256, BELL / 256},
    {WEIGHTS, MR_FILL_TINY, 0, 2.582, -4, 4},
    {WEIGHTS, MR_FILL_NEGATIVE, 0.8084 / 8, 0.5889 / 8, 0, BELL / 8},
    {WEIGHTS, MR_FILL_TIES, 0.2, 0.8124, -1, 1},
    {WEIGHTS, MR_FILL_CANCELLATION, 0, 0.125, -BELL / 8, BELL / 8},
    {GAIN, MR_FILL_ORDINARY, 1, 0.25, 1 - BELL / 4, 1 + BELL / 4},
    {GAIN, MR_FILL_INTEGERS, 1.5, 0.5, 1, 2},
    {GAIN, MR_FILL_TINY, 1.5, 0.5, 1, 2},
    {GAIN, MR_FILL_NEGATIVE, -1, 0.25, -1 - BELL / 4, -1 + BELL / 4},
    {Q, MR_FILL_ORDINARY, 0, 1, -BELL, BELL},
    {Q, MR_FILL_INTEGERS, 0, 8, -8, 8},
    {Q, MR_FILL_LARGE, 16, 0, 16, 16},                         /* 64 of them: scores near 2^14 */
    {Q, MR_FILL_TINY, 0, 0x1p-100, -BELL * 0x1p-100, BELL * 0x1p-100},
    {Q, MR_FILL_NEGATIVE, 1.3084 * 6.1237, 0.5889 * 6.1237, 0.5 * 6.1237, 4 * 6.1237},
    {Q, MR_FILL_OFFSET, 1, 0.25, 1 - BELL / 4, 1 + BELL / 4},
    {Q, MR_FILL_CANCELLATION, 0, 30.017, -30 - BELL, 30 + BELL},
    {KEY, MR_FILL_ORDINARY, 0, 1, -BELL, BELL},
    {KEY, MR_FILL_INTEGERS, 0, 8, -8, 8},
    {KEY, MR_FILL_NEGATIVE, -1.3084 * 6.1237, 0.5889 * 6.1237, -4 * 6.1237, -0.5 * 6.1237},
    {KEY, MR_FILL_OFFSET, 20, 1, 20 - BELL, 20 + BELL},
    {KEY, MR_FILL_CANCELLATION, 0, 1, -BELL, BELL},
    {V, MR_FILL_ORDINARY, 0, 1, -BELL, BELL},
    {V, MR_FILL_LARGE, 0, 0x1p100, -BELL * 0x1p100, BELL * 0x1p100},
    {V, MR_FILL_TINY, 0, 0x1p-110, -BELL * 0x1p-110, BELL * 0x1p-110},
    {V, MR_FILL_NEGATIVE, -0.8084, 0.5889, -BELL, 0},
    {V, MR_FILL_OFFSET, 100, 1, 100 - BELL, 100 + BELL},
    {V, MR_FILL_CANCELLATION, 0, 100, -100 - BELL, 100 + BELL},
    {LOGIT, MR_FILL_ORDINARY, 0, 3, -3 * BELL, 3 * BELL},
    {LOGIT, MR_FILL_INTEGERS, 0, 2.582, -4, 4},
    {LOGIT, MR_FILL_LARGE, 0, 4618.8, -8000, 8000},
    {LOGIT, MR_FILL_TINY, 0, 0x1p-125 / 1.732, -0x1p-125, 0x1p-125},
    {LOGIT, MR_FILL_NEGATIVE, -216.17, 11.78, -200 - 20 * BELL, -200},
    {LOGIT, MR_FILL_TIES, 1.25, 0.63, 0, 2},
    {LOGIT, MR_FILL_OFFSET, 10000, 3, 10000 - 3 * BELL, 10000 + 3 * BELL},
    {GATE, MR_FILL_ORDINARY, 0, 2, -2 * BELL, 2 * BELL},
    {GATE, MR_FILL_INTEGERS, 0, 2.582, -4, 4},
    {GATE, MR_FILL_LARGE, 0, 4618.8, -8000, 8000},
    {GATE, MR_FILL_TINY, 0, 0x1p-125 / 1.732, -0x1p-125, 0x1p-125},
    {GATE, MR_FILL_NEGATIVE, -68.504, 35.33, -20 - 60 * BELL, -20},
    {GATE, MR_FILL_TIES, 0.2, 0.8124, -1, 1},
    {GATE, MR_FILL_OFFSET, 50, 1, 50 - BELL, 50 + BELL},
    {UP, MR_FILL_ORDINARY, 0, 1, -BELL, BELL},
    {UP, MR_FILL_TINY, 0, 2.582, -4, 4},
    {"moe_combine", "weights", MR_FILL_ORDINARY, 0.5, 0.2598, 0.05, 0.95},
    {"moe_combine", "weights", MR_FILL_INTEGERS, 0.2917, 0.1559, 0.125, 0.5},
    {"moe_combine", "weights", MR_FILL_TINY, 0.2917, 0.1559, 0.125, 0.5},
    {TABLE, MR_FILL_ORDINARY, 0, 1, -BELL, BELL},
    {TABLE, MR_FILL_LARGE, 0, 0x1p125, -BELL * 0x1p125, BELL * 0x1p125},
    {TABLE, MR_FILL_TINY, 0, 0x1p-125 / 1.732, -0x1p-125, 0x1p-125},
};

static void test_sizes(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof fills / sizeof *fills; f++) {
        mr_check *c = make(fills[f].operation, fills[f].fill, "f32", 3);
        const size_t n = mr_check_get(c, fills[f].name)->count;
        const double d = fills[f].deviation, sharp = sqrt((double)n);
        double sum = 0, squares = 0, unit = d > 0 ? d : 1;
        for (size_t i = 0; i < n; i++) {
            const double x = at(c, fills[f].name, i, "f32"), far = (x - fills[f].mean) / unit;
            if (!(x >= fills[f].least && x <= fills[f].most))
                fail_msg("%s, fill %d: %g", fills[f].name, fills[f].fill, x);
            sum += far, squares += far * far;
        }
        const double mean = sum / (double)n, deviation = sqrt(squares / (double)n);
        if (!(fabs(mean) <= 5 / sharp && fabs(deviation - (d > 0)) <= 5 / sharp))
            fail_msg("%s, fill %d: mean off by %g deviations, deviation %g of the expected",
                     fills[f].name, fills[f].fill, mean, deviation);
        mr_check_free(c);
    }
}

/* Half precision has less room: 2^14, 2^12 and its own subnormals below 2047 * 2^-24. */
static void test_half(void **state) {
    static const struct { const char *operation, *name; int fill; double least, most; } half[] = {
        {X, MR_FILL_LARGE, 0x1p13, 0x1p14},       {X, MR_FILL_TINY, 0x1p-24, 2047 * 0x1p-24},
        {V, MR_FILL_LARGE, 0x1p13, BELL * 0x1p12}, {V, MR_FILL_TINY, 0x1p-24, 2047 * 0x1p-24},
        {Q, MR_FILL_TINY, 0x1p-24, 2047 * 0x1p-24}, {TABLE, MR_FILL_LARGE, 0x1p15, BELL * 0x1p14},
    };
    (void)state;
    for (size_t f = 0; f < sizeof half / sizeof *half; f++) {
        mr_check *c = make(half[f].operation, half[f].fill, "f16", 3);
        double most = 0, least = HUGE_VAL;
        for (size_t i = 0; i < mr_check_get(c, half[f].name)->count; i++) {
            const double x = fabs(at(c, half[f].name, i, "f16"));
            most = fmax(most, x), least = fmin(least, x);
        }
        assert_true(most <= half[f].most && most >= half[f].most / 2);
        if (half[f].fill == MR_FILL_TINY) assert_true(least >= half[f].least);
        mr_check_free(c);
    }
}

/* What cancels or is equal: columns 2n and 2n+1, all rows of keys, the rows of logits. */
static void test_structure(void **state) {
    mr_check *linear = make("linear", MR_FILL_CANCELLATION, "f32", 3),
             *sums = make("attention", MR_FILL_CANCELLATION, "f32", 3),
             *ties = make("attention", MR_FILL_TIES, "f32", 3),
             *equal = make("router", MR_FILL_TIES, "f32", 3);
    (void)state;
    for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++) {
        const double sign = i % 2 == 0 ? 1 : -1;
        assert_true(fabs(at(linear, "x", i % (T * WIDTH), "f32") - 1000 * sign) <= BELL);
        assert_true(at(linear, "W", i, "f32") == at(linear, "W", i ^ 1u, "f32"));
        assert_true(fabs(at(sums, "q", i, "f32") - 30 * sign) <= BELL);
        assert_true(at(sums, "k", i, "f32") == at(sums, "k", i ^ 1u, "f32"));
        assert_true(fabs(at(sums, "v", i, "f32") - (i / D % 2 == 0 ? 100 : -100)) <= BELL);
        assert_true(at(ties, "k", i, "f32") == at(ties, "k", i % D, "f32"));
        assert_true(at(equal, "logits", i % (T * E), "f32") ==
                    (i / E % 2 == 0 ? 1.5 : (double)(i % E % 3)));
    }
    mr_check_free(linear);
    mr_check_free(sums);
    mr_check_free(ties);
    mr_check_free(equal);
}

/* Large keys: one number per row, between -16 and 16, so that scores reach 2^14 either way. */
static void test_large_keys(void **state) {
    mr_check *c = make("attention", MR_FILL_LARGE, "f32", 3);
    double least = 0, most = 0;
    (void)state;
    for (size_t i = 0; i < (size_t)T * H * D; i++) {
        const double x = at(c, "k", i, "f32");
        assert_true(x == at(c, "k", i / D * D, "f32"));
        least = fmin(least, x), most = fmax(most, x);
    }
    assert_true(least >= -16 && least < -15 && most <= 16 && most > 15);
    mr_check_free(c);
}

/* Ties: ones, minus ones and halves, in shares of 3, 3 and 4. */
static void test_ties(void **state) {
    mr_check *c = make("swiglu", MR_FILL_TIES, "f32", 3);
    int seen[3] = {0};
    (void)state;
    for (size_t i = 0; i < T * WIDTH; i++) {
        const double x = at(c, "gate", i, "f32");
        assert_true(x == 1 || x == -1 || x == 0.5);
        seen[x == 1 ? 0 : x == -1 ? 1 : 2]++;
    }
    assert_true(abs(seen[0] - 614) < 100 && abs(seen[1] - 614) < 100 && abs(seen[2] - 819) < 100);
    mr_check_free(c);
}

/* A query has the code of one key that it sees, 64 signs by the position's bits; so the other keys,
 * with one sign in ten turned or more, have no weight, and the value tells which was read. */
static void test_integers_pick_one_key(void **state) {
    mr_check *c = make("attention", MR_FILL_INTEGERS, "f32", 3);
    (void)state;
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < H; h++) {
            size_t picked = 0;
            for (size_t k = 0; k <= t; k++) {      /* the window is 2: the last of t - 1 and t */
                double score = 0;
                for (size_t i = 0; i < D; i++)
                    score += at(c, "q", (t * H + h) * D + i, "f32") *
                             at(c, "k", (k * H + h) * D + i, "f32");
                assert_true(score == 64 * D || score <= 64 * (D - 24));
                picked += score == 64 * D && k + 2 > t;
            }
            assert_true(picked == 1 || t == 0);    /* the key before the first is in the ring */
        }
    for (size_t i = 0; i < T * H * D; i++)
        assert_true(at(c, "v", i, "f32") == (double)(1 + i / D % 50 + i % D % 4));
    mr_check_free(c);
}

/* Slots that hold no key are NaN, or large numbers where the program promises finite memory. */
static void test_empty_slots(void **state) {
    static const ptrdiff_t seen[] = {0, 3, 5, 9};
    (void)state;
    for (int s = 0; s < 4; s++) {
        mr_check *c = make("cache_write", MR_FILL_ORDINARY, "f32", seen[s]);
        for (size_t i = 0; i < SLOTS * H * D; i++)
            assert_true(isnan(at(c, "ring_k", i, "f32")) == ((ptrdiff_t)(i / (H * D)) >= seen[s]));
        mr_check_free(c);
    }
    char text[400];
    const mr_check_plan finite = {.operation = "cache_write", .store = "f32", .tokens = 1,
                                  .kv_heads = 1, .head_dim = 2, .slots = 2, .finite_unused = 1};
    mr_check *c = mr_check_new(&finite, text, sizeof text);
    assert_non_null(c);
    for (size_t i = 0; i < 4; i++) assert_true(at(c, "ring_v", i, "f32") == 10000);
    mr_check_free(c);
}

/* Targets and tokens: the last id, the first, then any; every fourth of a mean is not scored. */
static void test_indices(void **state) {
    mr_check *mean = make("cross_entropy", MR_FILL_ORDINARY, "f32", 3),
             *copy = make("embedding", MR_FILL_ORDINARY, "f32", 3);
    const int32_t *target = mr_check_data(mean, "targets"), *token = mr_check_data(copy, "tokens");
    int high = 0;
    (void)state;
    assert_true(target[0] == ROWS - 1 && target[1] == 0);
    assert_true(token[0] == ROWS - 1 && token[1] == 0);
    for (int t = 2; t < T; t++) {
        assert_true(t % 4 == 3 ? target[t] == -100 : target[t] >= 0 && target[t] < ROWS);
        assert_true(token[t] >= 0 && token[t] < ROWS);
        high += token[t] >= ROWS / 2;
    }
    assert_true(high > 5 && high < 25);
    mr_check_free(mean);
    mr_check_free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_half),
        cmocka_unit_test(test_structure),   cmocka_unit_test(test_large_keys),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_integers_pick_one_key),
        cmocka_unit_test(test_empty_slots), cmocka_unit_test(test_indices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
