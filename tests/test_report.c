/* The reports of compare: text on one screen, JSON, JUnit; each fault by its own command again. */
#include "tests/command.h"

#include <jansson.h>

#include "golden/trace.h"

#define MODEL  "golden/cases/mixtral_e7k2_w5"
#define TOKENS " --tokens 5,17,3,29,11,23,8,2,31,7,13,19,4"

static void shell(const char *format, const char *a, const char *b) {
    char command[2048];
    snprintf(command, sizeof command, format, a, b);
    if (system(command) != 0) fail_msg("%s", command);
}

/* The port's run with a seed, or without one, in @/port.npz. */
static void record(const char *options) {
    shell("build/port " MODEL TOKENS " %s -o %s >/dev/null", options, scratch("port.npz"));
}

static void record_golden(void) {
    shell("./mistral-ref trace " MODEL TOKENS " --precision f64 %s -o %s", "",
          scratch("golden.npz"));
}

static json_t *document(const char *args, int status) {
    json_error_t error;
    if (run(args) != status) fail_msg("%s: want %d\n%s%s", args, status, out, err);
    json_t *json = json_loads(out, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) fail_msg("%s\n%s", error.text, out);
    return json;
}

static json_int_t integer(const json_t *at, const char *key) {
    const json_t *value = json_object_get(at, key);
    if (!json_is_integer(value)) fail_msg("%s is no integer", key);
    return json_integer_value(value);
}

static const char *word(const json_t *at, const char *key) {
    const char *value = json_string_value(json_object_get(at, key));
    if (value == NULL) fail_msg("%s is no text", key);
    return value;
}

#define COMPARE "compare @/golden.npz @/port.npz --model " MODEL

/* At most 24 lines of 100 columns, besides the command, which stays in one piece. */
static void check_screen(void) {
    int lines = 0;
    for (char *at = out, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        assert_non_null(end);
        lines++;
        if (end - at > 100 && strncmp(at, "again", 5) != 0) fail_msg("%.*s", (int)(end - at), at);
    }
    if (lines > 24) fail_msg("%d lines:\n%s", lines, out);
}

/* The command that a report gives shows the same element again, and no other tensor. */
static void check_again(void) {
    char command[2048], line[256];
    const char *at = strstr(out, "\nagain       mistral-ref ");
    const char *got = strstr(out, "\ngot         ");
    assert_non_null(at);
    snprintf(command, sizeof command, "%.*s", (int)strcspn(at + 25, "\n"), at + 25);
    snprintf(line, sizeof line, "%.*s", got != NULL ? (int)strcspn(got + 1, "\n") : 0,
             got != NULL ? got + 1 : "");
    assert_int_equal(run(command), 1);
    if (strstr(out, line) == NULL || strstr(out, "1 verified: 1 faults") == NULL)
        fail_msg("%s\n%s\n%s", command, line, out);
}

static void test_text(void **state) {
    (void)state;
    static const struct {
        const char *bug, *advice, *place;
    } seeds[] = {
        {"--bug M01", "a sliding window of 6 keys instead of 5", "layers.0.scores"},
        {"--bug R01", "rotates interleaved pairs", "layers.0.q_rope"},
        {"--bug E07", "w1 (gate) and w3 (up) swapped", "layers.0.experts."},
        {"--bug E01 --dtype bf16", "repair this first", "layers.0.router_weights"},
        {"--bug L04", "look at projection to the logits", "logits"},
    };
    record_golden();
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        record(seeds[i].bug);
        assert_int_equal(run(COMPARE), 1);
        check_screen();
        if (strncmp(out, "DISAGREES   ", 12) != 0 || strstr(out, seeds[i].advice) == NULL ||
            strstr(out, seeds[i].place) == NULL) fail_msg("%s\n%s", seeds[i].bug, out);
        check_again();
    }
    record("");
    assert_int_equal(run(COMPARE), 0);
    check_screen();
    assert_int_equal(strncmp(out, "AGREES      nothing to do", 25), 0);
}

