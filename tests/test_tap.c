/* What a tap sees: which tensors, in which order and shape, and that each holds what its name
 * says. */
#include "tests/tiny.h"

#include <stdio.h>

enum { T = 7, CAPACITY = 9 };

/* Records everything that is shown, as lines "name type[dims]", and fingerprints sum_i x_i cos(i)
 * (-inf counts as 0). */
typedef struct {
    bool   wants;
    int    asked, given;
    char   lines[8000];
    char   names[80][40];
    double fingerprint[80];
} record;

static double element(const mr_tensor *t, idx i) {
    switch (t->dtype) {
    case MR_F64: return ((const double *)t->data)[i];
    case MR_F32: return (double)((const float *)t->data)[i];
    case MR_I32: return ((const int32_t *)t->data)[i];
    default:     return ((const uint8_t *)t->data)[i];
    }
}

static bool tap(void *user, const mr_tensor *t) {
    record *r = user;
    if (t->data == NULL) {
        r->asked++;
        return r->wants;
    }
    char *at = r->lines + strlen(r->lines);
    const size_t room = sizeof r->lines - (size_t)(at - r->lines);
    int n = snprintf(at, room, "%s %s[", t->name, mr_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        n += snprintf(at + n, room - (size_t)n, i ? ",%td" : "%td", t->dim[i]);
    snprintf(at + n, room - (size_t)n, "]\n");
    snprintf(r->names[r->given], sizeof *r->names, "%s", t->name);
    for (idx i = 0; i < mr_count(t->rank, t->dim); i++) {
        const double x = element(t, i);
        if (isfinite(x)) r->fingerprint[r->given] += x * cos((double)i);
    }
    r->given++;
    return true;
}

static void watch(const mr_config *c, mr_precision precision, record *r) {
    tiny t;
    tiny_open(&t, c);
    const idx capacity = CAPACITY, length = T;
    const mr_run_options o = {.precision = precision,
                              .n_seqs = 1,
                              .capacity = &capacity,
                              .max_tokens = T + 1,
                              .tap = tap,
                              .user = r};
    mr_run *run = tiny_run(&t, &o);
    tiny_forward(run, tiny_tokens, &length);
    mr_run_show_cache(run);
    mr_run_close(run);
    tiny_close(&t);
}

/* The dense model with W = 3: execution order, sizes in the model's letters. Nine columns, since
 * the sequence may grow. */
static void dense_in_order(void **state) {
    (void)state;
    static const char layer[] =
        "layers.%d.attention_norm F64[7,8]\nlayers.%d.q F64[7,4,4]\nlayers.%d.k "
        "F64[7,2,4]\nlayers.%d.v F64[7,2,4]\n"
        "layers.%d.q_rope F64[7,4,4]\nlayers.%d.k_rope F64[7,2,4]\nlayers.%d.scores "
        "F64[4,7,9]\nlayers.%d.probs F64[4,7,9]\n"
        "layers.%d.attention F64[7,4,4]\nlayers.%d.attention_out F64[7,8]\nlayers.%d.h_mid "
        "F64[7,8]\n"
        "layers.%d.ffn_norm F64[7,8]\nlayers.%d.w1 F64[7,12]\nlayers.%d.w3 "
        "F64[7,12]\nlayers.%d.act F64[7,12]\n"
        "layers.%d.ffn_out F64[7,8]\nlayers.%d.h F64[7,8]\n";
    static const char cache[] =
        "layers.%d.cache_k F64[3,2,4]\nlayers.%d.cache_v F64[3,2,4]\nlayers.%d.cache_pos I32[3]\n";
    char want[8000] = "mask U8[7,9]\ntok_embeddings F64[7,8]\n";
    size_t n = strlen(want);
    for (int l = 0; l < 2; l++)
        n += (size_t)snprintf(want + n, sizeof want - n, layer, l, l, l, l, l, l, l, l, l, l, l, l,
                              l, l, l, l, l);
    n += (size_t)snprintf(want + n, sizeof want - n, "norm F64[7,8]\nlogits F64[7,11]\n");
    for (int l = 0; l < 2; l++) n += (size_t)snprintf(want + n, sizeof want - n, cache, l, l, l);
    mr_config c = tiny_config();
    c.n_windows = 1, c.windows[0] = 3;
    static record r = {.wants = true};
    watch(&c, MR_F64_RUN, &r);
    assert_string_equal(r.lines, want);
}

/* The sparse one in float: experts in ascending order with as many rows as they were sent (of 14),
 * caches of 9 slots. */
static void sparse_in_order(void **state) {
    (void)state;
    static const char want[] = "layers.0.ffn_norm F32[7,8]\nlayers.0.router_logits "
                               "F32[7,4]\nlayers.0.router_experts I32[7,2]\n"
                               "layers.0.router_weights F32[7,2]\nlayers.0.experts.0.out "
                               "F32[4,8]\nlayers.0.experts.1.out F32[3,8]\n"
                               "layers.0.experts.2.out F32[3,8]\nlayers.0.experts.3.out "
                               "F32[4,8]\nlayers.0.ffn_out F32[7,8]\nlayers.0.h F32[7,8]\n"
                               "layers.1.attention_norm F32[7,8]\n";
    static record r = {.wants = true};
    const mr_config c = tiny_sparse(2);
    watch(&c, MR_F32_RUN, &r);
    assert_non_null(strstr(r.lines, want));
    assert_null(strstr(r.lines, "w1"));
    assert_non_null(strstr(r.lines, "layers.1.cache_k F32[9,2,4]\n"));
    assert_non_null(strstr(r.lines, "layers.1.cache_pos I32[9]\n"));
}

/* A tap that wants nothing is asked for every tensor and given none; without a tap nothing changes
 * either. */
static void asked_first(void **state) {
    (void)state;
    static record none = {.wants = false}, all = {.wants = true};
    const mr_config c = tiny_sparse(2);
    watch(&c, MR_F64_RUN, &none);
    watch(&c, MR_F64_RUN, &all);
    assert_int_equal(none.given, 0);
    assert_true(none.asked >= all.given);
    tiny t;
    double with[T * 11], without[T * 11];
    tiny_open(&t, &c);
    tiny_trace scores = {.name = "layers.1.probs"};
    tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, T, with, &scores);
    tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, T, without, NULL);
    check_bits("logits", without, with, T * 11, sizeof *with);
    tiny_close(&t);
}

