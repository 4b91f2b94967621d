/* Layouts of several tensors at once: fused projections, exchanged names, experts in one tensor,
 * keys permuted by the wrong head count. */
#include "tests/layouts.h"

#define T13    CASES "dense_gqa_w5/t13.f64.npz"
#define SPARSE CASES "mixtral_e7k2_w5/t13.f64.npz"

static void add(mr_trace *golden, mr_trace_writer *w, idx layer, const char *as, idx width,
                double (*at)(mr_trace *golden, idx layer, idx t, idx c)) {
    char name[64];
    double *x = malloc((size_t)(T * width) * sizeof *x);
    assert_non_null(x);
    for (idx i = 0; i < T * width; i++) x[i] = at(golden, layer, i / width, i % width);
    snprintf(name, sizeof name, "layers.%td.%s", layer, as);
    put(w, name, 2, (const idx[]){T, width}, x);
    free(x);
}

/* Channel c of row t of a golden tensor. */
static double value(mr_trace *golden, idx layer, const char *part, idx w, idx t, idx c) {
    char name[64];
    idx n;
    snprintf(name, sizeof name, "layers.%td.%s", layer, part);
    double *x = load(golden, name, &n), one = x[t * w + c];
    free(x);
    return one;
}

static double blocks(mr_trace *g, idx l, idx t, idx c) {       /* q | k | v */
    if (c < 48) return value(g, l, "q", 48, t, c);
    return c < 64 ? value(g, l, "k", 16, t, c - 48) : value(g, l, "v", 16, t, c - 64);
}
static double grouped(mr_trace *g, idx l, idx t, idx c) {      /* per kv head: 3 q, k, v; half */
    const idx kv = c / 40, at = c % 40, r = at % 8, ours = at / 8 * 8 + r % 4 * 2 + r / 4;
    if (at < 24) return value(g, l, "q", 48, t, kv * 24 + ours);
    if (at < 32) return value(g, l, "k", 16, t, kv * 8 + ours - 24);
    return value(g, l, "v", 16, t, kv * 8 + at - 32);
}
static double up_gate(mr_trace *g, idx l, idx t, idx c) {      /* w3 | w1 */
    return c < F ? value(g, l, "w3", F, t, c) : value(g, l, "w1", F, t, c - F);
}
static double mixed(mr_trace *g, idx l, idx t, idx c) {        /* w1, w3 channel by channel */
    return value(g, l, c % 2 == 0 ? "w1" : "w3", F, t, c / 2);
}

static void add_blocks(mr_trace *g, mr_trace_writer *w) {
    for (idx l = 0; l < L; l++) add(g, w, l, "qkv", 80, blocks);
    for (idx l = 0; l < L; l++) add(g, w, l, "w13", 2 * F, up_gate);
}
static void add_grouped(mr_trace *g, mr_trace_writer *w) {
    for (idx l = 0; l < L; l++) add(g, w, l, "wqkv", 80, grouped);
    for (idx l = 0; l < L; l++) add(g, w, l, "gate_up", 2 * F, mixed);
}

/* A port made of `golden` without the listed parts and with `more`; what is said of `tensor`. */
static void expect(const char *trace, const change *list, idx count,
                   void (*more)(mr_trace *, mr_trace_writer *), mr_layout_kind kind,
                   const char *tensor, const char *words, const char *const *parts) {
    mr_err err = {0};
    mr_trace *golden;
    result r;
    if (mr_trace_open(trace, &golden, &err) != MR_OK) fail_msg("%s", err.text);
    write_port_and(golden, list, count, more);
    mr_trace_close(golden);
    recognise(&r, trace, scratch("port.npz"), NULL);
    bool named = false;
    for (idx i = 0; i < r.found.count; i++) {
        assert_null(strstr(r.found.list[i].text, "order: is "));   /* a place is no order */
        named = named || (strcmp(r.found.list[i].tensor, tensor) == 0 &&
                          r.found.list[i].kind == kind &&
                          strstr(r.found.list[i].text, words) != NULL);
    }
    if (!named)
        fail_msg("%s: \"%s\" not said; %td layouts, first: %s", tensor, words, r.found.count,
                 r.found.count > 0 ? r.found.list[0].text : "none");
    for (; *parts != NULL; parts++) check_values(&r, *parts);
    done(&r);
}

