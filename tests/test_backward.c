/* Every operation's backward against central differences of its forward, in double.
 * The scalar is L = sum_i c_i y_i with fixed random c, so that dL/dy = c and every output counts.
 * Step 1e-6 max(1,|x|): the difference is off by rounding of L, some 1e-9, and by the third
 * derivative times 1e-12. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "ref/mr.h"

enum { MOST = 6000 };

/* An operation on one flat array of inputs. backward writes dL/dx of all of them. */
typedef struct {
    const char *name;
    idx         inputs, outputs;
    double      size;      /* inputs are random in [-size,size] */
    void (*forward)(double *y, const double *x);
    void (*backward)(double *dx, const double *dy, const double *x);
} operation;

static mr_matrix matrix(const double *data, idx rows, idx cols) {
    return (mr_matrix){data, MR_F64, rows, cols, cols, 1};
}

static double scalar(const operation *op, const double *x, const double *c) {
    static double y[MOST];
    double sum = 0;
    op->forward(y, x);
    for (idx i = 0; i < op->outputs; i++) sum += c[i] * y[i];
    return sum;
}

static void check_operation(const operation *op) {
    static double x[MOST], c[MOST], want[MOST], got[MOST];
    double most = 0;
    assert_true(op->inputs <= MOST && op->outputs <= MOST);
    fill_f64(x, op->inputs, 1);
    fill_f64(c, op->outputs, 2);
    for (idx i = 0; i < op->inputs; i++) x[i] *= op->size;
    for (idx i = 0; i < op->inputs; i++) {
        const double keep = x[i], h = 1e-6 * fmax(1, fabs(keep));
        x[i] = keep + h;
        const double above = scalar(op, x, c);
        x[i] = keep - h;
        want[i] = (above - scalar(op, x, c)) / (2 * h);
        x[i] = keep;
        most = fmax(most, fabs(want[i]));
    }
    memset(got, 0, sizeof got);
    op->backward(got, c, x);
    assert_true(most > 0.01);
    check_close(op->name, want, got, op->inputs, 1e-7, most, 1);
}

/* ---- embedding: a repeated id, an unused one ------------------------------------------------- */

enum { IDS = 4, VOCABULARY = 5, WIDTH = 3 };
static const int32_t ids[IDS] = {3, 1, 3, 0};

static void embed(double *y, const double *x) {
    const mr_matrix table = matrix(x, VOCABULARY, WIDTH);
    mr_embedding_f64(y, ids, &table, IDS, MR_STORE_WIDE);
}

static void embed_back(double *dx, const double *dy, const double *x) {
    const mr_matrix slope = matrix(dx, VOCABULARY, WIDTH);
    (void)x;
    mr_embedding_backward_f64(&slope, dy, ids, IDS);
}

/* ---- rmsnorm: more than one block of gains --------------------------------------------------- */

enum { ROWS = 3, LONG = 260 };

static void norm(double *y, const double *x) {
    const mr_matrix gain = matrix(x + ROWS * LONG, 1, LONG);
    mr_rmsnorm_f64(y, x, &gain, ROWS, 1e-2, MR_STORE_WIDE);
}

static void norm_back(double *dx, const double *dy, const double *x) {
    const mr_matrix gain = matrix(x + ROWS * LONG, 1, LONG);
    const mr_matrix slope = matrix(dx + ROWS * LONG, 1, LONG);
    mr_rmsnorm_backward_f64(dx, &slope, dy, x, &gain, ROWS, 1e-2);
}

/* ---- linear: sizes beside every block, tile and step; W as it is, and read through strides --- */

enum { TOKENS = 9, COLS = 37, OUT = 70 };
static mr_engine engine;
static bool transposed;

static mr_matrix weight(const double *x) {
    mr_matrix W = matrix(x + TOKENS * COLS, OUT, COLS);
    if (transposed) W.row_stride = 1, W.col_stride = OUT;
    return W;
}

static void product(double *y, const double *x) {
    static double scratch[mr_linear_scratch(COLS)];
    const mr_matrix W = weight(x);
    mr_linear_f64(y, x, &W, TOKENS, MR_STORE_WIDE, engine, scratch);
}

