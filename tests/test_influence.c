/* Who can influence whom, and what a sequence that starts again, or starts far away, must not
 * notice. */
#include "tests/tiny.h"

enum { V = 11, W = 5, T = 2 * W + 3 };

/* Token i of sequence s; different sequences share no prefix. */
static int32_t token(idx s, idx i) { return (int32_t)((4 * s + i * i + 3 * i + 1) % V); }

/* Another first token changes the logits of position p exactly when p <= reach; another token at p
 * changes none before it. */
static void influence(const mr_config *c, idx reach) {
    tiny t;
    int32_t tokens[T];
    double base[T * V], other[T * V];
    const mr_run_options o = {.precision = MR_F64_RUN};
    tiny_open(&t, c);
    for (idx i = 0; i < T; i++) tokens[i] = token(0, i);
    tiny_logits(&t, o, tokens, T, base, NULL);
    tokens[0] = (tokens[0] + 1) % V;
    tiny_logits(&t, o, tokens, T, other, NULL);
    for (idx p = 0; p < T; p++)
        if ((memcmp(base + p * V, other + p * V, V * sizeof *base) != 0) != (p <= reach))
            fail_msg("reach %td: position %td", reach, p);
    tokens[0] = token(0, 0);
    for (idx changed = 1; changed < T; changed++) {
        tokens[changed] = (token(0, changed) + 3) % V;
        tiny_logits(&t, o, tokens, T, other, NULL);
        check_bits("past", base, other, changed * V, sizeof *base);
        assert_true(memcmp(base + changed * V, other + changed * V, V * sizeof *base) != 0);
        tokens[changed] = token(0, changed);
    }
    tiny_close(&t);
}

/* k layers with W keys reach back k (W-1) positions, by the inclusive rule k W. */
static void receptive_field(void **state) {
    (void)state;
    for (idx layers = 1; layers <= 3; layers++)
        for (idx window = 1; window <= 4; window++) {
            mr_config c = layers == 2 ? tiny_sparse(2) : tiny_config();
            c.n_layers = layers, c.n_windows = 1, c.windows[0] = window;
            influence(&c, layers * (window - 1));
            c.window_rule = MR_WINDOW_INCLUSIVE;
            influence(&c, layers * window);
        }
    mr_config c = tiny_config();
    influence(&c, T);
    c.n_windows = 2, c.windows[0] = 3;
    c.windows[1] = 0;
    influence(&c, T);
    /* windows 3, 2, 3, 2: 2 + 1 + 2 + 1 */
    c.n_layers = 4, c.windows[1] = 2;
    influence(&c, 6);
}

/* A sequence that is reset starts as if nothing had been, while its neighbour goes on. */
static void reset(void **state) {
    (void)state;
    const idx capacity[] = {T, T}, first[] = {6, 7}, second[] = {5, 2};
    const mr_run_options o = {
        .precision = MR_F64_RUN, .n_seqs = 2, .capacity = capacity, .max_tokens = 2 * T};
    mr_config c = tiny_config();
    c.n_windows = 2, c.windows[0] = 3;
    tiny t;
    double want[T * V], got[V];
    int32_t tokens[T];
    tiny_open(&t, &c);
    mr_run *run = tiny_run(&t, &o);
    for (idx i = 0; i < 13; i++) tokens[i] = token(i < 6 ? 1 : 0, i < 6 ? i : i - 6);
    tiny_forward(run, tokens, first);
    mr_run_reset(run, 0, 0);
    assert_true(mr_run_seen(run, 0) == 0 && mr_run_seen(run, 1) == 7);
    for (idx i = 0; i < 7; i++) tokens[i] = token(i < 5 ? 2 : 0, i < 5 ? i : i + 2);
    tiny_forward(run, tokens, second);
    for (idx i = 0; i < T; i++) tokens[i] = token(2, i);
    tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tokens, 5, want, NULL);
    mr_run_logits(run, 4, got);
    check_bits("restarted", want + 4 * V, got, V, sizeof *got);
    for (idx i = 0; i < T; i++) tokens[i] = token(0, i);
    tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tokens, 9, want, NULL);
    mr_run_logits(run, 6, got);
    check_bits("neighbour", want + 8 * V, got, V, sizeof *got);
    mr_run_close(run);
    tiny_close(&t);
}

/* Rotation depends on distances only: from position 131000 the logits are those from 0, up to the
 * rounding of angles (about 131000 units of eps). In layers with a window p lives in slot p mod W;
 * without, the count starts at the first token. */
static void far_start(void **state) {
    (void)state;
    const char *names[] = {"layers.0.cache_pos", "layers.1.cache_pos"};
    for (int way = 0; way < 4; way++) {
        static tiny_trace trace;
        const idx capacity = T, part = way & 1 ? 1 : T, layer = way / 2;
        const mr_run_options o = {.precision = MR_F64_RUN,
                                  .n_seqs = 1,
                                  .capacity = &capacity,
                                  .max_tokens = T,
                                  .tap = tiny_tap,
                                  .user = &trace};
        mr_config c = tiny_config();
        c.n_windows = 2, c.windows[0] = 3;
        tiny t;
        double want[T * V], got[V];
        int32_t tokens[T];
        trace.name = names[layer], trace.n = 0;
        tiny_open(&t, &c);
        for (idx i = 0; i < T; i++) tokens[i] = token(0, i);
        tiny_logits(&t, (mr_run_options){.precision = MR_F64_RUN}, tokens, T, want, NULL);
        mr_run *run = tiny_run(&t, &o);
        mr_run_reset(run, 0, 131000);
        for (idx i = 0; i < T; i += part) tiny_forward(run, tokens + i, &part);
        mr_run_logits(run, part - 1, got);
        check_close("logits", want + (T - 1) * V, got, V, EPS_F64, 131000, 4);
        mr_run_show_cache(run);
        assert_true(trace.n == (layer == 0 ? 3 : T));
        for (idx p = T - trace.n; p < T; p++)
            assert_true(trace.values[layer == 0 ? (131000 + p) % 3 : p] == (double)(131000 + p));
        mr_run_close(run);
        tiny_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receptive_field), cmocka_unit_test(reset), cmocka_unit_test(far_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