static void test_fused(void **state) {
    (void)state;
    const change gone[] = {{"q", NULL, 0, {0}, NULL}, {"k", NULL, 0, {0}, NULL},
                           {"v", NULL, 0, {0}, NULL}, {"w1", NULL, 0, {0}, NULL},
                           {"w3", NULL, 0, {0}, NULL}};
    const char *const parts[] = {"q", "k", "v", "w1", "w3", NULL};
    expect(T13, gone, 5, add_blocks, MR_LAYOUT_FOUND, "layers.1.k",
           "channels 48 to 63 of a fused tensor", parts);
    expect(T13, gone, 5, add_blocks, MR_LAYOUT_FOUND, "layers.0.w1", "second half", parts);
    expect(T13, gone, 5, add_grouped, MR_LAYOUT_FOUND, "layers.0.q",
           "kv head by kv head, half-split rotary order", parts);
    expect(T13, gone, 5, add_grouped, MR_LAYOUT_FOUND, "layers.1.w3", "odd channels", parts);
}

/* A port that recorded nothing else. */
static void test_only_fused(void **state) {
    (void)state;
    mr_err err = {0};
    mr_trace *golden;
    mr_trace_writer *w;
    result r;
    if (mr_trace_open(T13, &golden, &err) || mr_trace_create(scratch("port.npz"), 1, &w, &err))
        fail_msg("%s", err.text);
    add_blocks(golden, w);
    if (mr_trace_finish(w, mr_trace_meta(golden), &err) != MR_OK) fail_msg("%s", err.text);
    mr_trace_close(golden);
    recognise(&r, T13, scratch("port.npz"), NULL);
    check_values(&r, "q");
    check_values(&r, "v");
    check_values(&r, "w1");
    done(&r);
}

/* ---- gate and up ----------------------------------------------------------------------------- */

static idx same(idx i) { return i; }

static double silu_up_gate(mr_trace *g, idx l, idx t, idx c) {
    const double up = value(g, l, "w3", F, t, c);
    return up / (1 + exp(-up)) * value(g, l, "w1", F, t, c);
}
static void add_swapped_act(mr_trace *g, mr_trace_writer *w) {
    for (idx l = 0; l < L; l++) add(g, w, l, "act", F, silu_up_gate);
}

static void test_exchanged(void **state) {
    (void)state;
    const char *const both[] = {"w1", "w3", NULL}, *const none[] = {NULL};
    const change names[] = {{"w1", same, 2, {T, F}, "w3"}, {"w3", same, 2, {T, F}, "w1"}};
    expect(T13, names, 2, NULL, MR_LAYOUT_FOUND, "layers.0.w1", "has the name of w3", both);
    const change later[] = {{"w1", same, 2, {T, F}, "w3"}, {"w3", same, 2, {T, F}, "w1"},
                            {"act", NULL, 0, {0}, NULL}, {"ffn_out", NULL, 0, {0}, NULL}};
    expect(T13, later, 4, NULL, MR_LAYOUT_FOUND, "layers.1.w1", "has the name of w3", both);
    const change loaded[] = {{"w1", same, 2, {T, F}, "w3"}, {"w3", same, 2, {T, F}, "w1"},
                             {"act", NULL, 0, {0}, NULL}};
    expect(T13, loaded, 3, add_swapped_act, MR_LAYOUT_FAULT, "layers.0.act",
           "swapped inside the computation", none);
    const change only_act[] = {{"w1", NULL, 0, {0}, NULL}, {"w3", NULL, 0, {0}, NULL},
                               {"act", NULL, 0, {0}, NULL}};
    expect(T13, only_act, 3, add_swapped_act, MR_LAYOUT_FAULT, "layers.1.act",
           "swapped inside the computation", none);
    const change unknown[] = {{"w1", same, 2, {T, F}, "w3"}, {"w3", same, 2, {T, F}, "w1"},
                              {"act", NULL, 0, {0}, NULL}, {"ffn_out", NULL, 0, {0}, NULL},
                              {"h", NULL, 0, {0}, NULL}};
    expect(T13, unknown, 5, NULL, MR_LAYOUT_UNCLEAR, "layers.0.w1", "act would tell", none);
}

