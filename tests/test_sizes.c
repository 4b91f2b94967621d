/* Sizes that follow from a configuration: spans, caches, parameters and FLOPs of the ten published
 * models. */
#include "tests/tiny.h"

#define GiB ((int64_t)1 << 30)

static mr_config good(void) {
    const mr_config c = {.dim = 8, .n_layers = 6, .head_dim = 4, .hidden_dim = 12, .n_heads = 6,
                         .n_kv_heads = 2, .vocab_size = 11, .n_experts = 4, .n_experts_per_tok = 2,
                         .norm_eps = 1e-5, .rope_theta = 1e4};
    return c;
}

/* swa with W keys keeps W, the inclusive rule W+1; longformer looks ahead and keeps all, as does no
 * window. */
static void spans(void **state) {
    (void)state;
    mr_config c = good();
    c.n_windows = 2, c.windows[0] = 5;
    assert_int_equal(mr_config_span(&c, 0), 5);
    assert_int_equal(mr_config_span(&c, 1), 0);
    c.window_rule = MR_WINDOW_INCLUSIVE;
    assert_int_equal(mr_config_span(&c, 2), 6);
    assert_int_equal(mr_config_span(&c, 3), 0);
    c.window_rule = MR_WINDOW_LONGFORMER;
    assert_int_equal(mr_config_span(&c, 0), 0);
}

/* good(): G*D = 8, so 16 elements per layer and token. Six layers with windows 5, none, 5, none,
 * ... */
static void cache_of_one_sequence(void **state) {
    (void)state;
    mr_config c = good();
    c.n_windows = 2, c.windows[0] = 5;
    assert_true(mr_config_cache(&c, 0) == 0);
    assert_true(mr_config_cache(&c, 4) == 6 * 4 * 16);
    assert_true(mr_config_cache(&c, 5) == 6 * 5 * 16);
    assert_true(mr_config_cache(&c, 100) == (3 * 5 + 3 * 100) * 16);
    c.window_rule = MR_WINDOW_INCLUSIVE;
    assert_true(mr_config_cache(&c, 100) == (3 * 6 + 3 * 100) * 16);
}

/* The fields in which the upstreams differ; everything else stays. */
static void upstream_conventions(void **state) {
    (void)state;
    mr_config c = good();
    c.storage = MR_STORE_BF16;
    mr_config_follow(&c, MR_HF);
    assert_true(c.convention == MR_HF && c.router_order == MR_SOFTMAX_TOPK &&
                c.router_weights_wide);
    c.expert_order = MR_EXPERTS_SLOTS;
    mr_config_follow(&c, MR_NATIVE);
    assert_true(c.convention == MR_NATIVE && c.router_order == MR_TOPK_SOFTMAX &&
                !c.router_weights_wide);
    assert_true(c.expert_order == MR_EXPERTS_ASCENDING && c.storage == MR_STORE_BF16 && c.dim == 8);
}

/* ---- published models ------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    /* D = 128 and G = 8 in all of them */
    idx     d, L, F, H, V, E, K;
    int64_t total, active, attention, ffn, flops_token, flops_key, cache_token;
} published;

/* Mistral's own numbers, spec 1.1 and 1.2. Nemo's total is also what ollama prints for it. */
static const published models[] = {
    {"7B v0.1, v0.2", 4096, 32, 14336, 32, 32000, 0, 0, 7241732096, 7241732096, 41943040, 176160768,
     14220787712, 524288, 65536},
    {"7B v0.3, Mathstral", 4096, 32, 14336, 32, 32768, 0, 0, 7248023552, 7248023552, 41943040,
     176160768, 14227079168, 524288, 65536},
    {"8x7B", 4096, 32, 14336, 32, 32000, 8, 2, 46702792704, 12879925248, 41943040, 176160768,
     25497174016, 524288, 65536},
    {"8x22B base v0.1", 6144, 56, 16384, 48, 32000, 8, 2, 140620634112, 39152031744, 88080384,
     301989888, 77909458944, 1376256, 114688},
    {"8x22B Instruct, base v0.3", 6144, 56, 16384, 48, 32768, 8, 2, 140630071296, 39161468928,
     88080384, 301989888, 77918896128, 1376256, 114688},
    {"Nemo 12B", 5120, 40, 14336, 32, 131072, 0, 0, 12247782400, 12247782400, 52428800, 220200960,
     23152558080, 655360, 81920},
    {"Large 2", 12288, 88, 28672, 96, 32768, 0, 0, 122610069504, 122610069504, 327155712,
     1056964608, 244410482688, 4325376, 180224},
};

