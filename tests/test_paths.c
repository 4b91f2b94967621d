/* Paths of a port, and what can be said without weights: on Hugging Face's own runs, which share
 * prefixes of their tokens, and on copies changed here. */
#include "tests/copies.h"

#include "golden/paths.h"
#include "golden/paths_model.h"

/* ---- paths ----------------------------------------------------------------------------------- */

static void test_paths(void **state) {
    (void)state;
    copy_trace(MODEL "/t13.f32.npz", "same.npz", "", nothing, NULL);
    copy_trace(MODEL "/t13.f32.npz", "part.npz", "layers.1.attention", row7, NULL);
    const expectation list[] = {
        {"compare --paths " MODEL "/t13.f32.npz @/same.npz", 0, "together", ""},
        {"compare --paths " MODEL "/t13.f32.npz @/same.npz --json", 0,
         "{\"tensor\":\"layers.0.q\",\"rows\":13,\"equal\":13,\"beyond\":0,\"relative\":0.0,"
         "\"ratio\":0.0,\"row\":-1,\"sequence\":-1,\"position\":-1}", ""},
        {"compare --paths " MODEL "/t13.f32.npz " MODEL "/t5.f32.npz " MODEL "/t1.f32.npz --model "
         MODEL, 0, "together", ""},
        {"compare --paths " SPARSE "/t13.f32.npz " SPARSE "/t6.f32.npz --model " SPARSE, 0,
         "together", ""},
        {"compare --paths " MODEL "/t13.bf16.npz " MODEL "/t6.bf16.npz --model " MODEL, 0,
         "together", ""},
        {"compare --paths " MODEL "/t13.f32.npz @/part.npz --model " MODEL, 1,
         "PART", ""},
        {"compare --paths @/part.npz " MODEL "/t13.f32.npz --model " MODEL " --json", 1,
         "\"parted\":\"layers.1.attention\"", ""},
        {"compare --paths @/part.npz " MODEL "/t13.f32.npz --model " MODEL " --json", 1,
         "\"rows\":13,\"equal\":12,\"beyond\":1", ""},
        {"compare --paths @/part.npz " MODEL "/t13.f32.npz --model " MODEL " --json", 1,
         "\"row\":7,\"sequence\":0,\"position\":7", ""},
        {"compare --paths " MODEL "/t13.f32.npz @/part.npz", 1, "PART", ""},
        {"compare --paths " MODEL "/t13.f32.npz " MODEL "/t5.f32.npz", 5, "", "give --model"},
        {"compare --paths " MODEL "/t13.f32.npz " MODEL "/p4095_t7.f32.npz --model " MODEL, 4, "",
         "no tokens at the same positions in common"},
        {"compare " MODEL "/t13.f32.npz @/part.npz @/same.npz", 2, "", "--paths compares more"},
        {"compare --paths " MODEL "/t13.f32.npz @/same.npz --only h", 2, "", "--only does not go"},
        {"compare --paths " MODEL "/t13.f32.npz @/same.npz --map hf", 2, "", "--map does not go"},
        {"compare --paths " MODEL "/t13.f32.npz @/same.npz --dtype fp8", 0, "together", ""},
        {"compare --paths " MODEL "/t13.f32.npz", 2, "", "usage"},
    };
    CHECK_ALL(list);
}

static void expect_in(const char *name, const char *words) {
    slurp(name, out, sizeof out);
    if (strstr(out, words) == NULL) fail_msg("%s lacks %s:\n%s", name, words, out);
}

static void test_reports(void **state) {
    (void)state;
    copy_trace(MODEL "/t13.f32.npz", "part.npz", "layers.1.attention", row7, NULL);
    assert_int_equal(run("compare --paths " MODEL "/t13.f32.npz @/part.npz --model " MODEL
                         " --junit @/paths.xml --html @/paths.html"), 1);
    expect_in("paths.xml", "failures=\"2\" errors=\"0\" skipped=\"0\"");
    expect_in("paths.xml", "name=\"layers.1.attention\" time=\"0\">\n      <failure");
    expect_in("paths.xml", "name=\"alone\" time=\"0\">\n      <failure");
    expect_in("paths.html", "&#10005; Disagrees</p><h1>" MODEL "/t13.f32.npz and ");
    expect_in("paths.html", "part at layers.1.attention, token 7");
    assert_int_equal(run("compare --paths " MODEL "/t13.f32.npz " MODEL "/t5.f32.npz --junit "
                         "@/paths.xml --html @/paths.html"), 5);
    expect_in("paths.xml", "failures=\"0\"");
    expect_in("paths.xml", "<skipped message=\"no bound without weights\"/>");
    expect_in("paths.html", "? Proves nothing");
    assert_int_equal(run("compare --paths " MODEL "/t13.f32.npz " MODEL "/t5.f32.npz --html "
                         "@/none/paths.html"), 3);
}

