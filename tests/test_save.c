/* Saving: what is written reads back bit for bit, in both layouts and every type, and never over
 * another checkpoint. */
#include "tests/models.h"

/* After every test. */
static int drop_all(void **state) {
    static const char *const folders[] = {"native", "hf", "back"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) drop(scratch(folders[i]));
    return scratch_clean(state);
}

/* native -> hf -> native gives the same bytes; hf has its rows where the converter's formula puts
 * them. */
static void round_trip(bool sparse) {
    const mr_config config = small(sparse);
    mr_checkpoint made, native, hf, back;
    mr_err err = {0};
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    must(mr_checkpoint_save(&made.model, scratch("native"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    must(mr_checkpoint_open(scratch("native"), &native, &err), &err);
    check_same(&made.model, &native.model);
    must(mr_checkpoint_save(&native.model, scratch("hf"), MR_LAYOUT_HF, true, MR_F32, &err), &err);
    must(mr_checkpoint_open(scratch("hf"), &hf, &err), &err);
    assert_true(hf.model.qk_rows == MR_HALF_SPLIT && native.model.qk_rows == MR_INTERLEAVED);
    check_same(&made.model, &hf.model);
    must(mr_checkpoint_save(&hf.model, scratch("back"), MR_LAYOUT_NATIVE, true, MR_F32, &err),
         &err);
    must(mr_checkpoint_open(scratch("back"), &back, &err), &err);
    check_equal_files("native/consolidated.safetensors", "back/consolidated.safetensors");
    assert_string_equal(hf.warning, "");
    assert_string_equal(native.warning, "");

    /* wk has G = 2 heads of D = 4: half-split rows 0 1 2 3 of a head are native rows 0 2 1 3. */
    static const idx from[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    const mr_matrix *x = &native.model.layers[1].wk, *y = &hf.model.layers[1].wk;
    for (idx r = 0; r < 8; r++)
        for (idx c = 0; c < 10; c++)
            assert_true(!(mr_matrix_get(y, r, c) < mr_matrix_get(x, from[r], c)) &&
                        !(mr_matrix_get(y, r, c) > mr_matrix_get(x, from[r], c)));
    mr_checkpoint_close(&made);
    mr_checkpoint_close(&native);
    mr_checkpoint_close(&hf);
    mr_checkpoint_close(&back);
    drop_all(NULL);
}

static void test_round_trip(void **state) {
    (void)state;
    round_trip(false);
    round_trip(true);
}


/* The numbers of a save in a 16-bit type are the nearest: checked against the two neighbours. */
static void check_rounded(double exact, double got, double spacing) {
    assert_true(got - exact <= spacing / 2 && exact - got <= spacing / 2);
}

static void test_types(void **state) {
    static const struct { mr_dtype dtype; const char *word; double spacing; } types[] = {
        {MR_F64, "float64", 0}, {MR_F32, "float32", 1.0 / (1 << 24)},
        {MR_F16, "float16", 1.0 / (1 << 11)},
        {MR_BF16, "bfloat16", 1.0 / (1 << 8)}};      /* of numbers in [0.5,1) */
    const mr_config config = small(true);
    mr_checkpoint made, read;
    mr_err        err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        must(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_HF, false, types[i].dtype,
                                &err), &err);
        must(mr_checkpoint_open(scratch("hf"), &read, &err), &err);
        assert_int_equal(read.model.layers[1].ffn[2].w2.dtype, types[i].dtype);
        for (idx c = 0; c < 10; c++) {
            const double x = mr_matrix_get(&made.model.norm, 0, c),
                y = mr_matrix_get(&read.model.norm, 0, c);
            check_rounded(x, y, x < 1 ? types[i].spacing : 2 * types[i].spacing);
        }
        size_t bytes;
        char  *json = (char *)scratch_read(scratch("hf/config.json"), &bytes);
        json[bytes] = '\0';
        char want[64];
        snprintf(want, sizeof want, "\"torch_dtype\": \"%s\"", types[i].word);
        assert_non_null(strstr(json, want));
        free(json);
        mr_checkpoint_close(&read);
    }
    check_refused(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_HF, false, MR_I64,
                                     &err), MR_USAGE, &err,
                  "cannot be saved as I64");
    mr_checkpoint_close(&made);
}

/* NaN payloads, infinities, -0 and subnormals of a kept type are bytes, in wq rows that move as
 * well. */
static void test_kept_bits(void **state) {
    static const uint32_t bits[4] = {0x7fa12345, 0xff800000, 0x80000000, 0x00000001};
    const mr_config config = small(false);
    mr_checkpoint made, read;
    mr_err        err = {0};
    (void)state;
    must(mr_checkpoint_init(&config, 7, MR_F32, &made, &err), &err);
    char *wq = (char *)made.model.layers[0].wq.data;        /* heap of the checkpoint: writable */
    for (int i = 0; i < 24; i++) memcpy(wq + 40 * i, &bits[i % 4], 4);
    must(mr_checkpoint_save(&made.model, scratch("native"), MR_LAYOUT_NATIVE, true, MR_F64, &err),
         &err);
    must(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_HF, true, MR_F64, &err), &err);
    must(mr_checkpoint_open(scratch("hf"), &read, &err), &err);
    must(mr_checkpoint_save(&read.model, scratch("back"), MR_LAYOUT_NATIVE, true, MR_F64, &err),
         &err);
    check_equal_files("native/consolidated.safetensors", "back/consolidated.safetensors");
    mr_checkpoint_close(&read);
    mr_checkpoint_close(&made);
}

