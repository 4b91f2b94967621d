/* Golden cases through the replay: all of them agree, and a model with one planted fault does
 * not. */
#include "tests/scratch.h"

#include "golden/replay.h"
#include "golden/trace.h"
#include "ref/half.h"

#define CASES "golden/cases/"

static void check_case(const char *path, mr_engine engine) {
    mr_err err = {0};
    mr_replay r;
    if (!mr_engine_built(engine)) skip();
    if (mr_replay_trace(path, engine, NULL, NULL, &r, &err)) fail_msg("%s", err.text);
    assert_true(r.tensors > 30);
    assert_int_equal(r.agree, r.tensors);
}

/* Every .npz below golden/cases, in both engines. */
static void check_folder(mr_engine engine) {
    int cases = 0;
    DIR *all = opendir(CASES);
    assert_non_null(all);
    for (struct dirent *model; (model = readdir(all)) != NULL; ) {
        char folder[512], path[1024];
        if (model->d_name[0] == '.') continue;
        snprintf(folder, sizeof folder, CASES "%.200s", model->d_name);
        DIR *one = opendir(folder);
        assert_non_null(one);
        for (struct dirent *e; (e = readdir(one)) != NULL; ) {
            if (strstr(e->d_name, ".npz") == NULL) continue;
            snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
            check_case(path, engine);
            cases++;
        }
        closedir(one);
    }
    closedir(all);
    assert_true(cases >= 60);
}

static void test_all_plain(void **state) {
    (void)state;
    check_folder(MR_PLAIN_ENGINE);
}

static void test_all_blas(void **state) {
    (void)state;
    check_folder(MR_BLAS_ENGINE);
}

static void copy(const char *from, const char *to) {
    size_t bytes;
    unsigned char *data = scratch_read(from, &bytes);
    scratch_write(to, data, bytes);
    free(data);
}

/* Copies model and trace, replaces `old` by `new` in config.json, and expects the first difference
 * at `tensor`. */
static void check_fault(const char *trace, const char *old, const char *new, const char *tensor) {
    char path[512];
    size_t bytes;
    mr_err err = {0};
    mr_replay r;
    scratch_clean(NULL);
    snprintf(path, sizeof path, CASES "mixtral_e7k2_w5/%s", trace);
    copy(path, "t.npz");
    copy(CASES "mixtral_e7k2_w5/model.safetensors", "model.safetensors");
    unsigned char *config = scratch_read(CASES "mixtral_e7k2_w5/config.json", &bytes);
    config[bytes] = '\0';
    char *at = strstr((char *)config, old);
    assert_non_null(at);
    assert_int_equal(strlen(old), strlen(new));
    memcpy(at, new, strlen(new));
    scratch_write("config.json", config, bytes);
    free(config);
    check_refused(mr_replay_trace(scratch("t.npz"), MR_PLAIN_ENGINE, NULL, NULL, &r, &err),
                  MR_DISAGREE, &err, "disagree");
    assert_string_equal(r.failed, tensor);
}

static void test_planted_faults(void **state) {
    (void)state;
    check_fault("t13.f64.npz", "\"sliding_window\": 5", "\"sliding_window\": 4", "mask");
    check_fault("t13.f64.npz", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e-06",
                "layers.0.attention_norm");
    check_fault("t13.f64.npz", "\"rope_theta\": 10000.0", "\"rope_theta\": 10001.0",
                "layers.0.q_rope");
    check_fault("t13.f32.npz", "\"rope_theta\": 10000.0", "\"rope_theta\": 10010.0",
                "layers.0.q_rope");
    check_fault("t13.bf16.npz", "\"rope_theta\": 10000.0", "\"rope_theta\": 12000.0",
                "layers.0.q_rope");
    check_fault("t13.f64.npz", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 3",
                "layers.0.router_experts");
}

/* A 16-bit trace with one element of the embeddings, which are copies, some units away: one unit is
 * a rounding, two are a difference. Every tensor is reported. */
static void see(void *user, const char *name, const mr_measure *m, bool good) {
    int *seen = user;
    seen[good]++;
    assert_true(good == (m->max_ulp <= 1));
    if (!good) assert_string_equal(name, "tok_embeddings");
}

static void check_units(int units, mr_status want) {
    mr_err err = {0};
    mr_trace *trace;
    mr_trace_writer *w;
    mr_replay r;
    double x[4096];
    union { uint16_t half[4096]; int32_t whole[4096]; uint8_t byte[4096]; } room;
    int seen[2] = {0};
    scratch_clean(NULL);
    copy(CASES "dense_gqa_w5/config.json", "config.json");
    copy(CASES "dense_gqa_w5/model.safetensors", "model.safetensors");
    if (mr_trace_open(CASES "dense_gqa_w5/t4.bf16.npz", &trace, &err) ||
        mr_trace_create(scratch("t.npz"), 1, &w, &err)) fail_msg("%s", err.text);
    for (idx i = 0; i < mr_trace_count(trace); i++) {
        mr_tensor t = *mr_trace_tensor(trace, i);
        const idx n = mr_count(t.rank, t.dim);
        assert_true(n <= 4096 && (t.dtype == MR_BF16 || t.dtype == MR_I32 || t.dtype == MR_U8));
        if (mr_trace_read(trace, i, x, &err)) fail_msg("%s", err.text);
        for (idx k = 0; k < n; k++)
            if (t.dtype == MR_BF16) room.half[k] = mr_double_to_bf16(x[k]);
            else if (t.dtype == MR_I32) room.whole[k] = (int32_t)x[k];
            else room.byte[k] = (uint8_t)x[k];
        if (strcmp(t.name, "tok_embeddings") == 0) room.half[7] = (uint16_t)(room.half[7] + units);
        t.data = &room;
        if (mr_trace_add(w, &t, &err)) fail_msg("%s", err.text);
    }
    if (mr_trace_finish(w, mr_trace_meta(trace), &err)) fail_msg("%s", err.text);
    mr_trace_close(trace);
    const mr_status status = mr_replay_trace(scratch("t.npz"), MR_PLAIN_ENGINE, see, seen, &r,
                                             &err);
    if (status != want) fail_msg("%d units: status %d: %s", units, (int)status, err.text);
    assert_int_equal(seen[1], r.agree);
    assert_int_equal(seen[0] + seen[1], r.tensors);
    assert_int_equal(seen[0], want == MR_DISAGREE);
}

static void test_one_unit(void **state) {
    (void)state;
    check_units(0, MR_OK);
    check_units(1, MR_OK);
    check_units(2, MR_DISAGREE);
}

/* A trace without its meta, with a foreign tensor, or from another model. */
static void test_bad_traces(void **state) {
    (void)state;
    mr_err err = {0};
    mr_replay r;
    check_refused(mr_replay_trace(CASES "none.npz", MR_PLAIN_ENGINE, NULL, NULL, &r, &err), MR_BAD,
                  &err, "none.npz");
    scratch_clean(NULL);
    copy(CASES "dense_mha/t12.f64.npz", "t.npz");
    copy(CASES "dense_gqa/config.json", "config.json");
    copy(CASES "dense_gqa/model.safetensors", "model.safetensors");
    err = (mr_err){0};
    check_refused(mr_replay_trace(scratch("t.npz"), MR_PLAIN_ENGINE, NULL, NULL, &r, &err),
                  MR_DISAGREE, &err, "tok_embeddings");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_plain),
        cmocka_unit_test(test_all_blas),
        cmocka_unit_test(test_planted_faults),
        cmocka_unit_test(test_one_unit),
        cmocka_unit_test(test_bad_traces),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
