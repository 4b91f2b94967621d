/* The same model in other ways: precisions, engines, threads, orders of summation, layouts of the
 * file. */
#include "tests/tiny.h"

enum { V = 11, T = 7 };

static const mr_run_options wide = {.precision = MR_F64_RUN};

/* float: some twelve roundings of half a unit per layer and token on numbers of size 1. BLAS in
 * double likewise. */
static void precisions_and_engines(void **state) {
    (void)state;
    const struct { mr_precision precision; mr_engine engine; double eps; } ways[] = {
        {MR_F32_RUN, MR_PLAIN_ENGINE, EPS_F32}, {MR_F64_RUN, MR_BLAS_ENGINE, EPS_F64},
        {MR_F32_RUN, MR_BLAS_ENGINE, EPS_F32}};
    const mr_config configs[] = {tiny_config(), tiny_sparse(2), tiny_sparse(4)};
    for (int m = 0; m < 3; m++)
        for (int i = 0; i < 3; i++) {
            if (!mr_engine_built(ways[i].engine)) continue;
            tiny t;
            double want[T * V], got[T * V];
            tiny_open(&t, &configs[m]);
            tiny_logits(&t, wide, tiny_tokens, T, want, NULL);
            tiny_logits(&t,
                        (mr_run_options){.precision = ways[i].precision, .engine = ways[i].engine},
                        tiny_tokens, T, got, NULL);
            check_close("logits", want, got, T * V, ways[i].eps, 1, 20);
            tiny_close(&t);
        }
}

/* Head dimension 64 and 40 tokens are work enough for threads; their number must not change a
 * bit. */
static void threads(void **state) {
    (void)state;
    enum { MANY = 40 };
    int32_t tokens[MANY];
    double want[MANY * V], got[MANY * V];
    for (int i = 0; i < MANY; i++) tokens[i] = i * i % V;
    for (int sparse = 0; sparse < 2; sparse++)
        for (int precision = 0; precision < 2; precision++) {
            mr_config c = sparse ? tiny_sparse(2) : tiny_config();
            c.head_dim = 64, c.hidden_dim = 200;
            tiny t;
            tiny_open(&t, &c);
            const mr_run_options o = {.precision = (mr_precision)precision};
            mr_set_threads(1);
            tiny_logits(&t, o, tokens, MANY, want, NULL);
            for (int n = 2; n <= 5; n++) {
                mr_set_threads(n);
                tiny_logits(&t, o, tokens, MANY, got, NULL);
                check_bits("logits", want, got, MANY * V, sizeof *got);
            }
            tiny_close(&t);
        }
    mr_set_threads(1);
}

/* The configured orders reach the equations: gate weights are those of mr_router on the shown
 * logits, and four experts summed in another order give other floats, two experts the same. */
static void orders(void **state) {
    (void)state;
    for (idx K = 2; K <= 4; K += 2) {
        mr_config c = tiny_sparse(K);
        double ascending[T * V], slots[T * V];
        tiny t;
        tiny_open(&t, &c);
        for (int order = 0; order < 2; order++) {
            static tiny_trace logits, weights;
            float z[T * 4], got[T * 4], want[T * 4];
            int32_t experts[T * 4];
            t.model.config.router_order = (mr_router_order)order;
            logits.name = "layers.0.router_logits", weights.name = "layers.0.router_weights";
            logits.n = weights.n = 0;
            tiny_logits(&t, (mr_run_options){.precision = MR_F32_RUN}, tiny_tokens, T, NULL,
                        &logits);
            tiny_logits(&t, (mr_run_options){.precision = MR_F32_RUN}, tiny_tokens, T, NULL,
                        &weights);
            for (idx i = 0; i < T * 4; i++) z[i] = (float)logits.values[i];
            for (idx i = 0; i < T * K; i++) got[i] = (float)weights.values[i];
            mr_router_f32(experts, want, z, T, 4, K, (mr_router_order)order);
            check_bits("weights", want, got, T * K, sizeof *got);
            mr_router_f32(experts, want, z, T, 4, K, (mr_router_order)!order);
            assert_true(memcmp(want, got, (size_t)(T * K) * sizeof *got) != 0);
        }
        tiny_logits(&t, (mr_run_options){.precision = MR_F32_RUN}, tiny_tokens, T, ascending, NULL);
        t.model.config.expert_order = MR_EXPERTS_SLOTS;
        tiny_logits(&t, (mr_run_options){.precision = MR_F32_RUN}, tiny_tokens, T, slots, NULL);
        assert_int_equal(memcmp(ascending, slots, sizeof slots) != 0, K > 2);
        tiny_close(&t);
    }
}