/* Fingerprints of layer 1 with W = 3, by NumPy. Names that were exchanged in the table would show
 * here. */
static const struct { const char *name; double want; } dense_prints[] = {
    {"tok_embeddings", -0.89959991607559},         {"layers.1.attention_norm", -2.46097644638846},
    {"layers.1.q", 0.434280324417593},             {"layers.1.q_rope", -2.05056842921514},
    {"layers.1.k", 5.04065223892488},              {"layers.1.k_rope", 2.91993472207751},
    {"layers.1.v", -1.80571146883252},             {"layers.1.scores", 1.26127088787009},
    {"layers.1.probs", 0.545881479621054},         {"layers.1.attention", 0.255281012592869},
    {"layers.1.attention_out", 0.765057375460271}, {"layers.1.h_mid", -0.0492498205733853},
    {"layers.1.ffn_norm", -0.410985112628789},     {"layers.1.w1", 0.251088892051297},
    {"layers.1.w3", 8.4988840169196},              {"layers.1.act", 0.362407271860142},
    {"layers.1.ffn_out", -0.123417309157619},      {"layers.1.h", -0.172667129731003},
    {"norm", -0.947524854171363},                  {"logits", -0.235709901431215},
    {"layers.1.cache_k", 1.36867870147493},        {"layers.1.cache_v", 2.0264944705853},
    {"layers.1.cache_pos", 6.08047504073685},
};
static const struct { const char *name; double want; } sparse_prints[] = {
    {"layers.1.scores", 1.48866710502213},           {"layers.1.attention", 0.262919087005969},
    {"layers.1.router_logits", -1.12232651285241},   {"layers.1.router_experts", 4.61876510092052},
    {"layers.1.router_weights", 0.734049252644738},  {"layers.1.experts.0.out", 0.350369530268282},
    {"layers.1.experts.1.out", 0.00872251268966647}, {"layers.1.experts.2.out", 0.218170575101774},
    {"layers.1.experts.3.out", -0.17954271326924},   {"layers.1.ffn_out", 0.0349838023863304},
    {"layers.1.h", -0.280606948574361},              {"logits", -0.20199953405368},
    {"layers.1.cache_k", 1.33164400255142},          {"layers.1.cache_v", 2.07641995274667},
};

/* 14 printed digits of sums of up to a hundred terms of size 1. The trace has exactly T columns
 * here. */
static void check_print(const tiny *t, const char *name, double want) {
    const idx length = T;
    static record r;
    memset(&r, 0, sizeof r);
    r.wants = true;
    const mr_run_options o = {.precision = MR_F64_RUN,
                              .n_seqs = 1,
                              .capacity = &length,
                              .max_tokens = T,
                              .tap = tap,
                              .user = &r};
    mr_run *run = tiny_run(t, &o);
    tiny_forward(run, tiny_tokens, &length);
    mr_run_show_cache(run);
    mr_run_close(run);
    for (int i = 0; i < r.given; i++)
        if (strcmp(r.names[i], name) == 0) {
            check_close(name, &want, &r.fingerprint[i], 1, 1e-13, 1, 1);
            return;
        }
    fail_msg("%s was not shown", name);
}

