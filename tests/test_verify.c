/* The verifier on real ports: Hugging Face's own runs never fail, seeded faults are found and
 * explained. */
#include "tests/models.h"

#include "golden/replay_cause.h"
#include "weights/checkpoint.h"

#define CASES "golden/cases/"
#define MODEL CASES "mixtral_e7k2_w5"

typedef struct {
    mr_checkpoint   model;
    mr_trace       *port;
    mr_meta         meta;
    mr_arithmetic   arithmetic;
    mr_verification found;
} verified;

static mr_status open_and_verify(const char *folder, const char *trace, const char *store,
                                 verified *v) {
    mr_err err = {0};
    memset(v, 0, sizeof *v);
    assert_true(mr_arithmetic_of(store, "f32", &v->arithmetic));
    if (mr_checkpoint_open(folder, &v->model, &err) || mr_trace_open(trace, &v->port, &err) ||
        mr_meta_read(trace, mr_trace_meta(v->port), &v->meta, &err)) fail_msg("%s", err.text);
    v->model.model.config.rope_layout = v->meta.rope_layout;
    const mr_status status = mr_verify(&v->model.model, &v->meta, v->port, &v->arithmetic, NULL,
                                       &v->found, &err);
    if (err.code != MR_OK) fail_msg("%s", err.text);
    return status;
}

static void close_verified(verified *v) {
    mr_verification_free(&v->found);
    mr_meta_free(&v->meta);
    mr_trace_close(v->port);
    mr_checkpoint_close(&v->model);
}

/* Every float32 and bfloat16 run of Hugging Face's classes is a correct port. */
static void test_no_false_alarm(void **state) {
    (void)state;
    int traces = 0;
    DIR *all = opendir(CASES);
    assert_non_null(all);
    for (struct dirent *model; (model = readdir(all)) != NULL; ) {
        char folder[512], path[1024];
        if (model->d_name[0] == '.') continue;
        snprintf(folder, sizeof folder, CASES "%.200s", model->d_name);
        DIR *one = opendir(folder);
        assert_non_null(one);
        for (struct dirent *e; (e = readdir(one)) != NULL; ) {
            const char *store = strstr(e->d_name, ".bf16.")  ? "bf16"
                                : strstr(e->d_name, ".f32.") ? "f32"
                                                             : NULL;
            verified v;
            if (store == NULL) continue;
            snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
            const mr_status status = open_and_verify(folder, path, store, &v);
            if (status != MR_OK && status != MR_MISSING)    /* missing: gradients alone */
                fail_msg("%s: %s", path,
                         v.found.first >= 0 ? v.found.list[v.found.first].name : "?");
            close_verified(&v);
            traces += status == MR_OK;
        }
        closedir(one);
    }
    closedir(all);
    assert_true(traces >= 50);
}

/* A port is our own run with a changed option; the verifier must name tensor and cause. */
static void check_fault(const char *options, const char *store, const char *tensor,
                        const char *cause) {
    char command[1024];
    mr_err err = {0};
    mr_causes causes;
    verified v;
    snprintf(command, sizeof command,
             "./mistral-ref trace " MODEL " --tokens 1,5,3,7,9,2,4,8,6,1,2,3,4 "
             "--precision %s %s -o %s",
             store, options, scratch("port.npz"));
    assert_int_equal(system(command), 0);
    assert_int_equal(open_and_verify(MODEL, scratch("port.npz"), store, &v), MR_DISAGREE);
    assert_string_equal(v.found.list[v.found.first].name, tensor);
    assert_int_equal(
        mr_find_causes(&v.model.model, &v.meta, v.port, &v.arithmetic, &v.found, &causes, &err),
        MR_OK);
    /* the true cause is among those proved; some cannot be told apart by one run */
    bool named = cause == NULL && causes.count == 0;
    for (idx i = 0; i < causes.count && cause != NULL; i++)
        named = named || strstr(causes.proved[i].name, cause) != NULL;
    if (!named) fail_msg("%s: %td causes, %s", options, causes.count, causes.proved[0].name);
    close_verified(&v);
}