/* Row h*D + 2i + t of a native file is row h*D + i + t*D/2 of a Hugging Face file: H heads for wq,
 * G for wk. */
static void to_half_split(double *rows, idx heads, idx D, idx cols) {
    double old[64 * 64];
    memcpy(old, rows, (size_t)(heads * D * cols) * sizeof *old);
    for (idx h = 0; h < heads; h++)
        for (idx i = 0; i < D / 2; i++)
            for (idx half = 0; half < 2; half++)
                memcpy(rows + (h * D + i + half * (D / 2)) * cols,
                       old + (h * D + 2 * i + half) * cols, (size_t)cols * sizeof *old);
}

/* A Hugging Face file gives the native file's bits when read into interleaved memory, and its
 * numbers in half-split. */
static void row_orders(void **state) {
    (void)state;
    mr_config c = tiny_config();
    c.head_dim = 8;
    tiny native, hf;
    double want[T * V], got[T * V];
    tiny_open(&native, &c);
    tiny_open(&hf, &c);
    hf.model.qk_rows = MR_HALF_SPLIT;
    for (idx l = 0; l < c.n_layers; l++) {
        to_half_split(tiny_data(&hf, &hf.model.layers[l].wq), c.n_heads, c.head_dim, c.dim);
        to_half_split(tiny_data(&hf, &hf.model.layers[l].wk), c.n_kv_heads, c.head_dim, c.dim);
    }
    tiny_logits(&native, wide, tiny_tokens, T, want, NULL);
    tiny_logits(&hf, wide, tiny_tokens, T, got, NULL);
    check_bits("interleaved", want, got, T * V, sizeof *got);
    native.model.config.rope_layout = hf.model.config.rope_layout = MR_HALF_SPLIT;
    tiny_logits(&hf, wide, tiny_tokens, T, got, NULL);
    check_close("half-split", want, got, T * V, EPS_F64, 1, 20);
    tiny_logits(&native, wide, tiny_tokens, T, want, NULL);
    check_bits("half-split", want, got, T * V, sizeof *got);
    tiny_close(&native);
    tiny_close(&hf);
}

/* Weights as floats of a file, turned around: the equation does not care. */
static void weights_are_views(void **state) {
    (void)state;
    const mr_config c = tiny_config();
    tiny t;
    double want[T * V], got[T * V], turned[8 * 12];
    tiny_open(&t, &c);
    tiny_logits(&t, wide, tiny_tokens, T, want, NULL);
    mr_matrix *w2 = &t.model.layers[1].ffn->w2;
    for (idx r = 0; r < 8; r++)
        for (idx i = 0; i < 12; i++) turned[i * 8 + r] = tiny_data(&t, w2)[r * 12 + i];
    *w2 = (mr_matrix){turned, MR_F64, 8, 12, 1, 8};
    tiny_logits(&t, wide, tiny_tokens, T, got, NULL);
    check_bits("logits", want, got, T * V, sizeof *got);
    tiny_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precisions_and_engines), cmocka_unit_test(threads),
        cmocka_unit_test(orders), cmocka_unit_test(row_orders), cmocka_unit_test(weights_are_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
