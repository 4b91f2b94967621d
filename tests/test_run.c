/* A run: how much memory it takes, what it refuses, and what it leaves alone when it refuses. */
#define _POSIX_C_SOURCE 200112L
#include "tests/tiny.h"

#include <stdlib.h>

enum { V = 11, T = 7 };

/* Impossible sizes must come back as a refusal under AddressSanitizer too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

static bool ignore(void *user, const mr_tensor *t) {
    (void)user;
    return t->data == NULL;
}

/* Exactly mr_run_size bytes are enough: the sanitizer or valgrind would see one byte more. The memory starts dirty. */
static void exact_memory(void **state) {
    (void)state;
    mr_config configs[] = {tiny_config(), tiny_sparse(1), tiny_sparse(4), tiny_config()};
    configs[1].n_windows = 2, configs[1].windows[0] = 3;
    configs[3].storage = MR_STORE_BF16;
    for (int way = 0; way < 4 * 16; way++) {
        const idx capacity[] = {9, 4}, length[] = {5, 2};
        const mr_run_options o = {.precision = way & 1 ? MR_F64_RUN : MR_F32_RUN,
                                  .engine = way & 2 && mr_engine_built(MR_BLAS_ENGINE) ? MR_BLAS_ENGINE : MR_PLAIN_ENGINE,
                                  .n_seqs = 2, .capacity = capacity, .max_tokens = T, .last_only = way & 4,
                                  .tap = way & 8 ? ignore : NULL};
        tiny t;
        tiny_open(&t, &configs[way / 16]);
        const idx bytes = mr_run_size(&t.model, &o);
        assert_true(bytes > 0 && bytes % 64 == 0);
        void *memory = NULL;
        assert_int_equal(posix_memalign(&memory, 64, (size_t)bytes), 0);
        memset(memory, 0xAB, (size_t)bytes);
        mr_run *run = NULL;
        mr_err err = {0};
        assert_int_equal(mr_run_init(&t.model, &o, memory, &run, &err), MR_OK);
        tiny_forward(run, tiny_tokens, length);
        double here[V], there[V];
        mr_run_logits(run, 0, here);
        mr_run_show_cache(run);
        mr_run_close(run);                                        /* frees nothing: the memory is ours */
        free(memory);
        run = tiny_run(&t, &o);
        tiny_forward(run, tiny_tokens, length);
        mr_run_logits(run, 0, there);
        check_bits("logits", there, here, V, sizeof *here);
        mr_run_close(run);
        tiny_close(&t);
    }
    mr_run_close(NULL);
}

/* Room for all scores and for the mask is needed only with a tap, all logits only without last_only. */
static void size_follows_the_options(void **state) {
    (void)state;
    const mr_config c = tiny_config();
    const idx capacity = 1000;
    tiny t;
    tiny_open(&t, &c);
    mr_run_options o = {.precision = MR_F64_RUN, .n_seqs = 1, .capacity = &capacity, .max_tokens = 1000};
    const idx all = mr_run_size(&t.model, &o);
    o.last_only = true;
    const idx last = mr_run_size(&t.model, &o);
    o.tap = ignore;
    const idx tapped = mr_run_size(&t.model, &o);
    o.precision = MR_F32_RUN, o.tap = NULL;
    const idx single = mr_run_size(&t.model, &o);
    assert_true(all - last > 999 * V * 8 - 200 && all - last < 1000 * V * 8 + 200);
    assert_true(tapped - last > 2 * 4 * 1000000 * 8 && tapped - last < (2 * 4 * 8 + 1) * 1000000 + 500);
    assert_true(single < last && 2 * single > last);
    tiny_close(&t);
}

/* One row of logits per sequence: with as many tokens as sequences, last_only saves nothing. A ring of W keys: the second
 * slot costs 2 layers times a key and a value of 8 doubles. */
static void size_by_parts(void **state) {
    (void)state;
    const idx capacity[] = {20, 20, 20, 20, 20};
    mr_config c = tiny_config();
    tiny t;
    tiny_open(&t, &c);
    mr_run_options o = {.precision = MR_F64_RUN, .n_seqs = 5, .capacity = capacity, .max_tokens = 5};
    const idx all = mr_run_size(&t.model, &o);
    o.last_only = true;
    assert_true(mr_run_size(&t.model, &o) == all);
    o.n_seqs = 1;
    t.model.config.n_windows = 1, t.model.config.windows[0] = 1;
    const idx one = mr_run_size(&t.model, &o);
    t.model.config.windows[0] = 2;
    assert_true(mr_run_size(&t.model, &o) == one + 2 * 2 * 8 * 8);
    tiny_close(&t);
}

