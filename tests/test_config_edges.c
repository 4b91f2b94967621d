/* Configuration: the largest value of every limit is taken, the next one refused. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "ref/config.h"

static mr_config good(void) {
    const mr_config c = {.dim = 8, .n_layers = 6, .head_dim = 4, .hidden_dim = 12, .n_heads = 6,
                         .n_kv_heads = 2, .vocab_size = 11, .norm_eps = 1e-5, .rope_theta = 1e4};
    return c;
}

static void accepted(const mr_config *c) {
    mr_err err = {0};
    if (mr_config_check(c, "params.json", &err) != MR_OK) fail_msg("refused: %s", err.text);
}

static void refused(const mr_config *c, const char *text) {
    mr_err err = {0};
    check_refused(mr_config_check(c, "params.json", &err), MR_BAD, &err, text);
}

static void largest_sizes(void **state) {
    (void)state;
    if (!WIDE_SIZES) skip();       /* 32 bits: the products are refused first */
    mr_config c = good();
    c.vocab_size = INT32_MAX;
    accepted(&c);
    c = good();
    c.n_heads = INT32_MAX / 2, c.n_kv_heads = 1, c.head_dim = 2;          /* 2^31 - 2 in all */
    accepted(&c);
    c.n_heads++;
    refused(&c, "sizes overflow");
}

/* 2^57 - 1 = 7 * 32377 * 524287 * 1212847 elements are the limit of 64 bits; 2^57 is above it. */
static void largest_product(void **state) {
    (void)state;
    if (!WIDE_SIZES) skip();
    mr_config c = good();
    c.n_layers = 7, c.n_experts = 32377, c.n_experts_per_tok = 1;
    c.hidden_dim = 524287, c.dim = 1212847;
    accepted(&c);
    c.n_layers = 8, c.n_experts = 65536, c.hidden_dim = 1 << 19, c.dim = 1 << 19;
    refused(&c, "sizes overflow (dim 524288, 8 layers, 6 heads of 4, hidden_dim 524288, "
                "vocab_size 11, 65536 experts)");
}

/* Without experts the products count one. */
static void largest_dense_product(void **state) {
    (void)state;
    if (!WIDE_SIZES) skip();
    mr_config c = good();
    c.n_layers = 1 << 19, c.hidden_dim = 1 << 19, c.dim = (1 << 19) - 1;
    accepted(&c);
    c.dim++;
    refused(&c, "sizes overflow");
}

static void windows(void **state) {
    (void)state;
    mr_config c = good();
    c.n_layers = c.n_windows = 256;
    c.windows[255] = INT32_MAX;
    accepted(&c);
    assert_true(mr_config_window(&c, 255) == INT32_MAX && mr_config_window(&c, 254) == 0);
    c.windows[255] = -1;
    refused(&c, "sliding_window of 1 or more, or null for none, found -1");
    c = good();
    c.n_windows = 1, c.windows[0] = -2;
    refused(&c, "found -2");
}

static void labels(void **state) {
    (void)state;
    mr_config c = good();
    c.n_labels = 11;
    accepted(&c);
    c.n_labels = 12;
    refused(&c, "0 labels (a language model) to vocab_size, found 12");
    c.n_labels = -1;
    refused(&c, "0 labels (a language model) to vocab_size, found -1");
    c.n_labels = 1, c.tied_embeddings = true;
    refused(&c, "a model with labels has a head of its own");
    c.n_labels = 0;
    accepted(&c);
}

static void reals(void **state) {
    (void)state;
    mr_config c = good();
    c.norm_eps = nextafter(1, 0), c.rope_theta = 0x1p-1074;
    accepted(&c);
    c.rope_theta = -1;
    refused(&c, "expected rope_theta above 0, found -1");
    c = good();
    c.n_experts = 1, c.n_experts_per_tok = 1, c.capacity_factor = 0;
    accepted(&c);
    c.n_experts_per_tok = 2;
    refused(&c, "expected 1 to 1 experts per token (num_experts_per_tok), found 2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_sizes), cmocka_unit_test(largest_product),
        cmocka_unit_test(largest_dense_product), cmocka_unit_test(windows),
        cmocka_unit_test(labels), cmocka_unit_test(reals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
