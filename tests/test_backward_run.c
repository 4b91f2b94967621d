/* A training run: the same bits however tokens are cut into calls and threads share the work, its
 * memory, its logits, and what it refuses. */
#define _POSIX_C_SOURCE 200112L
#include "tests/gradients.h"

#include <stdlib.h>

enum { V = 11 };

/* Ways to be a model, every one with the same bits in all of these tests. */
enum { MODELS = 5 };

static mr_config model_of(int n) {
    mr_config c = n < 3 ? tiny_config() : tiny_sparse(n - 2);
    c.tied_embeddings = n == 1;
    if (n == 2) c.n_windows = 1, c.windows[0] = 2;
    return c;
}

/* The gradients of calls that feed length[i] in call i, all others 0. */
static void in_calls(trainee *t, mr_run_options o, const idx length[][3], idx calls,
                     const int32_t *tokens) {
    const idx most[] = {9, 9, 9};
    memset(t->slopes, 0, (size_t)(t->count * mr_dtype_size(t->dtype)));
    mr_run *run = train_run(t, o, most, 3);
    for (idx i = 0, first = 0; i < calls; i++) {
        train_step(t, run, tokens, first, length[i], true);
        first += length[i][0] + length[i][1] + length[i][2];
    }
    mr_run_close(run);
}

/* One call with three sequences, a call for each, and one call and then two sequences at once: the
 * tokens come in the same order, so every parameter gets the same additions. */
static void micro_batches(void **state) {
    static const idx together[][3] = {{3, 1, 3}}, alone[][3] = {{3, 0, 0}, {0, 1, 0}, {0, 0, 3}},
                     mixed[][3] = {{3, 0, 0}, {0, 1, 3}};
    (void)state;
    for (int n = 0; n < MODELS; n++)
        for (int way = 0; way < 4; way++) {
            const mr_config c = model_of(n);
            const mr_run_options o = {.precision = way & 1 ? MR_F64_RUN : MR_F32_RUN,
                                      .dispatch = (mr_dispatch)(way / 2)};
            trainee t, u;
            trainee_open(&t, &c, o.precision);
            trainee_open(&u, &c, o.precision);
            in_calls(&t, o, together, 1, tiny_tokens);
            in_calls(&u, o, alone, 3, tiny_tokens);
            check_bits("alone", t.slopes, u.slopes, t.count, mr_dtype_size(t.dtype));
            in_calls(&u, o, mixed, 2, tiny_tokens);
            check_bits("mixed", t.slopes, u.slopes, t.count, mr_dtype_size(t.dtype));
            trainee_close(&t);
            trainee_close(&u);
        }
}

/* Both dispatches feed each expert the same rows in the same order. */
static void dispatches(void **state) {
    static const idx length[][3] = {{3, 1, 3}};
    (void)state;
    for (idx K = 1; K <= 4; K++) {
        mr_config c = tiny_sparse(K);
        c.capacity_factor = K == 3 ? 0.7 : 0;
        trainee t, u;
        trainee_open(&t, &c, MR_F32_RUN);
        trainee_open(&u, &c, MR_F32_RUN);
        in_calls(&t, (mr_run_options){.dispatch = MR_DISPATCH_GROUPED}, length, 1, tiny_tokens);
        in_calls(&u, (mr_run_options){.dispatch = MR_DISPATCH_NAIVE}, length, 1, tiny_tokens);
        check_bits("naive", t.slopes, u.slopes, t.count, 4);
        trainee_close(&t);
        trainee_close(&u);
    }
}