static void test_faults_and_causes(void **state) {
    (void)state;
    check_fault("--window 6", "f32", "layers.0.scores", "sliding window of 6 keys instead of 5");
    check_fault("--window 6 --only '*[!bs]'", "bf16", "layers.0.attention",
                "sliding window of 6 keys instead of 5");
    check_fault("--window 4", "bf16", "layers.0.scores", "sliding window of 4 keys instead of 5");
    check_fault("--window none", "bf16", "layers.0.scores", "no sliding window instead of 5");
    check_fault("--rope-theta 1e6", "f32", "layers.0.q_rope", "rope_theta 1e+06 instead of 10000");
    check_fault("--rope-theta 1e6", "bf16", "layers.0.q_rope", "rope_theta 1e+06 instead of 10000");
    check_fault("--norm-eps 1e-6", "f32", "layers.0.attention_norm",
                "norm epsilon 1e-06 instead of 1e-05");
    check_fault("--rope-theta 12345", "f32", "layers.0.q_rope", NULL);
}

/* Only the residual stream is recorded: the fault is found in the first layer that has it. */
static void test_sparse_capture(void **state) {
    (void)state;
    check_fault("--rope-theta 1e6 --only '*[.]h'", "f32", "layers.0.h", "rope_theta 1e+06");
    check_fault("--window 6 --only '*[.]h'", "f32", "layers.0.h", "sliding window of 6");
}

/* All experts have the same logits, and the port takes the second and the sixth instead of the
 * first two. Nobody recorded that: no token's rows can be judged. */
static void test_a_choice_that_nobody_recorded(void **state) {
    mr_err err = {0};
    mr_checkpoint c;
    verified v;
    char command[1024];
    (void)state;
    assert_int_equal(mr_checkpoint_open(MODEL, &c, &err), MR_OK);
    for (int port = 0; port < 2; port++) {
        for (idx l = 0; l < c.model.config.n_layers; l++) {
            mr_layer *layer = &c.model.layers[l];
            const mr_ffn first = layer->ffn[0];
            layer->gate.row_stride = 0;   /* every row is the first */
            if (port == 1) layer->ffn[0] = layer->ffn[5], layer->ffn[5] = first;
        }
        if (mr_checkpoint_save(&c.model, scratch(port ? "port" : "golden"), MR_LAYOUT_NATIVE, true,
                               MR_F32, &err)) fail_msg("%s", err.text);
    }
    mr_checkpoint_close(&c);
    for (int recorded = 0; recorded < 2; recorded++) {
        snprintf(command, sizeof command, "./mistral-ref trace %s --tokens 1,5,3,7 --only '%s' "
                 "-o %s", scratch("port"), recorded ? "*[hs]" : "*[.]h", scratch("port.npz"));
        assert_int_equal(system(command), 0);
        assert_int_equal(open_and_verify(scratch("golden"), scratch("port.npz"), "f32", &v),
                         recorded ? MR_DISAGREE : MR_OK);
        close_verified(&v);
    }
    drop(scratch("port")), drop(scratch("golden"));
}

static void test_nothing_in_common(void **state) {
    (void)state;
    verified v;
    char command[512];
    snprintf(command, sizeof command,
             "./mistral-ref trace " MODEL " --tokens 1,2 --only mask -o %s", scratch("m.npz"));
    assert_int_equal(system(command), 0);
    assert_int_equal(open_and_verify(MODEL, scratch("m.npz"), "f32", &v), MR_MISSING);
    close_verified(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_false_alarm),
        cmocka_unit_test(test_faults_and_causes),
        cmocka_unit_test(test_sparse_capture),
        cmocka_unit_test(test_a_choice_that_nobody_recorded),
        cmocka_unit_test(test_nothing_in_common),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
