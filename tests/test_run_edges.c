/* A run at its edges: as many sequences as fill a line of memory, one expert, a tap that wants one
 * of two tensors, a short call after a long one. */
#include "tests/gradients.h"

/* ref/state.h, for one precision at a time */
void mr_round_all_f32(float *data, idx n, mr_storage storage);

enum { V = 11, MANY = 8, T = 7 };

/* Tokens of sequence b: 1 + b % 2 in the first of two calls, then 2. */
static int32_t token(idx b, idx position) { return (int32_t)((3 * b + 5 * position + 1) % V); }

static idx fill(int32_t *tokens, const idx *length, const idx *seen) {
    idx n = 0;
    for (idx b = 0; b < MANY; b++)
        for (idx a = 0; a < length[b]; a++) tokens[n++] = token(b, seen[b] + a);
    return n;
}

/* Eight sequences in two calls give every one the bits that it gets alone. */
static void eight_sequences(void **state) {
    (void)state;
    mr_config c = tiny_config();
    c.n_windows = 1, c.windows[0] = 2;
    tiny t;
    tiny_open(&t, &c);
    const idx capacity[MANY] = {4, 4, 4, 4, 4, 4, 4, 4}, none[MANY] = {0};
    const idx first[MANY] = {1, 2, 1, 2, 1, 2, 1, 2}, second[MANY] = {2, 2, 2, 2, 2, 2, 2, 2};
    const mr_run_options o = {.precision = MR_F64_RUN, .n_seqs = MANY, .capacity = capacity,
                              .max_tokens = 16};
    int32_t tokens[16];
    mr_run *run = tiny_run(&t, &o);
    assert_int_equal(fill(tokens, first, none), 12);
    tiny_forward(run, tokens, first);
    assert_int_equal(fill(tokens, second, first), 16);
    tiny_forward(run, tokens, second);
    for (idx b = 0; b < MANY; b++) {
        int32_t own[4];
        double want[4 * V], got[V];
        const idx all = first[b] + 2;
        for (idx p = 0; p < all; p++) own[p] = token(b, p);
        tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, own, all, want, NULL);
        for (idx a = 0; a < 2; a++) {
            mr_run_logits(run, 2 * b + a, got);
            check_bits("logits", want + (all - 2 + a) * V, got, V, sizeof *got);
        }
    }
    mr_run_close(run);
    tiny_close(&t);
}

/* Gradients of eight sequences: one call, or a call for each. */
static void eight_gradients(void **state) {
    (void)state;
    const mr_config c = tiny_config();
    const idx length[MANY] = {1, 1, 1, 0, 1, 1, 1, 1};
    trainee t, u;
    trainee_open(&t, &c, MR_F64_RUN);
    trainee_open(&u, &c, MR_F64_RUN);
    const idx most[MANY] = {2, 2, 2, 2, 2, 2, 2, 2};
    mr_run *run = train_run(&t, (mr_run_options){.precision = MR_F64_RUN}, most, MANY);
    train_step(&t, run, tiny_tokens, 0, length, true);
    for (idx b = 0, first = 0; b < MANY; first += length[b++]) {
        idx one[MANY] = {0};
        one[b] = length[b];
        if (length[b] > 0) train_step(&u, run, tiny_tokens, first, one, true);
    }
    mr_run_close(run);
    check_bits("gradients", t.slopes, u.slopes, t.count, mr_dtype_size(t.dtype));
    trainee_close(&t);
    trainee_close(&u);
}

/* A layer with one expert has a router, whose gate is the softmax of one number: 1. */
static void one_expert(void **state) {
    (void)state;
    static tiny_trace gate = {.name = "layers.0.router_weights"};
    static tiny_trace out = {.name = "layers.1.experts.0.out"}, sum = {.name = "layers.1.ffn_out"};
    mr_config c = tiny_config();
    c.n_experts = c.n_experts_per_tok = 1;
    tiny t;
    tiny_open(&t, &c);
    tiny_trace *const traces[] = {&gate, &out, &sum};
    for (int i = 0; i < 3; i++)
        tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, T, NULL, traces[i]);
    assert_true(gate.n == T && out.n == T * c.dim && sum.n == out.n);
    for (idx i = 0; i < T; i++) assert_true(gate.values[i] == 1);
    check_bits("ffn_out", out.values, sum.values, sum.n, sizeof *sum.values);
    tiny_close(&t);
}

/* Whatever the tap is asked about has sizes of 0 or more, and a name without negative numbers. */
static bool careful_tap(void *user, const mr_tensor *t) {
    if (strchr(t->name, '-') != NULL) fail_msg("a tensor is called %s", t->name);
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 0) fail_msg("%s: dimension %d is %td", t->name, i, t->dim[i]);
    return tiny_tap(user, t);
}

/* The derivatives that two calls of 4 + 3 and of 2 + 3 tokens show under one name: those of the
 * last call. */
static void slopes(const mr_config *c, tiny_trace *trace) {
    const idx most[] = {4, 3}, fewer[] = {2, 3};
    trainee t;
    trainee_open(&t, c, MR_F64_RUN);
    mr_run_options o = {.precision = MR_F64_RUN, .tap = careful_tap, .user = trace};
    mr_run *run = train_run(&t, o, most, 2);
    train_step(&t, run, tiny_tokens, 0, most, true);
    trace->n = 0;
    train_step(&t, run, tiny_tokens, 0, fewer, true);
    mr_run_close(run);
    trainee_close(&t);
}