static mr_config config_of(const published *m) {
    const mr_config c = {.dim = m->d, .n_layers = m->L, .head_dim = 128, .hidden_dim = m->F,
                         .n_heads = m->H, .n_kv_heads = 8, .vocab_size = m->V, .n_experts = m->E,
                         .n_experts_per_tok = m->K, .norm_eps = 1e-5, .rope_theta = 1e6};
    return c;
}

static void equal(const char *model, const char *what, int64_t want, int64_t got) {
    if (want != got)
        fail_msg("%s, %s: want %lld, got %lld", model, what, (long long)want, (long long)got);
}

static void sizes_of_published_models(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const published *m = &models[i];
        mr_config c = config_of(m);
        if (!WIDE_SIZES && m->total > INT32_MAX) {
            mr_err err = {0};
            check_refused(mr_config_check(&c, m->name, &err), MR_BAD, &err, "sizes overflow");
            continue;
        }
        assert_int_equal(mr_config_check(&c, m->name, NULL), MR_OK);
        const mr_sizes s = mr_config_sizes(&c);
        equal(m->name, "total", m->total, s.total);
        equal(m->name, "active", m->active, s.active);
        equal(m->name, "attention", m->attention, s.attention);
        equal(m->name, "ffn", m->ffn, s.ffn);
        equal(m->name, "flops_token", m->flops_token, s.flops_token);
        equal(m->name, "flops_key", m->flops_key, s.flops_key);
        equal(m->name, "cache_token", m->cache_token, s.cache_token);
        /* one table less; its product stays */
        c.tied_embeddings = true;
        const mr_sizes tied = mr_config_sizes(&c);
        equal(m->name, "tied total", m->total - m->V * m->d, tied.total);
        equal(m->name, "tied active", m->active - m->V * m->d, tied.active);
        equal(m->name, "tied flops", m->flops_token, tied.flops_token);
    }
}

/* 16-bit caches, spec 1.2: half a GiB whatever the length for 7B v0.1 with its window, and so
 * on. */
static void caches_of_published_models(void **state) {
    (void)state;
    const struct { int model; idx window, tokens; int64_t bytes; } want[] = {
        {0, 4096, 4096, GiB / 2}, {0, 4096, 131072, GiB / 2}, {0, 0, 32768, 4 * GiB},
        {0, 0, 131072, 16 * GiB}, {3, 0, 32768, 7 * GiB},     {5, 0, 131072, 20 * GiB},
        {6, 0, 131072, 44 * GiB},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        mr_config c = config_of(&models[want[i].model]);
        c.n_windows = want[i].window > 0, c.windows[0] = want[i].window;
        equal(models[want[i].model].name, "cache", want[i].bytes,
              2 * mr_config_cache(&c, want[i].tokens));
    }
}

/* Rings of 2^63 bytes and near it: no such run, whichever sum or product is the first to overflow.
 * One head of D = 2: a slot has 8 bytes of f32, 16 of f64. */
static void sizes_beyond_memory(void **state) {
    mr_config c = tiny_config();
    (void)state;
    c.n_heads = c.n_kv_heads = 1;
    c.head_dim = 2;
    tiny t;
    tiny_open(&t, &c);
    for (int precision = MR_F32_RUN; precision <= MR_F64_RUN; precision++)
        for (int shift = 1; shift < 6; shift++)
            for (idx more = -8; more <= 0; more++) {
                const idx capacity = MR_IDX_MAX / ((idx)1 << shift) + more;
                const mr_run_options o = {.precision = (mr_precision)precision, .n_seqs = 1,
                                          .capacity = &capacity, .max_tokens = 1};
                const idx bytes = mr_run_size(&t.model, &o);
                /* keys and values of both layers: 4 rings */
                const double least = 4.0 * 2 * (precision == MR_F64_RUN ? 8 : 4) * (double)capacity;
                assert_true(least > (double)MR_IDX_MAX ? bytes == -1 : bytes == -1 || bytes > 0);
            }
    tiny_close(&t);
    const mr_tensor most = {"x", MR_F64, 1, {MR_IDX_MAX}, NULL},
                    product = {"x", MR_U8, 2, {MR_IDX_MAX, 2}, NULL},
                    fits = {"x", MR_F16, 2, {MR_IDX_MAX / 2, 1}, NULL};
    assert_true(mr_tensor_bytes(&most) == -1 && mr_tensor_bytes(&product) == -1);
    assert_true(mr_tensor_bytes(&fits) == MR_IDX_MAX - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans), cmocka_unit_test(cache_of_one_sequence),
        cmocka_unit_test(upstream_conventions), cmocka_unit_test(sizes_of_published_models),
        cmocka_unit_test(caches_of_published_models),
        cmocka_unit_test(sizes_beyond_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