/* A gradient is row-major whatever W is. */
static void product_back(double *dx, const double *dy, const double *x) {
    static double scratch[mr_linear_scratch(COLS)], slopes[OUT * COLS];
    const mr_matrix W = weight(x), dW = matrix(slopes, OUT, COLS);
    memset(slopes, 0, sizeof slopes);
    mr_linear_backward_f64(dx, dy, &W, TOKENS, engine, scratch);
    mr_linear_weight_backward_f64(&dW, dy, x, TOKENS, engine);
    for (idx o = 0; o < OUT; o++)
        for (idx i = 0; i < COLS; i++)
            dx[TOKENS * COLS + o * W.row_stride + i * W.col_stride] = slopes[o * COLS + i];
}

/* ---- rope ------------------------------------------------------------------------------------ */

enum { TURNS = 3, HEADS = 2, PAIRS = 3 };
static mr_rope_layout layout;

static void angles(double *cos_, double *sin_) {
    const int64_t position[TURNS] = {0, 1, 40};
    mr_rope_table_f64(cos_, sin_, position, TURNS, 2 * PAIRS, 100, MR_ANGLES_EXACT);
}

static void turn(double *y, const double *x) {
    double cos_[TURNS * PAIRS], sin_[TURNS * PAIRS];
    angles(cos_, sin_);
    mr_rope_f64(y, x, cos_, sin_, TURNS, HEADS, 2 * PAIRS, layout, MR_STORE_WIDE, MR_NATIVE);
}

static void turn_back(double *dx, const double *dy, const double *x) {
    double cos_[TURNS * PAIRS], sin_[TURNS * PAIRS];
    (void)x;
    angles(cos_, sin_);
    mr_rope_backward_f64(dx, dy, cos_, sin_, TURNS, HEADS, 2 * PAIRS, layout);
}

/* ---- attention: keys 1 to 5 of 7, kv head 1 of 2, head_dim beyond one block of channels ------ */

enum { KEYS = 7, FROM = 1, TO = 6, GROUPS = 2, CHANNELS = 66, ALL = KEYS * GROUPS * CHANNELS };

static mr_keys_f64 keys_of(const double *x) {
    return (mr_keys_f64){.new_k = x + CHANNELS, .new_v = x + CHANNELS + ALL, .slots = 1};
}

static void attend(double *y, const double *x) {
    double probs[TO - FROM];
    const mr_keys_f64 keys = keys_of(x);
    mr_attention_row_f64(y, probs, probs, x, &keys, 1, FROM, TO, GROUPS, CHANNELS, MR_STORE_WIDE,
                         MR_ATTENTION_EAGER);
}

static void attend_back(double *dx, const double *dy, const double *x) {
    double o[CHANNELS], probs[TO - FROM], slopes[TO - FROM];
    const mr_keys_f64 keys = keys_of(x);
    attend(o, x);
    mr_attention_row_backward_f64(dx, dx + CHANNELS, dx + CHANNELS + ALL, slopes, slopes, probs, dy,
                                  o, x, &keys, 1, FROM, TO, GROUPS, CHANNELS);
}

/* ---- swiglu ---------------------------------------------------------------------------------- */

enum { GATES = 40 };

static void gated(double *y, const double *x) {
    mr_swiglu_f64(y, x, x + GATES, GATES, MR_STORE_WIDE, MR_PLAIN_ENGINE);
}

static void gated_back(double *dx, const double *dy, const double *x) {
    mr_swiglu_backward_f64(dx, dx + GATES, dy, x, x + GATES, GATES, MR_PLAIN_ENGINE);
}

/* ---- mixture of experts: 4 tokens, 3 of 5 experts, copy 7 dropped ---------------------------- */

enum { MT = 4, E = 5, K = 3, MD = 2, COPIES = MT * K - 1 };
static const int32_t experts[MT * K] = {4, 0, 2, 1, 2, 3, 0, 4, 1, 3, 2, 0};
static const idx place[MT * K] = {8, 0, 4, 2, 5, 6, 1, -1, 3, 7, 9, 10};
static mr_router_order order;

static void combine(double *y, const double *x) {
    mr_moe_combine_f64(y, x, place, experts, x + COPIES * MD, MT, K, MD, MR_EXPERTS_ASCENDING,
                       MR_STORE_WIDE);
}

static void combine_back(double *dx, const double *dy, const double *x) {
    mr_moe_combine_backward_f64(dx, dx + COPIES * MD, dy, x, place, x + COPIES * MD, MT, K, MD);
}

/* The copies in the order of place. */
static void gather(double *y, const double *x) {
    for (idx c = 0; c < MT * K; c++)
        if (place[c] >= 0) mr_moe_gather_f64(y + place[c] * MD, x, &c, 1, K, MD);
}