/* Work enough for threads (see (L1) in test_model_ways.c); their number must not change a bit. */
static void threads(void **state) {
    enum { MANY = 40 };
    const idx length[] = {25, 15};
    int32_t tokens[MANY];
    (void)state;
    for (int i = 0; i < MANY; i++) tokens[i] = i * i % V;
    for (int n = 0; n < MODELS; n++)
        for (int precision = 0; precision < 2; precision++) {
            mr_config c = model_of(n);
            c.head_dim = 64, c.hidden_dim = 200;
            trainee t[3];
            for (int k = 0; k < 3; k++) {
                trainee_open(&t[k], &c, (mr_precision)precision);
                const mr_run_options o = {.precision = (mr_precision)precision};
                mr_run *run = train_run(&t[k], o, length, 2);
                mr_set_threads(k + 1);
                train_step(&t[k], run, tokens, 0, length, true);
                mr_run_close(run);
                check_bits("gradients", t[0].slopes, t[k].slopes, t[0].count,
                           mr_dtype_size(t[0].dtype));
            }
            for (int k = 0; k < 3; k++) trainee_close(&t[k]);
        }
    mr_set_threads(1);
}

/* A training run's forward is the ordinary one; every call begins again, with no gradient left. */
static void forward_as_ever(void **state) {
    const idx length[] = {4, 3}, first_only[] = {4, 0};
    (void)state;
    for (int n = 0; n < MODELS; n++) {
        const mr_config c = model_of(n);
        double here[V], there[V];
        trainee t;
        tiny formula;
        trainee_open(&t, &c, MR_F32_RUN);
        tiny_open(&formula, &c);
        const mr_run_options o = {.n_seqs = 2, .capacity = length, .max_tokens = 7};
        mr_run *plain = tiny_run(&formula, &o), *run = train_run(&t, o, length, 2);
        tiny_forward(plain, tiny_tokens, length);
        train_step(&t, run, tiny_tokens, 0, length, false);
        mr_run_show_cache(run);
        tiny_forward(run, tiny_tokens, first_only);
        tiny_forward(run, tiny_tokens, length);
        for (idx r = 0; r < 7; r++) {
            mr_run_logits(plain, r, here);
            mr_run_logits(run, r, there);
            check_bits("logits", here, there, V, sizeof *here);
        }
        /* a derivative that no backward follows is gone with the next call, and so is a used one */
        mr_run_logit_backward(run, 2, 1, 5);
        tiny_forward(run, tiny_tokens, length);
        assert_int_equal(mr_run_backward(run, &t.gradients, NULL), MR_OK);
        mr_run_logit_backward(run, 2, 1, 5);
        assert_int_equal(mr_run_backward(run, &t.gradients, NULL), MR_OK);
        const float once = ((float *)t.slopes)[t.count - 1];
        assert_int_equal(mr_run_backward(run, &t.gradients, NULL), MR_OK);
        check_bits("once", &once, &((float *)t.slopes)[t.count - 1], 1, 4);
        mr_run_close(plain);
        mr_run_close(run);
        tiny_close(&formula);
        trainee_close(&t);
    }
}

static bool ignore(void *user, const mr_tensor *t) {
    (void)user;
    return t->data == NULL;
}

/* Exactly mr_run_size bytes are enough; nothing in dirty memory is read before it is written. */
static void exact_memory(void **state) {
    const idx length[] = {4, 3};
    (void)state;
    for (int way = 0; way < 8 * MODELS; way++) {
        const mr_config c = model_of(way / 8);
        const mr_run_options o = {
            .precision = way & 1 ? MR_F64_RUN : MR_F32_RUN, .n_seqs = 2, .capacity = length,
            .max_tokens = 7, .train = true, .tap = way & 4 ? ignore : NULL,
            .engine = (mr_engine)(way / 2 % 2 && mr_engine_built(MR_BLAS_ENGINE))};
        trainee t, u;
        void *memory = NULL;
        mr_run *run = NULL;
        trainee_open(&t, &c, o.precision);
        trainee_open(&u, &c, o.precision);
        const idx bytes = mr_run_size(&t.model, &o);
        assert_int_equal(posix_memalign(&memory, 64, (size_t)bytes), 0);
        memset(memory, 0xAB, (size_t)bytes);
        assert_int_equal(mr_run_init(&t.model, &o, memory, &run, NULL), MR_OK);
        train_step(&t, run, tiny_tokens, 0, length, true);
        mr_run_close(run);
        free(memory);
        run = train_run(&u, o, length, 2);
        train_step(&u, run, tiny_tokens, 0, length, true);
        check_bits("gradients", u.slopes, t.slopes, t.count, mr_dtype_size(t.dtype));
        mr_run_close(run);
        trainee_close(&t);
        trainee_close(&u);
    }
}

