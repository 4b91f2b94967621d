/* Configuration: every rule, by the message of what breaks it. */
#include "tests/check.h"

#include <math.h>

#include "ref/config.h"
#include "ref/sample.h"

static mr_config good(void) {
    const mr_config c = {.dim = 8, .n_layers = 6, .head_dim = 4, .hidden_dim = 12, .n_heads = 6,
                         .n_kv_heads = 2, .vocab_size = 11, .n_experts = 4, .n_experts_per_tok = 2,
                         .norm_eps = 1e-5, .rope_theta = 1e4};
    return c;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void refused(const mr_config *c, const char *text) {
    mr_err err = {0};
    check_refused(mr_config_check(c, "params.json", &err), MR_BAD, &err, text);
    mr_err opened = {0};
    check_refused(mr_config_check(c, "params.json", &opened), MR_BAD, &opened, "params.json: ");
    assert_int_equal(mr_config_check(c, "params.json", NULL), MR_BAD);
}

static void accepted(const mr_config *c) {
    mr_err err = {0};
    assert_int_equal(mr_config_check(c, "params.json", &err), MR_OK);
    assert_int_equal(err.code, MR_OK);
}

#define REFUSED(field, value, text)  \
    do {                             \
        mr_config c_ = good();       \
        c_.field = (value);          \
        refused(&c_, text);          \
    } while (0)

#define ACCEPTED(field, value)       \
    do {                             \
        mr_config c_ = good();       \
        c_.field = (value);          \
        accepted(&c_);               \
    } while (0)

static void sizes_of_one_or_more(void **state) {
    (void)state;
    const mr_config c = good();
    accepted(&c);
    const idx bad[] = {0, -1, (idx)((int64_t)INT32_MAX + 1)};
    for (int i = 0; i < 3; i++) {
        REFUSED(dim, bad[i], "dim (hidden_size) of 1 or more");
        REFUSED(n_layers, bad[i], "n_layers (num_hidden_layers) of 1 or more");
        REFUSED(head_dim, bad[i], "head_dim of 1 or more");
        REFUSED(hidden_dim, bad[i], "hidden_dim (intermediate_size) of 1 or more");
        REFUSED(n_heads, bad[i], "n_heads (num_attention_heads) of 1 or more");
        REFUSED(n_kv_heads, bad[i], "n_kv_heads (num_key_value_heads) of 1 or more");
        REFUSED(vocab_size, bad[i], "vocab_size of 1 or more");
    }
    REFUSED(dim, -3, "found -3");
    ACCEPTED(vocab_size, 1);
    /* head_dim is free: heads * head_dim need not be dim */
    ACCEPTED(dim, 1);
}

static void heads(void **state) {
    (void)state;
    REFUSED(head_dim, 5, "an even head_dim of at most 4096 (rotary pairs), found 5");
    REFUSED(head_dim, 4098, "an even head_dim");
    ACCEPTED(head_dim, 4096);
    ACCEPTED(head_dim, 2);
    REFUSED(n_kv_heads, 4, "n_heads 6 is not a multiple of n_kv_heads 4");
    REFUSED(n_kv_heads, 12, "multiple");
    ACCEPTED(n_kv_heads, 1);
    ACCEPTED(n_kv_heads, 6);
}

static void products_that_overflow(void **state) {
    (void)state;
    REFUSED(n_heads, 2 * ((idx)1 << 29), "overflow");            /* heads * head_dim = 2^32 */
    mr_config c = good();
    c.dim = c.hidden_dim = INT32_MAX;
    refused(&c, "overflow");
    c = good();
    c.vocab_size = c.dim = INT32_MAX;
    refused(&c, "overflow");
    c = good();
    c.n_layers = 1 << 30, c.dim = 1 << 20, c.n_heads = 1 << 20;
    refused(&c, "overflow");
}

/* Whatever is accepted must not overflow mr_config_sizes: random powers of two against the same sum
 * in double. */
static void accepted_sizes_do_not_overflow(void **state) {
    (void)state;
    mr_rng rng = mr_rng_seed(1);
    int taken = 0;
    for (int i = 0; i < 20000; i++) {
        mr_config c = good();
        idx *const fields[] = {&c.dim,     &c.n_layers,   &c.hidden_dim,
                               &c.n_heads, &c.vocab_size, &c.n_experts};
        for (int f = 0; f < 6; f++) *fields[f] = (idx)1 << mr_rng_next(&rng) % (f == 5 ? 17 : 31);
        c.n_experts_per_tok = c.n_kv_heads = 1;
        if (mr_config_check(&c, "random", NULL)) continue;
        taken++;
        const mr_sizes s = mr_config_sizes(&c);
        const double d = (double)c.dim, D = (double)c.head_dim, heads = (double)(2 * c.n_heads + 2);
        const double layer = d * D * heads + 2 * d +
                             (double)c.n_experts * d * (3 * (double)c.hidden_dim + 1);
        check_number("total", 2 * d * (double)c.vocab_size + d + (double)c.n_layers * layer,
                     (double)s.total, 10);
        assert_true(s.flops_token > 0 && s.flops_key > 0 && s.cache_token > 0);
    }
    assert_true(taken > (WIDE_SIZES ? 1000 : 20));
}

static void windows(void **state) {
    (void)state;
    REFUSED(n_windows, -1, "at most 256 entries of sliding_window, found -1");
    REFUSED(n_windows, 257, "at most 256 entries");
    REFUSED(n_windows, 4, "sliding_window lists 4 entries, which do not divide 6 layers");
    mr_config c = good();
    /* the second entry, 0, is "none" */
    c.n_windows = 3, c.windows[0] = 4096, c.windows[2] = 7;
    accepted(&c);
    const idx want[] = {4096, 0, 7, 4096, 0, 7};
    for (idx l = 0; l < 6; l++) assert_int_equal(mr_config_window(&c, l), want[l]);
    c.windows[1] = -1;
    refused(&c, "sliding_window of 1 or more, or null for none, found -1");
    c.windows[1] = (idx)((int64_t)INT32_MAX + 1);
    refused(&c, "sliding_window of 1 or more");
    c = good();
    for (idx l = 0; l < 6; l++) assert_int_equal(mr_config_window(&c, l), 0);
}

static void experts(void **state) {
    (void)state;
    REFUSED(n_experts, -1, "0 to 65536 experts, found -1");
    REFUSED(n_experts, 65537, "0 to 65536 experts");
    REFUSED(n_experts, 0, "no experts per token in a dense model, found 2");
    REFUSED(n_experts_per_tok, 0,
            "expected 1 to 4 experts per token (num_experts_per_tok), found 0");
    REFUSED(n_experts_per_tok, 5, "1 to 4 experts");
    ACCEPTED(n_experts_per_tok, 1);
    ACCEPTED(n_experts_per_tok, 4);
    if (WIDE_SIZES) ACCEPTED(n_experts, 65536);
    else REFUSED(n_experts, 65536, "sizes overflow");
    REFUSED(capacity_factor, -0.5, "capacity factor of 0 (dropless) or more, found -0.5");
    REFUSED(capacity_factor, (double)NAN, "capacity factor");
    REFUSED(capacity_factor, (double)INFINITY, "capacity factor");
    ACCEPTED(capacity_factor, 1.25);
    mr_config dense = good();
    dense.n_experts = dense.n_experts_per_tok = 0;
    accepted(&dense);
}

static void norm_and_rotation(void **state) {
    (void)state;
    REFUSED(norm_eps, -1e-9, "norm_eps (rms_norm_eps) in [0,1)");
    REFUSED(norm_eps, 1.0, "norm_eps (rms_norm_eps) in [0,1), found 1");
    REFUSED(norm_eps, (double)NAN, "norm_eps");
    ACCEPTED(norm_eps, 0.0);
    ACCEPTED(norm_eps, 0.5);
    REFUSED(rope_theta, 0.0, "rope_theta above 0, found 0");
    REFUSED(rope_theta, -1e4, "rope_theta above 0");
    REFUSED(rope_theta, (double)INFINITY, "rope_theta");
    REFUSED(rope_theta, (double)NAN, "rope_theta");
    ACCEPTED(rope_theta, 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_one_or_more), cmocka_unit_test(heads),
        cmocka_unit_test(products_that_overflow), cmocka_unit_test(accepted_sizes_do_not_overflow),
        cmocka_unit_test(windows), cmocka_unit_test(experts), cmocka_unit_test(norm_and_rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
