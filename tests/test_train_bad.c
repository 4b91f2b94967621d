/* Training data and options that are cut or refused, and numbers that are not finite. */
#include "tests/training_chat.h"

/* ---- what is cut, what is refused ------------------------------------------------------------ */

/* The end of a long sequence goes; an example that has no target left is dropped and counted. */
static void test_truncation(void **state) {
    idx tokens;
    (void)state;
    write_file("long.jsonl", "{\"input_ids\":[1,5,6,7,8,9]}\n{\"input_ids\":[1,5,6]}\n"
                             "{\"input_ids\":[1,5,6,7,8],\"labels\":[-100,-100,-100,-100,8]}\n");
    write_file("short.jsonl", "{\"input_ids\":[1,5,6,7]}\n{\"input_ids\":[1,5,6]}\n");
    const double cut = loss_of("sft", "long.jsonl", "--max-length 4 --batch 2 --no-shuffle",
                               &tokens);
    assert_int_equal(tokens, 7);
    assert_int_equal(strstr(out, "\"truncated\":2,\"dropped\":1") != NULL, 1);
    assert_true(cut == loss_of("sft", "short.jsonl", "--batch 2 --no-shuffle", &tokens));
}

static void test_refused(void **state) {
    static const struct {
        const char *task, *line, *message;
    } table[] = {
        {"sft", "{\"text\": \"a\"}\n{\"text\": oops}", "line 2, column"},
        {"sft", "{\"text\": \"a\"}\n\n[1]", "line 3: expected a JSON object, found a list"},
        {"sft", "{\"words\": 1}", "line 1: expected \"text\""},
        {"sft", "{\"text\": 5}", "line 1: expected \"text\" (a string)"},
        {"sft", "{\"text\": \"\"}", "line 1: text: the text is empty"},
        {"sft", "{\"prompt\": \"a\", \"completion\": \"\"}", "completion: the text is empty"},
        {"sft", "{\"prompt\": 1, \"completion\": \"a\"}", "prompt: expected a string or a list"},
        {"sft", "{\"messages\": []}", "line 1: messages:"},
        {"sft", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "to be learnt"},
        {"sft", "{\"input_ids\": []}", "input_ids: expected a list of ids, found an empty one"},
        {"sft", "{\"input_ids\": [1, 99999]}", "id 1: expected 0 to"},
        {"sft", "{\"input_ids\": [1, 2], \"labels\": [1, 3]}", "neither -100 nor the id"},
        {"sft", "{\"input_ids\": [1, 2], \"labels\": [1]}", "expected a list as long as the ids"},
        {"sft", "{\"input_ids\": [1, 2], \"labels\": \"12\"}", "expected a list as long as"},
        {"sft", "{\"input_ids\": [1]}", "nothing in it is to be learnt"},
        {"sft", "", "nothing to train on"},
        {"dpo", "{\"prompt\": \"a\", \"chosen\": \"b\"}", "\"rejected\" is missing"},
        {"dpo", "{\"prompt\": \"a\", \"chosen\": \"\", \"rejected\": \"b\"}", "chosen: the text"},
        {"dpo", "{\"prompt\": \"a\", \"chosen\": [], \"rejected\": \"b\"}", "of the prompt's kind"},
        {"reward", "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"margin\": \"x\"}",
         "margin: expected a number"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char args[256];
        write_file("bad.jsonl", table[i].line);
        snprintf(args, sizeof args, "train %s @/m --data @/bad.jsonl -o @/never", table[i].task);
        check_all(&(expectation){args, 3, "", table[i].message}, 1);
    }
    assert_int_equal(access(scratch("never"), F_OK), -1);
}

static void test_usage(void **state) {
    (void)state;
    write_file("good.jsonl", "{\"input_ids\":[1,5,6]}\n");
    const expectation table[] = {
        {"train sft", 2, "", "sft|reward|dpo|rl MODEL"},
        {"train fly @/m --data @/good.jsonl -o @/x", 2, "", "expected sft|reward|dpo|rl"},
        {"train sft @/m -o @/x", 2, "", "--data FILE.jsonl is needed"},
        {"train sft @/m --data @/good.jsonl", 2, "", "-o DIR is needed"},
        {"train sft @/m --data @/good.jsonl -o @/m", 2, "", "of another run or model"},
        {"train sft @/m --data @/none.jsonl -o @/x", 3, "", "none.jsonl: cannot open"},
        {"train sft @/m --data @/good.jsonl -o @/x --lr -1", 2, "", "--lr: expected 0 or more"},
        {"train sft @/m --data @/good.jsonl -o @/x --batch 0", 2, "", "--batch: expected"},
        {"train sft @/m --data @/good.jsonl -o @/x --schedule up", 2, "", "--schedule: expected"},
        {"train sft @/m --data @/good.jsonl -o @/x --precision bf16", 2, "", "f32 or f64"},
        {"train sft @/m --data @/good.jsonl -o @/x --patience 2", 2, "", "--patience needs"},
        {"train sft @/m --data @/good.jsonl -o @/x --adam-betas 0.9", 2, "", "two numbers"},
        {"train dpo @/m --data @/good.jsonl -o @/x --loss round", 2, "", "unknown DPO loss"},
        {"train rl @/m --data @/good.jsonl -o @/x", 2, "", "--reward-model MODEL is needed"},
        {"train rl @/m --data @/good.jsonl -o @/x --reward-model @/m", 3, "", "\"prompt\" is"},
    };
    CHECK_ALL(table);
}

/* Text needs a tokenizer, and one whose ids the model has. */
static void test_tokenizer(void **state) {
    (void)state;
    write_file("text.jsonl", "{\"text\":\"a\"}\n");
    run_well("init golden/cases/dense_gqa/config.json -o @/plain");
    run_well("init golden/cases/dense_gqa/config.json -o @/narrow");
    char copy[1200];
    snprintf(copy, sizeof copy, "cp " CHAT " %s/narrow/tokenizer.model", scratch_folder);
    assert_int_equal(system(copy), 0);
    const expectation table[] = {
        {"train sft @/plain --data @/text.jsonl -o @/x", 3, "", "text: text needs a tokenizer"},
        {"train sft @/narrow --data @/text.jsonl -o @/x", 3, "",
         "is outside the model's vocabulary, expected 0 to 40"},
    };
    CHECK_ALL(table);
}

/* A rate that makes everything infinite: status 1, and the last good state stays. */
static void test_not_finite(void **state) {
    (void)state;
    check_all(&(expectation){"train sft @/m --data @/good.jsonl -o @/nan --steps 9 --lr 1e38 "
                             "--schedule constant --weight-decay 0", 1, "",
                             "The state after step"}, 1);
    run_well("logits @/nan --tokens 1,2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
