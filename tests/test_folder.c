/* Which files of a folder are the checkpoint, and what is said when they are not there. */
#include "tests/models.h"

#include <errno.h>

/* After every test. */
static int drop_all(void **state) {
    drop(scratch("bad"));
    drop(scratch("hf"));
    return scratch_clean(state);
}

/* Which files of a folder count. Each row adds a file to those before it. */
static void test_folder(void **state) {
    static const struct { const char *file, *content, *text; } steps[] = {
        {NULL, NULL, "neither config.json nor params.json"},
        {"params.json",
         "{\"dim\":10,\"n_layers\":2,\"head_dim\":4,\"hidden_dim\":7,\"n_heads\":6,"
         "\"n_kv_heads\":2,\"vocab_size\":11,\"norm_eps\":1e-5,\"rope_theta\":1e4}",
         "no *.safetensors file is there"},
        {"consolidated.00.pth", "x",
         "consolidated.00.pth is a pickle, which is a program and is never run here; convert it"},
        {"other.safetensors", "x", "other.safetensors: 1 bytes are too few"},
        {"another.safetensors", "x", "2 *.safetensors files and no model.safetensors.index.json"},
        {"model.safetensors.index.json", "{}", "index.json: weight_map is missing"},
        {"model.safetensors", "xx", "model.safetensors: 2 bytes are too few"},
        {"consolidated.safetensors", "xxx", "consolidated.safetensors: 3 bytes are too few"},
        {"config.json", "{}", "config.json: has neither hidden_size"},
    };
    mr_checkpoint read;
    mr_err        err = {0};
    (void)state;
    check_refused(mr_checkpoint_open(scratch("bad"), &read, &err), MR_BAD, &err, "found nothing");
    assert_int_equal(mkdir(scratch("bad"), 0777), 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char file[128];
        snprintf(file, sizeof file, "bad/%s", steps[i].file);
        if (steps[i].file != NULL) write_text(file, steps[i].content);
        err = (mr_err){0};
        check_refused(mr_checkpoint_open(scratch("bad"), &read, &err), MR_BAD, &err, steps[i].text);
    }
    err = (mr_err){0};
    check_refused(mr_checkpoint_open(scratch("bad/params.json"), &read, &err), MR_BAD, &err,
                  "found a file");
    mr_checkpoint_close(&read);                 /* fine on {0} */
}

/* Both configurations and both weights: Hugging Face's pair is taken, and that is told. */
static void test_both(void **state) {
    const mr_config config = small(false);
    mr_checkpoint made, read;
    mr_err        err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    must(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_HF, true, MR_F32, &err), &err);
    write_text("hf/params.json", "{}");
    write_text("hf/consolidated.safetensors", "");
    must(mr_checkpoint_open(scratch("hf"), &read, &err), &err);
    assert_non_null(strstr(read.warning, "are both there: config.json taken"));
    check_same(&made.model, &read.model);
    mr_checkpoint_close(&read);
    mr_checkpoint_close(&made);
}

/* A name that leads to itself is there, and cannot be read. */
static void test_unreadable(void **state) {
    mr_checkpoint read;
    mr_err        err = {0};
    char          text[1200];
    (void)state;
    assert_int_equal(mkdir(scratch("bad"), 0777), 0);
    assert_int_equal(symlink("config.json", scratch("bad/config.json")), 0);
    snprintf(text, sizeof text, "%s: cannot read: %s", scratch("bad/config.json"),
             strerror(ELOOP));
    check_refused(mr_checkpoint_open(scratch("bad"), &read, &err), MR_BAD, &err, text);
}

/* A checkpoint that somebody else made, where the test data are. */
static void test_foreign(void **state) {
    mr_checkpoint read;
    mr_err        err = {0};
    char          path[2048];
    (void)state;
    if (test_data() == NULL) {
        print_message("skipped: no test data (dreams-260k); set MR_TEST_DATA\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/dreams-260k", test_data());
    must(mr_checkpoint_open(path, &read, &err), &err);
    assert_true(read.model.config.tied_embeddings && read.model.qk_rows == MR_HALF_SPLIT);
    assert_int_equal(read.model.config.n_windows, 0);
    assert_string_equal(read.warning, "");
    mr_checkpoint_close(&read);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_folder, drop_all),
                                       cmocka_unit_test_teardown(test_both, drop_all),
                                       cmocka_unit_test_teardown(test_unreadable, drop_all),
                                       cmocka_unit_test(test_foreign)};
    return cmocka_run_group_tests_name("folder", tests, scratch_open, scratch_close);
}