/* ---- k of a loader that permutes by 4 query heads where 2 key heads are ---------------------- */

/* square: H=4 G=2 D=8. The file is half-split; rows are put in pairs, but of heads of 4. */
static idx by_queries(idx i) {
    const idx at = i % 16, head = at / 4, r = at % 4;
    const idx file = head * 4 + r / 2 + r % 2 * 2;             /* row of the half-split file */
    const idx kv = file / 8, f = file % 8;
    return i - at + kv * 8 + f % 4 * 2 + f / 4;             /* its place in pairs of heads of 8 */
}

static void make_square(void) {
    static const char config[] =
        "{\"model_type\":\"mistral\",\"hidden_size\":24,\"intermediate_size\":20,"
        "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,"
        "\"num_hidden_layers\":2,\"vocab_size\":41,\"rms_norm_eps\":1e-5,\"rope_theta\":1e4,"
        "\"sliding_window\":5,\"tie_word_embeddings\":false,\"bos_token_id\":1,"
        "\"eos_token_id\":2}";
    char command[2000];
    scratch_write("square.json", config, sizeof config - 1);
    snprintf(command, sizeof command,
             "./mistral-ref init %s -o %s/square --seed 3 --dtype f32 2>/dev/null && ./mistral-ref "
             "trace %s/square --tokens 1,5,3,7,2,9,4,8,6,1,2,3,4 --precision f64 -o %s",
             scratch("square.json"), scratch_folder, scratch_folder, scratch("square.npz"));
    assert_int_equal(system(command), 0);
}

static void test_permuted_keys(void **state) {
    (void)state;
    const char *const none[] = {NULL};
    make_square();
    const change k[] = {{"k", by_queries, 3, {T, G, D}, NULL}};
    char trace[600];
    snprintf(trace, sizeof trace, "%s", scratch("square.npz"));
    expect(trace, k, 1, NULL, MR_LAYOUT_FAULT, "layers.0.k", "as many key heads as", none);
}

/* ---- experts --------------------------------------------------------------------------------- */

enum { E = 7, K = 2 };
static idx width;

/* The K choices of a golden layer. */
static void choices(mr_trace *g, idx layer, int *choice) {
    char name[64];
    idx n;
    snprintf(name, sizeof name, "layers.%td.router_experts", layer);
    double *x = load(g, name, &n);
    assert_int_equal(n, T * K);
    for (idx i = 0; i < n; i++) choice[i] = (int)x[i];
    free(x);
}

/* One tensor of all experts: row(e, i, copy) is where the i-th row of expert e goes. */
static void all_experts(mr_trace *g, mr_trace_writer *w, idx rows,
                        idx (*row)(const int *choice, idx e, idx i, idx copy)) {
    for (idx l = 0; l < L; l++) {
        int choice[T * K];
        char name[64];
        double *x = calloc((size_t)(rows * 64), sizeof *x);
        choices(g, l, choice);
        for (idx e = 0; e < E; e++) {
            idx n, i = 0;
            snprintf(name, sizeof name, "layers.%td.experts.%td.out", l, e);
            if (mr_trace_find(g, name) < 0) continue;
            double *out = load(g, name, &n);
            idx mine = 0;
            for (idx copy = 0; copy < T * K; copy++) mine += choice[copy] == (int)e;
            width = mine > 0 ? n / mine : width;
            for (idx copy = 0; copy < T * K; copy++) {
                if (choice[copy] != (int)e) continue;
                memcpy(x + row(choice, e, i, copy) * width, out + i * width,
                       (size_t)width * sizeof *x);
                i++;
            }
            free(out);
        }
        snprintf(name, sizeof name, "layers.%td.moe_rows", l);
        put(w, name, 2, (const idx[]){rows, width}, x);
        free(x);
    }
}