/* Memory is a straight line in the tokens, in one long sequence too: no T^2 anywhere. */
static void memory_is_linear(void **state) {
    (void)state;
    for (int n = 0; n < MODELS; n++) {
        const mr_config c = model_of(n);
        double size[4];
        tiny t;
        tiny_open(&t, &c);
        for (idx k = 1; k <= 3; k++) {
            const idx T = 10000 * k;
            const mr_run_options o = {.n_seqs = 1, .capacity = &T, .max_tokens = T, .train = true};
            size[k] = (double)mr_run_size(&t.model, &o);
        }
        /* each of at most 200 buffers is rounded up to 64 bytes */
        assert_true(fabs((size[3] - size[2]) - (size[2] - size[1])) <= 200 * 64);
        assert_true(size[2] > size[1]);
        tiny_close(&t);
    }
}

static void refused(void **state) {
    const idx length = 3;
    mr_config c = tiny_config();
    trainee t, narrow;
    mr_run *run = NULL;
    (void)state;
    trainee_open(&t, &c, MR_F64_RUN);
    trainee_open(&narrow, &c, MR_F32_RUN);
    mr_run_options o = {.precision = MR_F64_RUN, .n_seqs = 1, .capacity = &length, .max_tokens = 3,
                        .train = true, .last_only = true};
    mr_err err = {0};
    check_refused(mr_run_open(&t.model, &o, &run, &err), MR_USAGE, &err, "last_only");
    o.last_only = false;
    err = (mr_err){0};
    t.model.config.storage = MR_STORE_BF16;
    check_refused(mr_run_open(&t.model, &o, &run, &err), MR_USAGE, &err, "16-bit");
    t.model.config.storage = MR_STORE_WIDE;
    err = (mr_err){0};
    assert_int_equal(mr_run_open(&t.model, &o, &run, &err), MR_OK);
    check_refused(mr_run_backward(run, &narrow.gradients, &err), MR_BAD, &err, "as F64");
    mr_run_close(run);
    o.train = false;
    err = (mr_err){0};
    assert_int_equal(mr_run_open(&t.model, &o, &run, &err), MR_OK);
    check_refused(mr_run_backward(run, &t.gradients, &err), MR_USAGE, &err, "options.train");
    mr_run_close(run);
    o.train = true, o.precision = MR_F32_RUN;
    err = (mr_err){0};
    assert_int_equal(mr_run_open(&t.model, &o, &run, &err), MR_OK);
    check_refused(mr_run_backward(run, &t.gradients, &err), MR_BAD, &err, "as F32");
    mr_run_close(run);
    trainee_close(&narrow);
    trainee_close(&t);
}

/* No token in the whole call: nothing happens. */
static void no_tokens(void **state) {
    const idx none = 0, most = 3;
    (void)state;
    for (int engine = 0; engine < 2; engine++) {
        const mr_config c = tiny_sparse(2);
        trainee t;
        if (!mr_engine_built((mr_engine)engine)) continue;
        trainee_open(&t, &c, MR_F64_RUN);
        const mr_run_options o = {.precision = MR_F64_RUN, .engine = (mr_engine)engine,
                                  .router = {.z = 1, .balance = 1, .importance = 1}};
        mr_run *run = train_run(&t, o, &most, 1);
        assert_true(train_step(&t, run, tiny_tokens, 0, &none, true) == 0);
        for (idx i = 0; i < t.count; i++) assert_true(((double *)t.slopes)[i] == 0);
        mr_run_close(run);
        trainee_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_batches),   cmocka_unit_test(dispatches),
        cmocka_unit_test(threads),         cmocka_unit_test(forward_as_ever),
        cmocka_unit_test(exact_memory),    cmocka_unit_test(memory_is_linear),
        cmocka_unit_test(refused),         cmocka_unit_test(no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