/* Rows of a batch find the sequence with the same beginning; what comes after is not compared. */
static void test_rows(void **state) {
    (void)state;
    idx one[] = {4}, two[] = {2, 3}, rows[5];
    int64_t zero[] = {0, 0};
    int32_t a[] = {5, 6, 7, 8}, b[] = {9, 9, 5, 6, 1};
    const mr_meta x = {.n_seqs = 1, .count = 4, .length = one, .first = zero, .tokens = a},
                  y = {.n_seqs = 2, .count = 5, .length = two, .first = zero, .tokens = b};
    const idx want[] = {-1, -1, 0, 1, -1}, back[] = {2, 3, -1, -1};
    mr_path_rows(&x, &y, rows);
    assert_memory_equal(rows, want, sizeof want);
    mr_path_rows(&y, &x, rows);
    assert_memory_equal(rows, back, sizeof back);
}

/* A trace that says nothing of its model leaves one that can be closed. */
static void test_no_model(void **state) {
    mr_model model;
    mr_err e = {0};
    (void)state;
    memset(&model, 0xff, sizeof model);
    check_refused(mr_bare_model_open("t.npz", "{}", &model, &e), MR_MISSING, &e,
                  "t.npz: meta: config is absent");
    mr_bare_model_close(&model);
    assert_null(model.layers);
}

/* ---- without weights ------------------------------------------------------------------------- */

static void test_without_weights(void **state) {
    (void)state;
    copy_trace(MODEL "/t13.f32.npz", "v.npz", "layers.0.attention", row7, "scores");
    copy_trace(MODEL "/t13.f64.npz", "rounded.npz", "", nothing, NULL);
    copy_trace(MODEL "/t13.f32.npz", "linear.npz", "layers.0.w1", row7, "act");
    copy_trace(MODEL "/t13.f32.npz", "residual.npz", "layers.1.h", row7, NULL);
    const expectation list[] = {
        {"compare " MODEL "/t13.f64.npz " MODEL "/t13.f32.npz", 5,
         "tensors whose operation needs no weights are right", "give --model"},
        {"compare " MODEL "/t13.f64.npz " MODEL "/t13.bf16.npz", 5, "", "give --model"},
        {"compare " SPARSE "/t13.f64.npz " SPARSE "/packed_1_4_9.f32.npz", 5, "", ""},
        {"compare " MODEL "/t13.f64.npz @/rounded.npz", 0, "but for the rounding of its storage",
         ""},
        {"compare " MODEL "/t13.f64.npz @/residual.npz", 1, "layers.1.h", ""},
        {"compare " MODEL "/t13.f64.npz @/linear.npz", 5, "grows most", "give --model"},
        {"compare " MODEL "/t13.f64.npz @/linear.npz --model " MODEL, 1, "layers.0.w1", ""},
        {"compare " MODEL "/t13.f64.npz @/v.npz", 1, "layers.0.attention", ""},
        {"trace " MODEL " --tokens 1,5,3,2,6,4,7 --window-rule swa-inclusive -o @/a.npz", 0, "",
         ""},
        {"trace " MODEL " --tokens 1,5,3,2,6,4,7 --window-rule swa-inclusive -o @/b.npz "
         "--precision f64", 0, "", ""},
        {"compare @/b.npz @/a.npz", 5, "need weights (--model MODEL)", "give --model"},
        {"compare @/b.npz @/a.npz --model " MODEL, 1, "a sliding window of 6 keys",
         "another --window or --window-rule"},
        {"compare @/b.npz @/a.npz --model " MODEL " --window-rule swa-inclusive", 0, "AGREES", ""},
    };
    CHECK_ALL(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_model),
        cmocka_unit_test(test_without_weights),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