/* What a configuration means survives both files. */
static void test_configurations(void **state) {
    static const struct { idx n, windows[2]; double theta, eps; bool hf; } cases[] = {
        {0, {0}, 1e6, 1e-5, true}, {1, {7}, 12345.678, 1e-6, true}, {2, {7, 7}, 1e4, 0.1, true},
        {1, {0}, 1e-3, 1.0 / 3, true}, {2, {7, 0}, 1e4, 1e-5, false}, {2, {7, 9}, 1e300, 0, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mr_config config = small(i % 2 == 1);
        mr_checkpoint made, read;
        mr_err err = {0};
        config.n_windows = cases[i].n;
        memcpy(config.windows, cases[i].windows, sizeof cases[i].windows);
        config.rope_theta = cases[i].theta;
        config.norm_eps = cases[i].eps;
        config.max_positions = i == 0 ? 0 : 99;
        config.eos_id = i == 0 ? -1 : 2;
        config.bos_id = i == 1 ? 0 : 1;
        must(mr_checkpoint_formula(&config, &made, &err), &err);
        for (int layout = 0; layout < 2; layout++) {
            const bool hf = layout == 1;
            const char *folder = scratch(hf ? "hf" : "native");
            const mr_status status =
                mr_checkpoint_save(&made.model, folder, hf ? MR_LAYOUT_HF : MR_LAYOUT_NATIVE, true,
                                   MR_F32, &err);
            if (hf && !cases[i].hf) {
                check_refused(status, MR_BAD, &err, "one for all; keep the native layout");
                continue;
            }
            must(status, &err);
            must(mr_checkpoint_open(scratch(hf ? "hf" : "native"), &read, &err), &err);
            const mr_config *c = &read.model.config;
            for (idx l = 0; l < 2; l++)
                assert_int_equal(mr_config_window(c, l), mr_config_window(&config, l));
            assert_memory_equal(&c->rope_theta, &config.rope_theta, sizeof c->rope_theta);
            assert_memory_equal(&c->norm_eps, &config.norm_eps, sizeof c->norm_eps);
            assert_int_equal(c->max_positions, i > 0 ? 99 : hf ? 32768 : 0);
            assert_int_equal(c->eos_id, i == 0 && hf ? -1 : 2);
            assert_int_equal(c->bos_id, hf && i == 1 ? 0 : 1);
            assert_string_equal(read.warning, "");
            mr_checkpoint_close(&read);
        }
        mr_checkpoint_close(&made);
        drop_all(NULL);
    }
}

static void test_refusals(void **state) {
    const mr_config config = small(false);
    mr_checkpoint made;
    mr_err        err = {0};
    (void)state;
    must(mr_checkpoint_formula(&config, &made, &err), &err);
    must(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_HF, true, MR_F32, &err), &err);
    check_refused(mr_checkpoint_save(&made.model, scratch("hf"), MR_LAYOUT_NATIVE, true, MR_F32,
                                     &err), MR_BAD, &err,
                  "holds a checkpoint of the other layout (config.json)");
    err = (mr_err){0};
    check_refused(mr_checkpoint_save(&made.model, scratch("a/b"), MR_LAYOUT_HF, true, MR_F32,
                                     &err), MR_BAD, &err,
                  "cannot create the folder");
    err = (mr_err){0};
    made.model.layers[1].wv.cols = 9;
    check_refused(mr_checkpoint_save(&made.model, scratch("back"), MR_LAYOUT_HF, true, MR_F32,
                                     &err), MR_BAD, &err,
                  "'model.layers.1.self_attn.v_proj.weight': expected [8, 10]");
    assert_int_not_equal(access(scratch("back"), F_OK), 0);
    mr_checkpoint_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test_teardown(test_types, drop_all),
        cmocka_unit_test_teardown(test_kept_bits, drop_all), cmocka_unit_test(test_configurations),
        cmocka_unit_test_teardown(test_refusals, drop_all)};
    return cmocka_run_group_tests_name("save", tests, scratch_open, scratch_close);
}