/* A window of 6 instead of 5 on 13 tokens: tokens 5 to 12 see one key too many, in 6 heads. */
static void test_json_of_a_fault(void **state) {
    (void)state;
    record_golden();
    record("--bug M01");
    json_t *j = document(COMPARE " --json", 1);
    const json_t *fault = json_object_get(j, "fault"), *sum = json_object_get(j, "summary");
    assert_string_equal(word(j, "format"), "mistral-ref compare 1");
    assert_string_equal(word(j, "verdict"), "disagrees");
    assert_int_equal(integer(j, "status"), 1);
    assert_string_equal(word(j, "first_fault"), "layers.0.scores");
    assert_string_equal(word(fault, "tensor"), "layers.0.scores");
    assert_string_equal(word(fault, "equation"), "A2");
    assert_string_equal(word(fault, "after"), "layers.0.k_rope");
    assert_int_equal(integer(fault, "layer"), 0);
    assert_int_equal(integer(fault, "head"), 0);
    assert_int_equal(integer(fault, "row"), 5);
    assert_int_equal(integer(fault, "token"), 23);
    assert_int_equal(integer(fault, "position"), 5);
    assert_int_equal(integer(fault, "key"), 0);
    assert_int_equal(integer(fault, "beyond"), 6 * 8);
    assert_true(json_is_null(json_object_get(fault, "channel")));
    assert_non_null(strstr(word(fault, "reproduce"), "--only layers.0.scores"));
    const json_t *mask = json_array_get(json_object_get(j, "masks"), 1);
    assert_int_equal(integer(mask, "layer"), 1);
    assert_int_equal(integer(mask, "forbidden"), 6 * 8);
    assert_int_equal(integer(mask, "unseen"), 0);
    assert_int_equal(integer(sum, "faults"), 2);
    json_int_t agree = 0, all = 0;
    size_t at;
    json_t *one;
    json_array_foreach(json_object_get(j, "tensors"), at, one) {
        agree += strcmp(word(one, "verdict"), "agrees") == 0;
        all++;
    }
    assert_int_equal(integer(sum, "agree"), agree);
    assert_int_equal(integer(sum, "tensors"), all);
    json_decref(j);
}

/* A run of other tokens is no measure of what was inherited. */
static void test_golden_of_another_run(void **state) {
    (void)state;
    shell("./mistral-ref trace " MODEL " --tokens 1,2,3 %s -o %s", "", scratch("golden.npz"));
    record("");
    json_t *j = document(COMPARE " --json", 0);
    assert_true(json_is_false(json_object_get(j, "same_run")));
    const json_t *first = json_array_get(json_object_get(j, "tensors"), 1);
    assert_true(json_is_null(json_object_get(first, "inherited")));
    assert_true(json_is_number(json_object_get(first, "introduced")));
    json_decref(j);
}

static void test_only(void **state) {
    (void)state;
    record_golden();
    record("--bug M01");
    json_t *j = document(COMPARE " --only 'layers.1.*' --json", 1);
    assert_string_equal(word(j, "first_fault"), "layers.1.scores");
    json_decref(j);
    assert_int_equal(run(COMPARE " --only '*.q_rope'"), 0);
    assert_int_equal(run(COMPARE " --only nothing"), 4);
    assert_non_null(strstr(err, "--only nothing"));
}

/* ---- losses and gradients: without a model measured against the golden trace ----------------- */

static void write_losses(const char *path, double loss, const char *meta) {
    const double gradient[] = {3, 0, 4, loss - 2};
    const mr_tensor tensors[] = {
        {"loss.cross_entropy", MR_F64, 1, {1}, &loss},
        {"grad.layers.0.attention.wq.weight", MR_F64, 2, {2, 2}, gradient}};
    mr_trace_writer *w = NULL;
    assert_int_equal(mr_trace_create(path, 1, &w, NULL), MR_OK);
    for (int i = 0; i < 2; i++) assert_int_equal(mr_trace_add(w, &tensors[i], NULL), MR_OK);
    assert_int_equal(mr_trace_finish(w, meta, NULL), MR_OK);
}

static void test_losses_and_gradients(void **state) {
    (void)state;
    static const char meta[] =
        "{\"tokens\":[[1,2]],\"first_position\":[0],\"precision\":\"f32\",\"convention\":"
        "\"native\",\"rope_angles\":\"f32\",\"rope_layout\":\"half\"}";
    write_losses(scratch("golden.npz"), 2, meta);
    write_losses(scratch("port.npz"), 2.5, meta);
    json_t *j = document("compare @/golden.npz @/port.npz --json", 5);
    const json_t *list = json_object_get(j, "measured"), *loss = json_array_get(list, 0),
                 *gradient = json_array_get(list, 1);
    assert_string_equal(word(loss, "tensor"), "loss.cross_entropy");
    assert_string_equal(word(loss, "verdict"), "measured");
    /* |2.5 - 2| / 2, and |(0,0,0,0.5)| / |(3,0,4,0)| */
    check_number("loss", 0.25, json_number_value(json_object_get(loss, "relative")), 1);
    check_number("gradient", 0.1, json_number_value(json_object_get(gradient, "relative")), 1);
    assert_int_equal(integer(gradient, "differ"), 1);
    json_decref(j);
    assert_int_equal(run("compare @/golden.npz @/port.npz"), 5);
    assert_int_equal(strncmp(out, "NO PROOF", 8), 0);
    assert_int_equal(run(COMPARE), 1);   /* of another model */
    assert_non_null(strstr(out, "shape [2,2], expected [48,24]"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json_of_a_fault),
        cmocka_unit_test(test_golden_of_another_run),
        cmocka_unit_test(test_only),
        cmocka_unit_test(test_losses_and_gradients),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