static void values(void **state) {
    (void)state;
    mr_config c = tiny_config(), e = tiny_sparse(2);
    c.n_windows = e.n_windows = 1;
    c.windows[0] = e.windows[0] = 3;
    tiny dense, sparse;
    tiny_open(&dense, &c);
    tiny_open(&sparse, &e);
    for (size_t i = 0; i < sizeof dense_prints / sizeof *dense_prints; i++)
        check_print(&dense, dense_prints[i].name, dense_prints[i].want);
    for (size_t i = 0; i < sizeof sparse_prints / sizeof *sparse_prints; i++)
        check_print(&sparse, sparse_prints[i].name, sparse_prints[i].want);
    tiny_close(&dense);
    tiny_close(&sparse);
}

/* Two sequences, the second continued, windows {3, none}: masks per layer; where the mask is 0,
 * scores are -inf and probabilities 0; rows of probabilities sum to 1. */
static void masks_scores_and_probs(void **state) {
    (void)state;
    mr_config c = tiny_config();
    c.n_windows = 2, c.windows[0] = 3;
    tiny t;
    tiny_open(&t, &c);
    const char *names[2][3] = {{"layers.0.mask", "layers.0.scores", "layers.0.probs"},
                               {"layers.1.mask", "layers.1.scores", "layers.1.probs"}};
    static tiny_trace trace[3];
    for (int l = 0; l < 2; l++) {
        for (int i = 0; i < 3; i++) {
            const idx capacity[] = {5, 8}, length[] = {0, 4}, again[] = {4, 3};
            const mr_run_options o = {.precision = MR_F32_RUN,
                                      .n_seqs = 2,
                                      .capacity = capacity,
                                      .max_tokens = T,
                                      .tap = tiny_tap,
                                      .user = &trace[i]};
            trace[i].name = names[l][i];
            mr_run *run = tiny_run(&t, &o);
            tiny_forward(run, tiny_tokens, length);
            /* the second call only: 7 rows, 13 columns */
            trace[i].n = 0;
            tiny_forward(run, tiny_tokens, again);
            mr_run_close(run);
        }
        assert_true(trace[0].n == 7 * 13 && trace[1].n == 4 * 7 * 13 && trace[2].n == 4 * 7 * 13);
        for (idx row = 0; row < 4 * 7; row++) {
            double sum = 0;
            for (idx s = 0; s < 13; s++) {
                /* columns 0-4 and 5-12; row 4 is position 4 of both */
                const idx i = row % 7, j = i < 4 ? s : s - 5;
                const bool own = i < 4 ? s < 5 : s >= 5 && s < 12,
                           want = own && j <= i && (l == 1 || i - j < 3);
                const bool masked = trace[0].values[row % 7 * 13 + s] == 0;
                assert_int_equal(masked, !want);
                assert_int_equal(isinf(trace[1].values[row * 13 + s]) != 0, masked);
                assert_int_equal(trace[2].values[row * 13 + s] == 0, masked);
                sum += trace[2].values[row * 13 + s];
            }
            check_close("row sum", &(double){1}, &sum, 1, EPS_F32, 1, 2);
        }
    }
    tiny_close(&t);
}

/* A tap that wants only the scores, or only the probabilities, gets the same numbers. One window
 * list entry: one mask. */
static void one_of_two(void **state) {
    (void)state;
    static tiny_trace scores = {.name = "layers.1.scores"}, probs = {.name = "layers.1.probs"},
                      mask = {.name = "mask"};
    mr_config c = tiny_config();
    c.n_windows = 1, c.windows[0] = 3;
    tiny t;
    tiny_open(&t, &c);
    tiny_trace *traces[] = {&scores, &probs, &mask};
    for (int i = 0; i < 3; i++)
        tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, T, NULL, traces[i]);
    assert_true(mask.n == T * T && scores.n == 4 * T * T && probs.n == scores.n);
    for (idx row = 0; row < 4 * T; row++) {
        double sum = 0;
        for (idx j = 0; j < T; j++) sum += exp(scores.values[row * T + j]);
        for (idx j = 0; j < T; j++) {
            const double want = exp(scores.values[row * T + j]) / sum;
            check_close("softmax", &want, &probs.values[row * T + j], 1, EPS_F64, 1, 4);
            assert_int_equal(want != 0, mask.values[row % T * T + j]);
        }
    }
    tiny_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_in_order), cmocka_unit_test(sparse_in_order),
        cmocka_unit_test(asked_first), cmocka_unit_test(values),
        cmocka_unit_test(masks_scores_and_probs), cmocka_unit_test(one_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
