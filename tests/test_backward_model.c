/* Gradients of whole models against central differences of the loss, parameter by parameter, for
 * every convention that has a backward of its own. PyTorch's word on the same: golden/cases/grad_*,
 * through tests/test_replay.c. */
#include "tests/gradients.h"

enum { STEP = 5 };   /* every STEP-th parameter */

/* The difference is off by the rounding of L, some 1e-15/1e-6, and by 1e-12 of third derivatives;
 * 1e-7 of the largest slope is far above both. */
static void check_gradients(const char *name, const mr_config *c, mr_run_options o,
                            mr_rope_layout rows, const idx *length, idx n_seqs) {
    static double want[4000], got[4000];
    trainee t;
    o.precision = MR_F64_RUN;
    trainee_open(&t, c, MR_F64_RUN);
    t.model.qk_rows = t.gradients.qk_rows = rows;
    mr_run *run = train_run(&t, o, length, n_seqs);
    train_step(&t, run, tiny_tokens, 0, length, true);
    double most = 0;
    idx n = 0;
    for (idx i = 0; i < t.count; i += STEP, n++) {
        double *x = &t.weights[i];
        const double keep = *x, h = 1e-6 * fmax(1, fabs(keep));
        *x = keep + h;
        const double above = train_step(&t, run, tiny_tokens, 0, length, false);
        *x = keep - h;
        want[n] = (above - train_step(&t, run, tiny_tokens, 0, length, false)) / (2 * h);
        got[n] = ((const double *)t.slopes)[i];
        *x = keep;
        most = fmax(most, fabs(want[n]));
    }
    assert_true(most > 0.01);
    check_close(name, want, got, n, 1e-7, most, 1);
    mr_run_close(run);
    trainee_close(&t);
}

static const idx one[] = {7}, packed[] = {4, 0, 3};

static void dense(void **state) {
    (void)state;
    mr_config c = tiny_config();
    check_gradients("dense", &c, (mr_run_options){0}, MR_INTERLEAVED, one, 1);
    check_gradients("packed", &c, (mr_run_options){0}, MR_INTERLEAVED, packed, 3);
    check_gradients("half-split rows", &c, (mr_run_options){0}, MR_HALF_SPLIT, one, 1);
    c.rope_layout = MR_HALF_SPLIT;
    check_gradients("half-split pairs", &c, (mr_run_options){0}, MR_INTERLEAVED, packed, 3);
    c.tied_embeddings = true;
    check_gradients("tied", &c, (mr_run_options){0}, MR_INTERLEAVED, packed, 3);
    c.n_heads = c.n_kv_heads = 3, c.n_layers = 1;
    check_gradients("one layer, key heads for all", &c, (mr_run_options){0}, MR_INTERLEAVED, one,
                    1);
    if (!mr_engine_built(MR_BLAS_ENGINE)) return;
    check_gradients("BLAS", &c, (mr_run_options){.engine = MR_BLAS_ENGINE}, MR_INTERLEAVED, one, 1);
}

static void windows(void **state) {
    (void)state;
    for (int rule = 0; rule < 3; rule++) {
        mr_config c = tiny_config();
        c.window_rule = (mr_window_rule)rule;
        c.n_windows = 2, c.windows[0] = 2, c.windows[1] = rule == 1 ? 3 : 0;
        check_gradients("window", &c, (mr_run_options){0}, MR_INTERLEAVED, rule ? packed : one,
                        rule ? 3 : 1);
    }
}

static void experts(void **state) {
    (void)state;
    for (idx K = 1; K <= 4; K += K == 2 ? 2 : 1)
        for (int way = 0; way < 4; way++) {
            mr_config c = tiny_sparse(K);
            const mr_run_options o = {.dispatch = (mr_dispatch)(way & 1)};
            if (way & 2) mr_config_follow(&c, MR_HF), c.expert_order = MR_EXPERTS_SLOTS;
            check_gradients("experts", &c, o, MR_INTERLEAVED, packed, 3);
        }
}

/* Copies that a capacity drops get no gradient, and give none to the gate. */
static void capacity(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        mr_config c = tiny_sparse(2);
        const mr_run_options o = {.dispatch = (mr_dispatch)(way & 1)};
        c.capacity_factor = 0.6, c.capacity_rank = (mr_capacity_rank)(way / 2);
        check_gradients("capacity", &c, o, MR_INTERLEAVED, packed, 3);
    }
}

static void router_losses(void **state) {
    (void)state;
    for (int n = 0; n < 4; n++) {
        mr_config c = tiny_sparse(2);
        mr_run_options o = {0};
        double *const coefficient[] = {&o.router.balance, &o.router.pooled, &o.router.z,
                                       &o.router.importance};
        *coefficient[n] = 5;
        check_gradients("router loss", &c, o, MR_INTERLEAVED, packed, 3);
    }
}

static void reward(void **state) {
    (void)state;
    for (idx labels = 1; labels <= 2; labels++) {
        mr_config c = labels == 1 ? tiny_config() : tiny_sparse(2);
        c.n_labels = labels;
        check_gradients("reward", &c, (mr_run_options){0}, MR_INTERLEAVED, packed, 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),    cmocka_unit_test(windows),       cmocka_unit_test(experts),
        cmocka_unit_test(capacity), cmocka_unit_test(router_losses), cmocka_unit_test(reward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