static void gather_back(double *dx, const double *dy, const double *x) {
    (void)x;
    mr_moe_gather_backward_f64(dx, dy, place, experts, MT, K, MD, MR_EXPERTS_SLOTS);
}

static void route(double *y, const double *x) {
    int32_t chosen[MT * K];
    mr_router_f64(chosen, y, x, MT, E, K, order);
}

static void route_back(double *dx, const double *dy, const double *x) {
    int32_t chosen[MT * K];
    double weights[MT * K];
    mr_router_f64(chosen, weights, x, MT, E, K, order);
    mr_router_backward_f64(dx, dy, weights, chosen, MT, E, K);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void every_operation(void **state) {
    static const operation all[] = {
        {"embedding", VOCABULARY * WIDTH, IDS * WIDTH, 1, embed, embed_back},
        {"rmsnorm", (ROWS + 1) * LONG, ROWS * LONG, 1, norm, norm_back},
        {"attention", CHANNELS + 2 * ALL, CHANNELS, 1, attend, attend_back},
        {"swiglu", 2 * GATES, GATES, 6, gated, gated_back},
        {"combine", COPIES * MD + MT * K, MT * MD, 1, combine, combine_back},
        {"gather", MT * MD, COPIES * MD, 1, gather, gather_back},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_operation(&all[i]);
}

static void every_product(void **state) {
    static const operation op = {"linear", (TOKENS + OUT) * COLS, TOKENS * OUT, 1, product,
                                 product_back};
    (void)state;
    for (int way = 0; way < 4; way++) {
        engine = way & 1 ? MR_BLAS_ENGINE : MR_PLAIN_ENGINE;
        transposed = way & 2;
        if (mr_engine_built(engine)) check_operation(&op);
    }
}

static void every_layout(void **state) {
    static const operation op = {"rope", TURNS * HEADS * 2 * PAIRS, TURNS * HEADS * 2 * PAIRS, 1,
                                 turn, turn_back};
    (void)state;
    for (int i = 0; i < 2; i++) {
        layout = (mr_rope_layout)i;
        check_operation(&op);
    }
}

static void every_router(void **state) {
    static const operation op = {"router", MT * E, MT * K, 4, route, route_back};
    (void)state;
    for (int i = 0; i < 2; i++) {
        order = (mr_router_order)i;
        check_operation(&op);
    }
}

/* Nothing to do is nothing done: no tokens, no columns, no keys; with one expert the gate is the
 * constant 1. */
static void nothing(void **state) {
    double one = 7, x = 3, dq[2] = {5, 5}, slope = 4;
    const int32_t chosen = 0;
    const mr_matrix W = matrix(&x, 1, 1), dW = matrix(&one, 1, 1), flat = matrix(&one, 1, 0);
    const mr_keys_f64 none = {0};
    (void)state;
    for (int e = 0; e < 2; e++) {
        if (!mr_engine_built((mr_engine)e)) continue;
        mr_linear_backward_f64(&one, &x, &W, 0, (mr_engine)e, &slope);
        mr_linear_weight_backward_f64(&dW, &x, &x, 0, (mr_engine)e);
        mr_linear_weight_backward_f64(&flat, &x, &x, 1, (mr_engine)e);
    }
    assert_true(one == 7);
    mr_attention_row_backward_f64(dq, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, &none, 0, 3,
                                  3, 1, 2);
    assert_true(dq[0] == 0 && dq[1] == 0);
    mr_router_backward_f64(&one, &slope, &(double){1}, &chosen, 1, 1, 1);
    assert_true(one == 0);
}

/* Silu far out: the slope is 0 or 1, never a NaN. */
static void far_out(void **state) {
    const double a[] = {-800, 800, -40}, u[] = {2, 2, 2}, dact[] = {1, 1, 1};
    double da[3], du[3];
    (void)state;
    mr_swiglu_backward_f64(da, du, dact, a, u, 3, MR_PLAIN_ENGINE);
    assert_true(da[0] == 0 && du[0] == 0 && da[1] == 2 && du[1] == 800);
    check_number("tail", 2 * exp(-40) * (1 - 40), da[2], 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation), cmocka_unit_test(every_product),
        cmocka_unit_test(every_layout),    cmocka_unit_test(every_router),
        cmocka_unit_test(nothing),         cmocka_unit_test(far_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