/* ds = p (dp - sum p dp), each of the three wanted alone; 0 where the mask is 0: 4 heads, 5 rows, 7
 * columns, of which the second sequence has the last 3. */
static void scores_or_probs(void **state) {
    (void)state;
    static tiny_trace p = {.name = "layers.0.probs"}, dp = {.name = "grad.layers.0.probs"},
                      ds = {.name = "grad.layers.0.scores"};
    const mr_config c = tiny_config();
    slopes(&c, &p);
    slopes(&c, &dp);
    slopes(&c, &ds);
    assert_true(p.n == 4 * 5 * 7 && dp.n == p.n && ds.n == p.n);
    for (idx row = 0; row < 4 * 5; row++) {
        const double *P = p.values + row * 7, *D = dp.values + row * 7, *S = ds.values + row * 7;
        const idx t = row % 5, from = t < 2 ? 0 : 4, to = t < 2 ? t + 1 : 4 + t - 1;
        double mean = 0;
        for (idx s = from; s < to; s++) mean += P[s] * D[s];
        for (idx s = 0; s < 7; s++) {
            const double want = P[s] * (D[s] - mean);
            check_close("ds", &want, &S[s], 1, EPS_F64, 1, 8);
            if (s < from || s >= to) assert_true(P[s] == 0 && D[s] == 0 && S[s] == 0);
        }
    }
}

/* Router losses of a call say nothing about those of the next one, which is the same here; and the
 * derivatives of four experts are shown, none of them before the first. */
static void router_losses_again(void **state) {
    (void)state;
    static tiny_trace shown = {.name = "grad.layers.1.experts.0.out"};
    const mr_config c = tiny_sparse(2);
    const idx length = T;
    trainee t, u;
    trainee_open(&t, &c, MR_F64_RUN);
    trainee_open(&u, &c, MR_F64_RUN);
    mr_run *run = train_run(&t, (mr_run_options){.precision = MR_F64_RUN, .tap = careful_tap,
                                                 .user = &shown,
                                                 .router = {0.3, 0.2, 0.1, 0.4}}, &length, 1);
    const double first = train_step(&t, run, tiny_tokens, 0, &length, true);
    const double second = train_step(&u, run, tiny_tokens, 0, &length, true);
    mr_run_close(run);
    check_bits("loss", &first, &second, 1, sizeof first);
    check_bits("gradients", t.slopes, u.slopes, t.count, mr_dtype_size(t.dtype));
    trainee_close(&t);
    trainee_close(&u);
}

/* g = (1/2, 1/2) and dg = (1, 3): the mean is 2, so dz = -1/2 and 1/2; the row behind stays. */
static void router_slopes_stay_inside(void **state) {
    (void)state;
    double dz[] = {9, 9, 9, 7, 7, 7};
    const double g[] = {0.5, 0.5, 1, 0}, dg[] = {1, 3, 1, 1}, want[] = {0.5, 0, -0.5, 7, 7, 7};
    const int32_t experts[] = {2, 0, 1, 2};
    mr_router_backward_f64(dz, dg, g, experts, 1, 3, 2);
    check_bits("dz", want, dz, 6, sizeof *dz);
}

/* bf16 of 0.3 = 1.2 / 4 is 154/128 / 4; the neighbours stay. */
static void rounding_stays_inside(void **state) {
    (void)state;
    float x[] = {0.3F, 0.3F, 0.3F, 0.3F};
    const float want[] = {0.3F, 0.30078125F, 0.30078125F, 0.3F};
    mr_round_all_f32(x + 1, 2, MR_STORE_BF16);
    check_bits("x", want, x, 4, sizeof *x);
}

static idx told[4], count;
static void remember(const mr_model *model, idx layer) {
    assert_true(model->config.n_layers == 2 && count < 4);
    told[count++] = layer;
}

/* Before each layer of each call, in order. */
static void layers_announced(void **state) {
    const mr_config c = tiny_config();
    const idx capacity = 4, length = 2;
    const mr_run_options o = {.precision = MR_F32_RUN, .n_seqs = 1, .capacity = &capacity,
                              .max_tokens = 2, .coming = remember};
    tiny t;
    (void)state;
    tiny_open(&t, &c);
    mr_run *run = tiny_run(&t, &o);
    count = 0;
    tiny_forward(run, tiny_tokens, &length);
    tiny_forward(run, tiny_tokens + 2, &length);
    assert_int_equal(count, 4);
    for (idx i = 0; i < 4; i++) assert_int_equal(told[i], i % 2);
    mr_run_close(run);
    tiny_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_sequences), cmocka_unit_test(eight_gradients),
        cmocka_unit_test(one_expert),      cmocka_unit_test(scores_or_probs),
        cmocka_unit_test(rounding_stays_inside), cmocka_unit_test(router_losses_again),
        cmocka_unit_test(router_slopes_stay_inside),
        cmocka_unit_test(layers_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
