/* train --sample: what the model says at a validation is what `run` says with the weights that were
 * saved then; and the memory of runs that generate. */
#include "tests/training.h"

#define TINY "weights/tiny"
#define TRAIN "train sft " TINY " --data @/d.jsonl --batch 1 --lr 1e-3 "

/* The text behind "step N: PROMPT | " on standard error. */
static void said(const char *start, char *text, size_t size) {
    const char *at = strstr(err, start);
    if (at == NULL) fail_msg("no \"%s\" in:\n%s", start, err);
    at += strlen(start);
    snprintf(text, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static void test_sample(void **state) {
    char text[256];
    (void)state;
    write_file("d.jsonl", "{\"text\":\"The dog sleeps.\"}\n{\"text\":\"A cat sees the bird.\"}\n");
    run_well(TRAIN "--steps 2 --valid-every 1 --sample 'The dog' --max-new 6 -o @/m");
    assert_non_null(strstr(err, "step 1: The dog | "));
    said("step 2: The dog | ", text, sizeof text);
    assert_true(strlen(text) > 3);
    run_well("run @/m -p 'The dog' -n 6");
    if (strstr(out, text) == NULL) fail_msg("sampled \"%s\", run says \"%s\"", text, out);
    /* as a user message, between the marks of the chat template */
    run_well(TRAIN "--steps 1 --sample hello --chat --max-new 6 -o @/chat");
    said("step 1: hello | ", text, sizeof text);
    run_well("run @/chat -p hello --chat -n 6");
    if (strstr(out, text) == NULL) fail_msg("sampled \"%s\", run says \"%s\"", text, out);
}

static void test_no_tokenizer(void **state) {
    (void)state;
    assert_int_equal(run("train sft " DENSE " --data " SFT_DATA " --steps 1 --sample hello -o @/n"),
                     3);
    assert_non_null(strstr(err, "--sample: " DENSE ": cannot be read as a file"));
    assert_non_null(strstr(err, "must hold a tokenizer.model"));
}

/* In words; the numbers are judged in test_train.c. */
static void test_memory(void **state) {
    (void)state;
    run_well("train rl " DENSE " --data " DPO_DATA " --reward-model " DENSE " --samples 2 "
             "--max-new 4 --steps 1 --batch 2 -o @/r --dry-run");
    static const char *const rows[] = {"weights  ", "gradients  ", "optimiser  ", "activations  ",
                                       "frozen models  ", "generation  ", "total  ", "MiB"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(out, rows[i]) == NULL) fail_msg("no \"%s\" in:\n%s", rows[i], out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sample),
                                       cmocka_unit_test(test_no_tokenizer),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