/* Sizes that no machine has: -1, and a refusal instead of a crash. */
static void absurd_sizes(void **state) {
    (void)state;
    const mr_config configs[] = {tiny_config(), tiny_sparse(4)};
    const idx most = MR_IDX_MAX;
    const idx capacities[][2] = {{most, most}, {most, 0}, {most / 4, 1}, {-1, 3}, {8, 8}, {8, 8}, {8, 8}, {8, 8}, {most / 9, 8}};
    const idx tokens[] = {4, 4, 4, 4, most, most / 2, -1, most / 3, most / 5};
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < 9; i++)
            for (int way = 0; way < 4; way++) {
                tiny t;
                tiny_open(&t, &configs[m]);
                const mr_run_options o = {.precision = way & 1 ? MR_F64_RUN : MR_F32_RUN, .n_seqs = 2, .capacity = capacities[i],
                                          .max_tokens = tokens[i], .tap = way & 2 ? ignore : NULL};
                mr_run *run = (mr_run *)&t;
                mr_err err = {0};
                assert_true(mr_run_size(&t.model, &o) == -1);
                check_refused(mr_run_open(&t.model, &o, &run, &err), MR_BAD, &err, "memory");
                assert_null(run);
                assert_int_equal(mr_run_open(&t.model, &o, &run, NULL), MR_BAD);
                tiny_close(&t);
            }
}

/* A ring forgets, so only positions are endless here: such a capacity is refused, or it works. */
static void endless_capacity(void **state) {
    (void)state;
    const idx capacity = (idx)1 << 62, length = T;
    const mr_run_options o = {.precision = MR_F64_RUN, .n_seqs = 1, .capacity = &capacity, .max_tokens = T};
    mr_config c = tiny_config();
    c.n_windows = 1, c.windows[0] = 3;
    tiny t;
    double want[T * V], got[V];
    tiny_open(&t, &c);
    if (mr_run_size(&t.model, &o) != -1) {
        tiny_logits(&t, o, tiny_tokens, T, want, NULL);
        mr_run *run = tiny_run(&t, &o);
        tiny_forward(run, tiny_tokens, &length);
        mr_run_logits(run, T - 1, got);
        check_bits("logits", want + (T - 1) * V, got, V, sizeof *got);
        mr_run_close(run);
    }
    tiny_close(&t);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

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
    const int32_t low[] = {1, 2, -1, 3, 4}, high[] = {1, 2, 3, 4, V}, good[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const mr_run_options o = {.precision = precision, .n_seqs = 2, .capacity = capacity, .max_tokens = 5};
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
            refused(run, good, 4, 0, "sequence 0: 4 tokens after 3 exceed its capacity of 6 positions");
            refused(run, good, 0, 3, "sequence 1: 3 tokens after 2 exceed its capacity of 4 positions");
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
    const mr_run_options o = {.precision = precision, .n_seqs = 2, .capacity = capacity, .max_tokens = 5};
    const mr_config c = tiny_config();
    tiny t;
    tiny_open(&t, &c);
    mr_run *run = tiny_run(&t, &o);
    refused(run, tiny_tokens, 3, 3, "6 tokens in one call exceed max_tokens 5");
    mr_run_close(run);
    tiny_close(&t);
}

/* A rule that looks ahead cannot be fed in pieces; without a window, or with nothing new, it can. */
static void longformer_in_pieces(mr_precision precision) {
    const idx capacity[] = {6, 6}, first[] = {2, 0}, none[] = {0, 2};
    const mr_run_options o = {.precision = precision, .n_seqs = 2, .capacity = capacity, .max_tokens = 5};
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
        const mr_run_options o = {.engine = (mr_engine)engine, .n_seqs = 1, .capacity = &capacity, .max_tokens = 4};
        mr_run *run = (mr_run *)&t;
        mr_err err = {0};
        check_refused(mr_run_open(&t.model, &o, &run, &err), MR_USAGE, &err, "this build has no BLAS engine");
        assert_null(run);
    }
    tiny_close(&t);
}

/* ---- rows of logits ---------------------------------------------------------------------------------------------- */

/* last_only keeps one row per sequence that got tokens, in sequence order, with the bits of the full run's rows. */
static void last_rows(void **state) {
    (void)state;
    const idx capacity[] = {5, 3, 5, 2}, lengths[][4] = {{3, 0, 2, 2}, {0, 0, 0, 0}, {1, 1, 0, 0}, {0, 2, 3, 0}};
    const idx last[][3] = {{2, 4, 6}, {0, 0, 0}, {0, 1, 0}, {1, 4, 0}}, rows[] = {3, 0, 2, 2};
    for (int precision = 0; precision < 2; precision++) {
        mr_run_options o = {.precision = (mr_precision)precision, .n_seqs = 4, .capacity = capacity, .max_tokens = T};
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
                check_number("log p", mr_run_log_probability(full, last[call][row], 3), mr_run_log_probability(few, row, 3), 0);
            }
        }
        const int32_t targets[] = {-1, 3, -1, -1, 5};          /* of the last call: rows 1 and 4 end a sequence */
        check_number("loss", mr_run_cross_entropy(full, targets), mr_run_cross_entropy(few, (int32_t[]){3, 5}), 0);
        mr_run_close(full);
        mr_run_close(few);
        tiny_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_memory), cmocka_unit_test(size_follows_the_options), cmocka_unit_test(size_by_parts),
        cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(endless_capacity), cmocka_unit_test(calls), cmocka_unit_test(engines), cmocka_unit_test(last_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
