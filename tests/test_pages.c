/* Weights that are not in memory come there before they are needed, as the system itself tells
 * (mincore), and nothing about them changes. */
#define _DEFAULT_SOURCE   /* mincore, usleep */
#include "tests/models.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>

#include "weights/pages.h"

enum { MEGABYTE = 1 << 20, MATRICES = 7, WO = 3, W1 = 4 };

/* Matrices of 256 KiB to 2 MiB in each of three layers, and the output head of 1 MiB. */
static const mr_config config = {.dim = 512, .n_layers = 3, .head_dim = 64, .hidden_dim = 1024,
                                 .n_heads = 8, .n_kv_heads = 2, .vocab_size = 512,
                                 .norm_eps = 1e-5, .rope_theta = 1e4, .bos_id = 1, .eos_id = 2};

static int drop_all(void **state) {
    drop(scratch("model"));
    return scratch_clean(state);
}

/* Pages of the matrix that are not in memory. */
static idx absent(const mr_matrix *m) {
    static unsigned char seen[2 * MEGABYTE / 4096];
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)m->data / page * page;
    const idx bytes = m->rows * m->cols * mr_dtype_size(m->dtype), pages = bytes / (idx)page;
    idx count = 0;
    assert_int_equal(mincore((void *)at, (size_t)bytes, seen), 0);
    for (idx i = 0; i < pages; i++) count += (seen[i] & 1) == 0;
    return count;
}

/* Those of the layer, 0 to MATRICES - 1. */
static const mr_matrix *matrix(const mr_checkpoint *c, idx layer, int i) {
    const mr_layer *w = &c->model.layers[layer];
    const mr_matrix *const all[MATRICES] = {&w->wq, &w->wk, &w->wv, &w->wo,
                                            &w->ffn[0].w1, &w->ffn[0].w3, &w->ffn[0].w2};
    return all[i];
}

/* MADV_RANDOM: nothing but what is asked for comes. MADV_DONTNEED: its pages are mapped no more,
 * and stay in memory until somebody throws them away. */
static void advise(const mr_matrix *m, int advice) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)m->data / page * page;
    const size_t bytes = (size_t)(m->rows * m->cols * mr_dtype_size(m->dtype));
    assert_int_equal(madvise((void *)at, bytes, advice), 0);
}

/* Throws away what no process has mapped of the model's file. */
static void forget_unmapped(void) {
    const int fd = open(scratch("model/consolidated.safetensors"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

/* Writes the model and opens it with nothing of it in memory; false where the file system keeps
 * its files there. */
static bool open_cold(const mr_checkpoint *made, mr_checkpoint *cold) {
    mr_err err = {0};
    must(mr_checkpoint_save(&made->model, scratch("model"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    forget_unmapped();
    must(mr_checkpoint_open(scratch("model"), cold, &err), &err);
    for (idx l = 0; l < config.n_layers; l++)
        for (int i = 0; i < MATRICES; i++) advise(matrix(cold, l, i), MADV_RANDOM);
    advise(&cold->model.output, MADV_RANDOM);
    return absent(&cold->model.layers[1].ffn[0].w1) > 0;
}

static void comes(const mr_matrix *m) {
    for (int turn = 0; absent(m) > 0 && turn < 1000; turn++) usleep(10000);
    assert_int_equal(absent(m), 0);
}

static void leave(mr_checkpoint *made, mr_checkpoint *cold) {
    mr_checkpoint_close(cold);
    mr_checkpoint_close(made);
    skip();
}

static void test_a_layer_and_the_next_come_into_memory(void **state) {
    mr_checkpoint made, cold;
    mr_err err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    if (!open_cold(&made, &cold)) leave(&made, &cold);
    mr_pages_coming(&cold.model, 0);
    for (idx l = 0; l < 2; l++)
        for (int i = 0; i < MATRICES; i++) comes(matrix(&cold, l, i));
    assert_true(absent(&cold.model.output) > 0);
    mr_pages_coming(&cold.model, config.n_layers - 1);
    comes(&cold.model.output);
    mr_pages_coming(&cold.model, 1);
    check_same(&made.model, &cold.model);
    mr_checkpoint_close(&cold);
    mr_checkpoint_close(&made);
}

/* As after an earlier run whose pages had to go in part. */
static void test_a_layer_of_which_only_the_beginnings_are_there(void **state) {
    mr_checkpoint made, cold;
    mr_err err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    if (!open_cold(&made, &cold)) leave(&made, &cold);
    for (int i = 0; i < MATRICES; i++) assert_true(isfinite(mr_matrix_get(matrix(&cold, 0, i), 0, 0)));
    assert_true(absent(matrix(&cold, 0, W1)) > 0);
    mr_pages_coming(&cold.model, 0);
    for (int i = 0; i < MATRICES; i++) comes(matrix(&cold, 0, i));
    mr_checkpoint_close(&cold);
    mr_checkpoint_close(&made);
}

/* Layer 0 in memory: there is room. Its attention gone: what lies behind goes as well. */
static void test_layers_behind_go_once_memory_is_short(void **state) {
    mr_checkpoint made, cold;
    mr_err err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    if (!open_cold(&made, &cold)) leave(&made, &cold);
    mr_pages_coming(&cold.model, 0);
    for (idx l = 0; l < 2; l++)
        for (int i = 0; i < MATRICES; i++) comes(matrix(&cold, l, i));
    mr_pages_coming(&cold.model, 2);
    for (int i = 0; i < MATRICES; i++) assert_int_equal(absent(matrix(&cold, 1, i)), 0);
    comes(&cold.model.output);

    advise(matrix(&cold, 0, WO), MADV_DONTNEED);
    advise(&cold.model.output, MADV_DONTNEED);
    forget_unmapped();
    assert_true(absent(matrix(&cold, 0, WO)) > 0 && absent(&cold.model.output) > 0);
    mr_pages_coming(&cold.model, 2);
    for (int i = 0; i < MATRICES; i++) assert_true(absent(matrix(&cold, 1, i)) > 0);
    assert_int_equal(absent(matrix(&cold, 0, W1)), 0);
    check_same(&made.model, &cold.model);
    mr_checkpoint_close(&cold);
    mr_checkpoint_close(&made);
}

/* Advice that throws pages away would empty a model that no file backs. */
static void test_a_model_without_a_file_keeps_its_weights(void **state) {
    mr_checkpoint made, same;
    mr_err err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    must(mr_checkpoint_formula(&config, &same, &err), &err);
    for (idx l = 0; l < config.n_layers; l++) mr_pages_coming(&made.model, l);
    check_same(&made.model, &same.model);
    mr_checkpoint_close(&same);
    mr_checkpoint_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_layer_and_the_next_come_into_memory, drop_all),
        cmocka_unit_test_teardown(test_a_layer_of_which_only_the_beginnings_are_there, drop_all),
        cmocka_unit_test_teardown(test_layers_behind_go_once_memory_is_short, drop_all),
        cmocka_unit_test_teardown(test_a_model_without_a_file_keeps_its_weights, drop_all),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
