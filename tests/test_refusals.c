/* What a run refuses, what it leaves alone when it refuses, and which rows of logits it keeps. */
#include "tests/tiny.h"

enum { V = 11, T = 7 };

/* ---- refusals -------------------------------------------------------------------------------- */

static void refused(mr_run *run, const int32_t *tokens, idx first, idx second, const char *text) {
    const idx length[] = {first, second};
    mr_err err = {0};
    const idx seen[] = {mr_run_seen(run, 0), mr_run_seen(run, 1)};
    check_refused(mr_run_forward(run, tokens, length, &err), MR_BAD, &err, text);
    assert_int_equal(mr_run_forward(run, tokens, length, NULL), MR_BAD);
    assert_true(mr_run_seen(run, 0) == seen[0] && mr_run_seen(run, 1) == seen[1]);
}

/* Each refusal by its message; afterwards the run goes on as if the call had not been made. */
static void calls_in(mr_precision precision) {
    const idx capacity[] = {6, 4}, length[] = {3, 2}, rest[] = {3, 2};
    const int32_t low[] = {1, 2, -1, 3, 4}, high[] = {1, 2, 3, 4, V},
                  good[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const mr_run_options o = {
        .precision = precision, .n_seqs = 2, .capacity = capacity, .max_tokens = 5};
    const mr_config c = tiny_config();
    tiny t;
    double before[5 * V], after[V];
    tiny_open(&t, &c);
    for (int bad = 0; bad < 2; bad++) {
        mr_run *run = tiny_run(&t, &o);
        tiny_forward(run, good, length);
        if (bad) {
            refused(run, low, 3, 2, "token 2: id -1 is outside the vocabulary, expected 0 to 10");
            refused(run, high, 3, 2, "token 4: id 11 is outside the vocabulary");
            refused(run, good, 4, 0,
                    "sequence 0: 4 tokens after 3 exceed its capacity of 6 positions");
            refused(run, good, 0, 3,
                    "sequence 1: 3 tokens after 2 exceed its capacity of 4 positions");
            refused(run, good, -1, 2, "sequence 0: -1 tokens");
            refused(run, good, 0, MR_IDX_MAX, "exceed its capacity");
            mr_run_logits(run, 4, after);
            check_bits("logits are still there", before + 4 * V, after, V, sizeof *after);
        } else {
            for (idx row = 0; row < 5; row++) mr_run_logits(run, row, before + row * V);
        }
        tiny_forward(run, good + 5, rest);
        mr_run_logits(run, 2, bad ? after : before);
        mr_run_close(run);
    }
    check_bits("next call", before, after, V, sizeof *after);
    tiny_close(&t);
}

static void too_many_at_once(mr_precision precision) {
    const idx capacity[] = {6, 6};
    const mr_run_options o = {
        .precision = precision, .n_seqs = 2, .capacity = capacity, .max_tokens = 5};
    const mr_config c = tiny_config();
    tiny t;
    tiny_open(&t, &c);
    mr_run *run = tiny_run(&t, &o);
    refused(run, tiny_tokens, 3, 3, "6 tokens in one call exceed max_tokens 5");
    mr_run_close(run);
    tiny_close(&t);
}

/* A rule that looks ahead cannot be fed in pieces; without a window, or with nothing new, it
 * can. */
static void longformer_in_pieces(mr_precision precision) {
    const idx capacity[] = {6, 6}, first[] = {2, 0}, none[] = {0, 2};
    const mr_run_options o = {
        .precision = precision, .n_seqs = 2, .capacity = capacity, .max_tokens = 5};
    mr_config c = tiny_config();
    c.window_rule = MR_WINDOW_LONGFORMER, c.n_windows = 1, c.windows[0] = 4;
    tiny t;
    tiny_open(&t, &c);
    mr_run *run = tiny_run(&t, &o);
    tiny_forward(run, tiny_tokens, first);
    refused(run, tiny_tokens, 2, 0, "sequence 0: the longformer rule looks ahead");
    tiny_forward(run, tiny_tokens, none);                      /* another sequence may start */
    mr_run_close(run);
    t.model.config.n_windows = 0;
    run = tiny_run(&t, &o);
    tiny_forward(run, tiny_tokens, first);
    tiny_forward(run, tiny_tokens, first);
    mr_run_close(run);
    tiny_close(&t);
}

static void calls(void **state) {
    (void)state;
    for (int precision = 0; precision < 2; precision++) {
        calls_in((mr_precision)precision);
        too_many_at_once((mr_precision)precision);
        longformer_in_pieces((mr_precision)precision);
    }
}

static void engines(void **state) {
    (void)state;
    assert_true(mr_engine_built(MR_PLAIN_ENGINE));
    assert_false(mr_engine_built((mr_engine)7));
    const idx capacity = 4;
    const mr_config c = tiny_config();
    tiny t;
    tiny_open(&t, &c);
    for (int engine = 1; engine < 8; engine += 6) {
        if (mr_engine_built((mr_engine)engine)) continue;
        const mr_run_options o = {
            .engine = (mr_engine)engine, .n_seqs = 1, .capacity = &capacity, .max_tokens = 4};
        mr_run *run = (mr_run *)&t;
        mr_err err = {0};
        check_refused(mr_run_open(&t.model, &o, &run, &err), MR_USAGE, &err,
                      "this build has no BLAS engine");
        assert_null(run);
    }
    tiny_close(&t);
}

/* ---- rows of logits -------------------------------------------------------------------------- */

/* last_only keeps one row per sequence that got tokens, in sequence order, with the bits of the
 * full run's rows. */
static void last_rows(void **state) {
    (void)state;
    const idx capacity[] = {5, 3, 5, 2},
              lengths[][4] = {{3, 0, 2, 2}, {0, 0, 0, 0}, {1, 1, 0, 0}, {0, 2, 3, 0}};
    const idx last[][3] = {{2, 4, 6}, {0, 0, 0}, {0, 1, 0}, {1, 4, 0}}, rows[] = {3, 0, 2, 2};
    for (int precision = 0; precision < 2; precision++) {
        mr_run_options o = {.precision = (mr_precision)precision,
                            .n_seqs = 4,
                            .capacity = capacity,
                            .max_tokens = T};
        const mr_config c = tiny_sparse(2);
        tiny t;
        tiny_open(&t, &c);
        mr_run *full = tiny_run(&t, &o);
        o.last_only = true;
        mr_run *few = tiny_run(&t, &o);
        for (int call = 0; call < 4; call++) {
            tiny_forward(full, tiny_tokens, lengths[call]);
            tiny_forward(few, tiny_tokens, lengths[call]);
            assert_int_equal(mr_run_rows(few), rows[call]);
            for (idx row = 0; row < rows[call]; row++) {
                double want[V], got[V];
                mr_run_logits(full, last[call][row], want);
                mr_run_logits(few, row, got);
                check_bits("row", want, got, V, sizeof *got);
                check_number("log p", mr_run_log_probability(full, last[call][row], 3),
                             mr_run_log_probability(few, row, 3), 0);
            }
        }
        /* of the last call: rows 1 and 4 end a sequence */
        const int32_t targets[] = {-1, 3, -1, -1, 5};
        check_number("loss", mr_run_cross_entropy(full, targets),
                     mr_run_cross_entropy(few, (int32_t[]){3, 5}), 0);
        mr_run_close(full);
        mr_run_close(few);
        tiny_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls), cmocka_unit_test(engines), cmocka_unit_test(last_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
