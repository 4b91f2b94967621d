/* Weights that are not in memory come there before they are needed, as the system itself tells
 * (mincore), and nothing about them changes. */
#define _DEFAULT_SOURCE   /* mincore, usleep */
#include "tests/models.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>

#include "weights/pages.h"

enum { MEGABYTE = 1 << 20 };

/* Matrices of 256 KiB to 2 MiB in each of three layers, and the output head of 2 MiB. */
static const mr_config dense = {.dim = 512, .n_layers = 3, .head_dim = 64, .hidden_dim = 512,
                                .n_heads = 8, .n_kv_heads = 1, .vocab_size = 512,
                                .norm_eps = 1e-5, .rope_theta = 1e4, .bos_id = 1, .eos_id = 2};

static mr_checkpoint made, cold;   /* in memory of our own; the same from a file */

static int close_both(void **state) {
    mr_checkpoint_close(&cold);
    mr_checkpoint_close(&made);
    drop(scratch("model"));
    return scratch_clean(state);
}

static size_t bytes_of(const mr_matrix *m) {
    return (size_t)(m->rows * m->cols * mr_dtype_size(m->dtype));
}

/* The beginning of its first page. */
static uintptr_t begin_of(const mr_matrix *m) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    return (uintptr_t)m->data / page * page;
}

/* Pages of the matrix that are not in memory. */
static idx absent(const mr_matrix *m) {
    static unsigned char seen[2 * MEGABYTE / 4096];
    const idx pages = (idx)bytes_of(m) / sysconf(_SC_PAGESIZE);
    idx count = 0;
    assert_int_equal(mincore((void *)begin_of(m), bytes_of(m), seen), 0);
    for (idx i = 0; i < pages; i++) count += (seen[i] & 1) == 0;
    return count;
}

/* Matrix i of the layer: four of attention, three of each expert; NULL behind the last. */
static const mr_matrix *matrix(idx layer, int i) {
    const mr_layer *w = &cold.model.layers[layer];
    const mr_matrix *const attention[] = {&w->wq, &w->wk, &w->wv, &w->wo};
    const idx e = i < 4 ? 0 : (i - 4) / 3;
    if (i < 4) return attention[i];
    if (e >= (cold.model.config.n_experts > 0 ? cold.model.config.n_experts : 1)) return NULL;
    return (i - 4) % 3 == 0 ? &w->ffn[e].w1 : (i - 4) % 3 == 1 ? &w->ffn[e].w2 : &w->ffn[e].w3;
}

/* MADV_RANDOM: nothing but what is asked for comes. MADV_DONTNEED: its pages are mapped no more,
 * and stay in memory until somebody throws them away. */
static void advise(const mr_matrix *m, int advice) {
    const size_t shift = (uintptr_t)m->data - begin_of(m);
    assert_int_equal(madvise((void *)begin_of(m), shift + bytes_of(m), advice), 0);
}

