/* Emulated 16-bit storage: every rounding point, against NumPy's numbers, and nothing shown that 16
 * bits cannot hold. */
#include "tests/tiny.h"

enum { V = 11, T = 7 };

/* Rounded to 16 bits, logits are short numbers: they must come out exactly. The print is sum_i x_i
 * cos(i) over all rows. */
typedef struct {
    const char *name;
    mr_storage  storage;
    mr_convention convention;
    mr_attention_rounding attention;
    idx    K;                      /* 0: dense */
    double print, logits[V];
} rounded;

static const rounded cases[] = {
    {"bf16, native, eager",
     MR_STORE_BF16,
     MR_NATIVE,
     MR_ATTENTION_EAGER,
     0,
     -0.249636322089038,
     {-0.3046875, -0.62890625, 0.1259765625, 0.458984375, -0.005920410156, -0.2236328125,
      -0.02893066406, -0.04565429688, -0.03857421875, 0.3125, 0.2080078125}},
    {"bf16, native, fused",
     MR_STORE_BF16,
     MR_NATIVE,
     MR_ATTENTION_FUSED,
     0,
     -0.244791975076025,
     {-0.30859375, -0.62890625, 0.130859375, 0.458984375, -0.01239013672, -0.224609375,
      -0.02001953125, -0.04321289062, -0.0498046875, 0.306640625, 0.220703125}},
    {"bf16, hf, eager",
     MR_STORE_BF16,
     MR_HF,
     MR_ATTENTION_EAGER,
     0,
     -0.252914578366908,
     {-0.3046875, -0.62109375, 0.126953125, 0.453125, -0.008728027344, -0.21875, -0.02368164062,
      -0.04931640625, -0.04614257812, 0.314453125, 0.216796875}},
    {"bf16, native, eager, sparse",
     MR_STORE_BF16,
     MR_NATIVE,
     MR_ATTENTION_EAGER,
     2,
     -0.23494968844881,
     {-0.369140625, -0.6875, 0.1748046875, 0.53515625, -0.02587890625, -0.3125, -0.04663085938,
      0.03955078125, 0.02014160156, 0.24609375, 0.111328125}},
    {"bf16, hf, eager, sparse",
     MR_STORE_BF16,
     MR_HF,
     MR_ATTENTION_EAGER,
     2,
     -0.222673193545765,
     {-0.36328125, -0.69140625, 0.1669921875, 0.5390625, -0.01831054688, -0.3125, -0.05346679688,
      0.03686523438, 0.02587890625, 0.25, 0.107421875}},
    {"f16, hf, fused, K = 3",
     MR_STORE_F16,
     MR_HF,
     MR_ATTENTION_FUSED,
     3,
     -0.21530699455184,
     {-0.3686523438, -0.6962890625, 0.1728515625, 0.5478515625, -0.02015686035, -0.3264160156,
      -0.06036376953, 0.05313110352, 0.04232788086, 0.2371826172, 0.08654785156}},
    {"f16, native, eager, K = 3",
     MR_STORE_F16,
     MR_NATIVE,
     MR_ATTENTION_EAGER,
     3,
     -0.214638271578014,
     {-0.3681640625, -0.6962890625, 0.1722412109, 0.5478515625, -0.01948547363, -0.326171875,
      -0.06097412109, 0.05258178711, 0.04281616211, 0.2379150391, 0.08618164062}},
};

static mr_config config_of(const rounded *r) {
    mr_config c = r->K > 0 ? tiny_sparse(r->K) : tiny_config();
    c.n_windows = 1, c.windows[0] = 3;
    mr_config_follow(&c, r->convention);
    c.storage = r->storage, c.attention_rounding = r->attention;
    return c;
}

/* In the double run every operation is rounded once, from double, so that NumPy can say what comes
 * out. Ten digits are printed; numbers of at most 11 bits that agree to 1e-9 of themselves are
 * equal. */
static void every_rounding_point(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mr_config c = config_of(&cases[i]);
        tiny t;
        double z[T * V], print = 0;
        tiny_open(&t, &c);
        tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, T, z, NULL);
        for (int v = 0; v < V; v++)
            check_close(cases[i].name, &cases[i].logits[v], &z[(T - 1) * V + v], 1, 1e-9,
                        fabs(cases[i].logits[v]), 1);
        for (int k = 0; k < T * V; k++) print += z[k] * cos((double)k);
        check_close(cases[i].name, &cases[i].print, &print, 1, 1e-13, 1, 1);
        tiny_close(&t);
    }
}

/* ---- what is shown --------------------------------------------------------------------------- */

typedef struct {
    mr_storage storage;
    bool       eager, wide_gates;
    int        seen;
} judge;

