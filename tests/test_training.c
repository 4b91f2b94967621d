/* The state of a training run on disk: what was saved is what is loaded, and nothing else is. */
#include "tests/models.h"

#include "weights/training.h"

#define ROWS 3
#define COLUMNS 2

/* Three models of one shape with other numbers, and memory to load into. */
typedef struct {
    mr_checkpoint part[6];
    double        log[ROWS * COLUMNS];
    mr_training   state;
} fixture;

static void open_fixture(fixture *f) {
    const mr_config config = small(true);
    mr_err err = {0};
    memset(f, 0, sizeof *f);
    for (int n = 0; n < 6; n++)
        must(mr_checkpoint_init(&config, (uint64_t)n, MR_F32, &f->part[n], &err), &err);
    for (int i = 0; i < ROWS * COLUMNS; i++) f->log[i] = 1.0 / (i + 3);
    f->state = (mr_training){.part = {&f->part[0].model, &f->part[1].model, &f->part[2].model},
                             .counter = {ROWS, 5, 11, 1 << 20, 1}, .best = 0.1, .log = f->log,
                             .rows = ROWS, .columns = COLUMNS,
                             .settings = json_pack("{s:f,s:s}", "lr", 0.1, "task", "sft")};
}

static void close_fixture(fixture *f) {
    json_decref(f->state.settings);
    for (int n = 0; n < 6; n++) mr_checkpoint_close(&f->part[n]);
}

/* Into the other three models. */
static mr_training empty(fixture *f) {
    return (mr_training){.part = {&f->part[3].model, &f->part[4].model, &f->part[5].model},
                         .columns = COLUMNS, .settings = f->state.settings};
}

static void test_round_trip(void **state) {
    fixture f;
    mr_err err = {0};
    (void)state;
    open_fixture(&f);
    mr_training back = empty(&f);
    must(mr_training_save(scratch("state"), &f.state, &err), &err);
    must(mr_training_load(scratch("state"), &back, &err), &err);
    for (int n = 0; n < 3; n++) check_same(&f.part[n].model, &f.part[n + 3].model);
    assert_memory_equal(back.counter, f.state.counter, sizeof back.counter);
    assert_int_equal(back.rows, ROWS);
    assert_memory_equal(back.log, f.log, sizeof f.log);
    check_bits("best", &f.state.best, &back.best, 1, sizeof back.best);
    mr_free(back.log);
    close_fixture(&f);
}

/* One thing wrong at a time. */
static void test_refused(void **state) {
    fixture f;
    mr_checkpoint wide;   /* the same shapes in bf16 */
    mr_err init = {0};
    (void)state;
    open_fixture(&f);
    must(mr_checkpoint_init(&f.part[0].model.config, 0, MR_BF16, &wide, &init), &init);
    for (int n = 0; n < 5; n++) {
        mr_training wrong = f.state, back = empty(&f);
        mr_err err = {0};
        json_t *other = json_pack("{s:f,s:s}", "lr", 0.2, "task", "sft");
        if (n == 0) wrong.counter[2] = -1;
        if (n == 1) wrong.counter[0] = ROWS + 1;
        if (n == 2) wrong.columns = 1;
        if (n == 3) wrong.settings = other;
        if (n == 4) wrong.part[0] = &wide.model;
        must(mr_training_save(scratch("state"), &wrong, &err), &err);
        const mr_status status = mr_training_load(scratch("state"), &back, &err);
        static const char *const why[] = {"counter 2 is -1", "tensor 'log'", "tensor 'log'",
                                          "this run has lr 0.1", "of another shape or type"};
        check_refused(status, n == 3 ? MR_USAGE : MR_BAD, &err, why[n]);
        assert_null(back.log);
        json_decref(other);
    }
    mr_checkpoint_close(&wide);
    close_fixture(&f);
}

/* Every cut of the file, and a file that is something else. */
static void test_cut(void **state) {
    fixture f;
    mr_err err = {0};
    size_t bytes;
    (void)state;
    open_fixture(&f);
    must(mr_training_save(scratch("state"), &f.state, &err), &err);
    unsigned char *whole = scratch_read(scratch("state"), &bytes);
    for (size_t cut = 0; cut < bytes; cut += bytes / 50 + 1) {
        mr_training back = empty(&f);
        mr_err why = {0};
        scratch_write("cut", whole, cut);
        assert_int_equal(mr_training_load(scratch("cut"), &back, &why), MR_BAD);
        assert_null(back.log);
    }
    free(whole);
    mr_training back = empty(&f);
    must(mr_checkpoint_save(&f.part[0].model, scratch("model"), MR_LAYOUT_HF, true, MR_F32, &err),
         &err);
    char path[1200];
    snprintf(path, sizeof path, "%s/model.safetensors", scratch("model"));
    check_refused(mr_training_load(path, &back, &err), MR_BAD, &err, "is this a training state?");
    drop(scratch("model"));
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