/* Throws away what no process has mapped of the model's file. */
static void forget_unmapped(void) {
    const int fd = open(scratch("model/consolidated.safetensors"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

/* Most of it is out of memory; neighbours may hold a page at either end. */
static bool gone(const mr_matrix *m) {
    return absent(m) > (idx)bytes_of(m) / sysconf(_SC_PAGESIZE) / 2;
}

static bool all_gone(void) {
    bool is = gone(&cold.model.output);
    for (idx l = 0; l < dense.n_layers; l++)
        for (int i = 0; matrix(l, i) != NULL; i++) is = is && gone(matrix(l, i));
    return is;
}

/* Writes a model and opens it with nothing of it in memory. A file system that keeps its files
 * there has nothing to test. */
static void open_both(idx n_experts) {
    mr_err err = {0};
    mr_config c = dense;
    if (n_experts > 0) c.n_experts = n_experts, c.n_experts_per_tok = 1;
    must(mr_checkpoint_formula(&c, &made, &err), &err);
    must(mr_checkpoint_save(&made.model, scratch("model"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    must(mr_checkpoint_open(scratch("model"), &cold, &err), &err);
    for (idx l = 0; l < c.n_layers; l++)
        for (int i = 0; matrix(l, i) != NULL; i++) advise(matrix(l, i), MADV_RANDOM);
    advise(&cold.model.output, MADV_RANDOM);
    for (int turn = 0; !all_gone() && turn < 20; turn++) usleep(10000), forget_unmapped();
    if (!all_gone()) skip();
}

static void comes(const mr_matrix *m) {
    for (int turn = 0; absent(m) > 0 && turn < 1000; turn++) usleep(10000);
    assert_int_equal(absent(m), 0);
}

static void layer_comes(idx l) {
    for (int i = 0; matrix(l, i) != NULL; i++) comes(matrix(l, i));
}

static void test_a_layer_and_the_next_come_into_memory(void **state) {
    (void)state;
    open_both(2);
    mr_pages_coming(&cold.model, 0);
    layer_comes(0);
    layer_comes(1);
    assert_true(gone(&cold.model.output) && gone(matrix(2, 0)));
    mr_pages_coming(&cold.model, 2);
    comes(&cold.model.output);
    mr_pages_coming(&cold.model, 1);
    check_same(&made.model, &cold.model);
}

/* As after an earlier run whose pages had to go in part. */
static void test_a_layer_of_which_only_the_beginnings_are_there(void **state) {
    (void)state;
    open_both(0);
    for (int i = 0; matrix(0, i) != NULL; i++)
        assert_true(isfinite(mr_matrix_get(matrix(0, i), 0, 0)));
    assert_true(gone(matrix(0, 0)));
    mr_pages_coming(&cold.model, 0);
    layer_comes(0);
}

/* The last third of one matrix, while the next layer is there. */
static void test_a_layer_of_which_one_end_is_missing(void **state) {
    (void)state;
    open_both(0);
    mr_pages_coming(&cold.model, 0);
    layer_comes(0);
    layer_comes(1);
    const mr_matrix *m = matrix(0, 4);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), most = bytes_of(m) / page * 13 / 20 * page;
    assert_int_equal(madvise((void *)(begin_of(m) + most), bytes_of(m) - most, MADV_DONTNEED), 0);
    forget_unmapped();
    assert_true(absent(m) > 0);
    mr_pages_coming(&cold.model, 0);
    comes(m);
}

/* Layer 0 in memory: there is room. Its attention gone: what lies behind goes as well. */
static void test_layers_behind_go_once_memory_is_short(void **state) {
    (void)state;
    open_both(0);
    mr_pages_coming(&cold.model, 0);
    layer_comes(0);
    layer_comes(1);
    mr_pages_coming(&cold.model, 2);
    comes(&cold.model.output);
    layer_comes(1);

    advise(matrix(0, 0), MADV_DONTNEED);
    advise(&cold.model.output, MADV_DONTNEED);
    forget_unmapped();
    assert_true(gone(matrix(0, 0)) && gone(&cold.model.output));
    mr_pages_coming(&cold.model, 2);
    for (int i = 0; matrix(1, i) != NULL; i++) assert_true(gone(matrix(1, i)));
    for (int i = 1; matrix(0, i) != NULL; i++) assert_false(gone(matrix(0, i)));
    mr_pages_coming(&cold.model, 1);
    for (int i = 0; matrix(0, i) != NULL; i++) assert_true(gone(matrix(0, i)));
    check_same(&made.model, &cold.model);
}

/* Advice that throws pages away would empty a model that no file backs. */
static void test_a_model_without_a_file_keeps_its_weights(void **state) {
    mr_err err = {0};
    (void)state;
    must(mr_checkpoint_formula(&dense, &made, &err), &err);
    must(mr_checkpoint_formula(&dense, &cold, &err), &err);
    for (idx l = 0; l < dense.n_layers; l++) mr_pages_coming(&made.model, l);
    check_same(&made.model, &cold.model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_layer_and_the_next_come_into_memory, close_both),
        cmocka_unit_test_teardown(test_a_layer_of_which_only_the_beginnings_are_there, close_both),
        cmocka_unit_test_teardown(test_a_layer_of_which_one_end_is_missing, close_both),
        cmocka_unit_test_teardown(test_layers_behind_go_once_memory_is_short, close_both),
        cmocka_unit_test_teardown(test_a_model_without_a_file_keeps_its_weights, close_both),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
