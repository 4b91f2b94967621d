/* The memory of a run: how much it takes, that it is enough, and that nothing in it is left to
 * chance. */
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

/* Memory whose every byte is wrong as a number, a size and a pointer. */
static void *dirty(idx bytes) {
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 64, (size_t)bytes), 0);
    memset(memory, 0xAB, (size_t)bytes);
    return memory;
}

/* Exactly mr_run_size bytes are enough: the sanitizer or valgrind would see one byte more. The
 * memory starts dirty. */
static void exact_memory(void **state) {
    (void)state;
    mr_config configs[] = {tiny_config(), tiny_sparse(1), tiny_sparse(4), tiny_config()};
    configs[1].n_windows = 2, configs[1].windows[0] = 3;
    configs[3].storage = MR_STORE_BF16;
    for (int way = 0; way < 4 * 16; way++) {
        const idx capacity[] = {9, 4}, length[] = {5, 2};
        const mr_run_options o = {
            .precision = way & 1 ? MR_F64_RUN : MR_F32_RUN,
            .engine = way & 2 && mr_engine_built(MR_BLAS_ENGINE) ? MR_BLAS_ENGINE : MR_PLAIN_ENGINE,
            .n_seqs = 2,
            .capacity = capacity,
            .max_tokens = T,
            .last_only = way & 4,
            .tap = way & 8 ? ignore : NULL};
        tiny t;
        tiny_open(&t, &configs[way / 16]);
        const idx bytes = mr_run_size(&t.model, &o);
        assert_true(bytes > 0 && bytes % 64 == 0);
        void *memory = dirty(bytes);
        mr_run *run = NULL;
        mr_err err = {0};
        assert_int_equal(mr_run_init(&t.model, &o, memory, &run, &err), MR_OK);
        tiny_forward(run, tiny_tokens, length);
        double here[V], there[V];
        mr_run_logits(run, 0, here);
        mr_run_show_cache(run);
        /* frees nothing: the memory is ours */
        mr_run_close(run);
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

/* Room for all scores and for the mask is needed only with a tap, all logits only without
 * last_only. */
static void size_follows_the_options(void **state) {
    (void)state;
    const mr_config c = tiny_config();
    const idx capacity = 1000;
    tiny t;
    tiny_open(&t, &c);
    mr_run_options o = {
        .precision = MR_F64_RUN, .n_seqs = 1, .capacity = &capacity, .max_tokens = 1000};
    const idx all = mr_run_size(&t.model, &o);
    o.last_only = true;
    const idx last = mr_run_size(&t.model, &o);
    o.tap = ignore;
    const idx tapped = mr_run_size(&t.model, &o);
    o.precision = MR_F32_RUN, o.tap = NULL;
    const idx single = mr_run_size(&t.model, &o);
    assert_true(all - last > 999 * V * 8 - 200 && all - last < 1000 * V * 8 + 200);
    assert_true(tapped - last > 2 * 4 * 1000000 * 8 &&
                tapped - last < (2 * 4 * 8 + 1) * 1000000 + 500);
    assert_true(single < last && 2 * single > last);
    tiny_close(&t);
}

/* One row of logits per sequence: with as many tokens as sequences, last_only saves nothing. A ring
 * of W keys: the second slot costs 2 layers times a key and a value of 8 doubles. */
static void size_by_parts(void **state) {
    (void)state;
    const idx capacity[] = {20, 20, 20, 20, 20};
    mr_config c = tiny_config();
    tiny t;
    tiny_open(&t, &c);
    mr_run_options o = {
        .precision = MR_F64_RUN, .n_seqs = 5, .capacity = capacity, .max_tokens = 5};
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
    const idx capacities[][2] = {{most, most}, {most, 0}, {most / 4, 1}, {-1, 3},      {8, 8},
                                 {8, 8},       {8, 8},    {8, 8},        {most / 9, 8}};
    const idx tokens[] = {4, 4, 4, 4, most, most / 2, -1, most / 3, most / 5};
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < 9; i++)
            for (int way = 0; way < 4; way++) {
                tiny t;
                tiny_open(&t, &configs[m]);
                const mr_run_options o = {.precision = way & 1 ? MR_F64_RUN : MR_F32_RUN,
                                          .n_seqs = 2,
                                          .capacity = capacities[i],
                                          .max_tokens = tokens[i],
                                          .tap = way & 2 ? ignore : NULL};
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
    const idx capacity = MR_IDX_MAX / 2 + 1, length = T;
    const mr_run_options o = {
        .precision = MR_F64_RUN, .n_seqs = 1, .capacity = &capacity, .max_tokens = T};
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

/* The BLAS engine widens up to MR_LINEAR_ROWS rows at a time into scratch that must fit the widest
 * matrix: w2 (520 rows, 560 columns), or wo (544 columns). Rings and pointers follow the scratch in
 * memory, so overflow would not go unseen. */
static void blas_scratch(void **state) {
    (void)state;
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    for (int way = 0; way < 4; way++) {
        const int32_t tokens[] = {1, 5, 3, 7, 2, 9, 4, 0, 10};
        enum { TOKENS = sizeof tokens / sizeof *tokens };
        mr_config c = tiny_config();
        double want[TOKENS * V], got[TOKENS * V];
        c.dim = 520, c.storage = MR_STORE_BF16;
        if (way & 1) c.hidden_dim = 560;
        else         c.head_dim = 136;
        const mr_precision precision = way & 2 ? MR_F64_RUN : MR_F32_RUN;
        tiny t;
        tiny_open(&t, &c);
        tiny_logits(&t, (mr_run_options){.precision = precision}, tokens, TOKENS, want, NULL);
        tiny_logits(&t, (mr_run_options){.precision = precision, .engine = MR_BLAS_ENGINE}, tokens,
                    TOKENS, got, NULL);
        check_close("logits", want, got, TOKENS * V, 0x1p-8, 8, 8);
        tiny_close(&t);
    }
}

/* Slots that no token has reached show position -1 and zeros, though the memory was dirty: traces
 * are reproducible. */
static void slots_not_yet_filled(void **state) {
    (void)state;
    const char *names[] = {"layers.1.cache_k", "layers.1.cache_v", "layers.1.cache_pos"};
    for (int i = 0; i < 3; i++) {
        static tiny_trace trace;
        const idx capacity[] = {9, 9}, length[] = {2, 0};
        const mr_run_options o = {.precision = MR_F64_RUN,
                                  .n_seqs = 2,
                                  .capacity = capacity,
                                  .max_tokens = T,
                                  .tap = tiny_tap,
                                  .user = &trace};
        const mr_config c = tiny_config();
        trace.name = names[i], trace.n = 0;
        tiny t;
        tiny_open(&t, &c);
        void *memory = dirty(mr_run_size(&t.model, &o));
        mr_run *run = NULL;
        assert_int_equal(mr_run_init(&t.model, &o, memory, &run, NULL), MR_OK);
        tiny_forward(run, tiny_tokens, length);
        mr_run_show_cache(run);
        const idx width = i < 2 ? 8 : 1;
        assert_true(trace.n == 2 * 9 * width);
        for (idx s = 2 * width; s < trace.n; s++) assert_true(trace.values[s] == (i < 2 ? 0 : -1));
        if (i == 2) assert_true(trace.values[0] == 0 && trace.values[1] == 1);
        mr_run_close(run);
        free(memory);
        tiny_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_memory), cmocka_unit_test(size_follows_the_options),
        cmocka_unit_test(size_by_parts), cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(endless_capacity), cmocka_unit_test(blas_scratch),
        cmocka_unit_test(slots_not_yet_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