/* Everything is representable, but for: scores and probabilities of a fused kernel, and gate
 * weights that the newer Hugging Face code keeps in float. */
static bool representable(void *user, const mr_tensor *t) {
    judge *j = user;
    const char *dot = strrchr(t->name, '.'), *name = dot != NULL ? dot + 1 : t->name;
    if (t->dtype != MR_F64 && t->dtype != MR_F32) return false;
    if (!j->eager && (strcmp(name, "scores") == 0 || strcmp(name, "probs") == 0)) return false;
    if (j->wide_gates && strcmp(name, "router_weights") == 0) return false;
    if (t->data == NULL) return true;
    for (idx i = 0; i < mr_count(t->rank, t->dim); i++) {
        const double x = t->dtype == MR_F64 ? ((const double *)t->data)[i]
                                            : (double)((const float *)t->data)[i];
        if (mr_round(x, j->storage) != x) fail_msg("%s[%td] = %.17g", t->name, i, x);
    }
    j->seen++;
    return true;
}

static void shown_tensors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int precision = 0; precision < 2; precision++)
            for (int engine = 0; engine < 2; engine++) {
                if (!mr_engine_built((mr_engine)engine)) continue;
                const mr_config c = config_of(&cases[i]);
                judge j = {c.storage, c.attention_rounding == MR_ATTENTION_EAGER,
                           c.router_weights_wide, 0};
                const idx length = T;
                tiny t;
                tiny_open(&t, &c);
                const mr_run_options o = {.precision = (mr_precision)precision,
                                          .engine = (mr_engine)engine,
                                          .n_seqs = 1,
                                          .capacity = &length,
                                          .max_tokens = T,
                                          .tap = representable,
                                          .user = &j};
                mr_run *run = tiny_run(&t, &o);
                tiny_forward(run, tiny_tokens, &length);
                mr_run_show_cache(run);
                mr_run_close(run);
                assert_true(j.seen > 30);
                tiny_close(&t);
            }
}

/* Gate weights stay wide only by configuration: of 28 of them some must then be no bf16 numbers. */
static void wide_gates(void **state) {
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        mr_config c = tiny_sparse(2);
        c.storage = MR_STORE_BF16, c.router_weights_wide = wide;
        tiny_trace trace = {.name = "layers.0.router_weights"};
        tiny t;
        tiny_open(&t, &c);
        tiny_logits(&t, (mr_run_options){.precision = MR_F32_RUN}, tiny_tokens, T, NULL, &trace);
        int odd = 0;
        for (idx i = 0; i < trace.n; i++)
            odd += mr_round(trace.values[i], MR_STORE_BF16) != trace.values[i];
        assert_int_equal(odd > 0, wide);
        tiny_close(&t);
    }
}

/* f32 under emulation rounds twice, so single results may be one 16-bit unit (2^-8 or 2^-11) off;
 * logits of size 1 stay within eight units of the double run's. */
static void precisions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mr_config c = config_of(&cases[i]);
        double want[T * V], got[T * V];
        tiny t;
        tiny_open(&t, &c);
        tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tiny_tokens, T, want, NULL);
        tiny_logits(&t, (mr_run_options){.precision = MR_F32_RUN}, tiny_tokens, T, got, NULL);
        check_close(cases[i].name, want, got, T * V, c.storage == MR_STORE_BF16 ? 0x1p-8 : 0x1p-11,
                    1, 8);
        tiny_close(&t);
    }
}

/* BLAS adds in another order, which rounding to 16 bits mostly hides: logits of size 1 stay within
 * eight units. Fourteen tokens: a fused attention is taken in blocks, an eager one is not. */
static void engines(void **state) {
    enum { LONG = 2 * T };
    int32_t tokens[LONG];
    (void)state;
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int i = 0; i < LONG; i++) tokens[i] = tiny_tokens[i % T];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mr_config c = config_of(&cases[i]);
        double want[LONG * V], got[LONG * V];
        tiny t;
        tiny_open(&t, &c);
        mr_run_options o = {.precision = MR_F64_RUN};
        tiny_logits(&t, o, tokens, LONG, want, NULL);
        o.engine = MR_BLAS_ENGINE;
        tiny_logits(&t, o, tokens, LONG, got, NULL);
        check_close(cases[i].name, want, got, LONG * V,
                    c.storage == MR_STORE_BF16 ? 0x1p-8 : 0x1p-11, 1, 8);
        tiny_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rounding_point), cmocka_unit_test(shown_tensors),
        cmocka_unit_test(wide_gates), cmocka_unit_test(precisions), cmocka_unit_test(engines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