static idx row_capacity(const int *choice, idx e, idx i, idx copy) {
    (void)choice, (void)copy;
    return e * 9 + i;
}
static idx row_sorted(const int *choice, idx e, idx i, idx copy) {
    idx before = 0;
    (void)copy;
    for (idx k = 0; k < T * K; k++) before += choice[k] < (int)e;
    return before + i;
}
static idx row_token(const int *choice, idx e, idx i, idx copy) {
    (void)choice, (void)e, (void)i;
    return copy;
}
static idx row_all(const int *c, idx e, idx i, idx k) { return (void)c, (void)i, e * T + k / K; }
static void add_capacity(mr_trace *g, mr_trace_writer *w) {
    all_experts(g, w, E * 9, row_capacity);
}
static void add_sorted(mr_trace *g, mr_trace_writer *w) { all_experts(g, w, T * K, row_sorted); }
static void add_tokens(mr_trace *g, mr_trace_writer *w) { all_experts(g, w, T * K, row_token); }
static void add_all(mr_trace *g, mr_trace_writer *w) { all_experts(g, w, E * T, row_all); }

static idx own_elements;
static idx padded(idx i) { return i < own_elements ? i : -1; }

/* One expert's own tensor with room for all tokens. */
static void check_padded(const char *name) {
    mr_err err = {0};
    mr_trace *golden;
    assert_int_equal(mr_trace_open(SPARSE, &golden, &err), MR_OK);
    const mr_tensor *t = mr_trace_tensor(golden, mr_trace_find(golden, name));
    const change own[] = {{name, padded, 2, {T + 3, t->dim[1]}, "experts.3.out"}};
    own_elements = mr_count(2, t->dim);
    mr_trace_close(golden);
    expect(SPARSE, own, 1, NULL, MR_LAYOUT_FOUND, name, "is the first rows of a tensor padded",
           (const char *const[]){name, NULL});
}

static void test_experts(void **state) {
    (void)state;
    check_padded("layers.0.experts.3.out");
    const char *const outs[] = {"experts.0.out", "experts.3.out", "experts.6.out", NULL};
    change gone[E];
    static const char *const names[E] = {"experts.0.out", "experts.1.out", "experts.2.out",
                                         "experts.3.out", "experts.4.out", "experts.5.out",
                                         "experts.6.out"};
    for (idx e = 0; e < E; e++) gone[e] = (change){names[e], NULL, 0, {0}, NULL};
    expect(SPARSE, gone, E, add_capacity, MR_LAYOUT_FOUND, "layers.0.experts.3.out",
           "each padded to its capacity", outs);
    expect(SPARSE, gone, E, add_sorted, MR_LAYOUT_FOUND, "layers.1.experts.6.out",
           "sorted by expert", outs);
    expect(SPARSE, gone, E, add_tokens, MR_LAYOUT_FOUND, "layers.1.experts.0.out",
           "token by token", outs);
    expect(SPARSE, gone, E, add_all, MR_LAYOUT_FOUND, "layers.0.experts.6.out",
           "all experts and all tokens", outs);
}

static int remove_all(void **state) {
    char command[700];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", scratch_folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fused),   cmocka_unit_test(test_only_fused),
        cmocka_unit_test(test_exchanged),
        cmocka_unit_test(test_permuted_keys), cmocka_unit_test(test_experts),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_all);
}
