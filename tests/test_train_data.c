/* Training data: which ids a line becomes, and which of them are scored. */
#include "tests/training_chat.h"

/* ---- ids by hand ----------------------------------------------------------------------------- */

static void append_ids(json_t *list, const char *text) {
    mr_ids ids = {0};
    mr_err e = {0};
    if (mr_tokenizer_encode(tokenizer, text, (idx)strlen(text), &ids, &e)) fail_msg("%s", e.text);
    for (idx i = 0; i < ids.count; i++) json_array_append_new(list, json_integer(ids.id[i]));
    mr_ids_free(&ids);
}

/* Writes an object as the only line of a file. */
static void write_line(const char *name, json_t *object, bool more) {
    char *line = json_dumps(object, JSON_COMPACT);
    FILE *f = fopen(scratch(name), more ? "a" : "w");
    assert_non_null(f);
    fprintf(f, "%s\n", line);
    assert_int_equal(fclose(f), 0);
    free(line);
    json_decref(object);
}

/* The ids with labels: the id itself where `scored`, else -100. */
static json_t *labelled(json_t *ids, const bool *scored) {
    json_t *labels = json_array();
    for (size_t i = 0; i < json_array_size(ids); i++)
        json_array_append_new(labels, json_integer(scored[i]
                                      ? json_integer_value(json_array_get(ids, i)) : -100));
    return json_pack("{s:o,s:o}", "input_ids", ids, "labels", labels);
}

/* {"text"}: BOS and EOS around, everything after BOS scored. */
static void test_text(void **state) {
    bool scored[64] = {false};
    json_t *ids = json_pack("[i]", 1);
    (void)state;
    append_ids(ids, "hello there");
    json_array_append_new(ids, json_integer(2));
    for (size_t i = 1; i < 64; i++) scored[i] = true;
    write_line("ids.jsonl", labelled(ids, scored), false);
    write_line("text.jsonl", json_pack("{s:s}", "text", "hello there"), false);
    check_same("sft", "text.jsonl", "ids.jsonl", "");
}

/* {"prompt","completion"}: each encoded by itself; completion and EOS scored. */
static void test_completion(void **state) {
    bool scored[64] = {false};
    json_t *ids = json_pack("[i]", 1);
    (void)state;
    append_ids(ids, "a question");
    const size_t from = json_array_size(ids);
    append_ids(ids, "an answer");
    json_array_append_new(ids, json_integer(2));
    for (size_t i = from; i < 64; i++) scored[i] = true;
    write_line("ids.jsonl", labelled(ids, scored), false);
    write_line("pair.jsonl", json_pack("{s:s,s:s,s:i}", "prompt", "a question", "completion",
                                       "an answer", "extra", 1), false);
    check_same("sft", "pair.jsonl", "ids.jsonl", "");
    idx tokens;   /* all but the last two targets masked is another loss */
    assert_true(loss_of("sft", "ids.jsonl", "", &tokens) !=
                loss_of("sft", "text.jsonl", "", &tokens));
}

/* Preferences: the prompt before both answers, EOS after both. */
static void test_preferences(void **state) {
    json_t *prompt = json_pack("[i]", 1), *chosen = json_array(), *rejected = json_array();
    (void)state;
    append_ids(prompt, "a question");
    append_ids(chosen, "good");
    append_ids(rejected, "something worse");
    json_array_append_new(chosen, json_integer(2));
    json_array_append_new(rejected, json_integer(2));
    write_line("ids.jsonl", json_pack("{s:o,s:o,s:o,s:f}", "prompt_ids", prompt, "chosen_ids",
                                      chosen, "rejected_ids", rejected, "margin", 0.5), false);
    write_line("text.jsonl", json_pack("{s:s,s:s,s:s,s:f}", "prompt", "a question", "chosen",
                                       "good", "rejected", "something worse", "margin", 0.5),
               false);
    check_same("reward", "text.jsonl", "ids.jsonl", "");
    check_same("dpo", "text.jsonl", "ids.jsonl", "--loss ipo --reference-free");
}

/* ---- conversations: ids of mistral-common ---------------------------------------------------- */

/* Marks the turns of the assistant: each ends with EOS, and begins as many ids before it as its
 * text has by itself. False for conversations where that is no definition. */
static bool mark_turns(bool *scored, const json_t *ids, const json_t *messages) {
    size_t at = 0, message;
    json_t *m;
    bool any = false;
    json_array_foreach((json_t *)messages, message, m) {
        const json_t *content = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role"));
        const size_t length = json_is_string(content) ? json_string_length(content) : 0;
        if (length == 0 || json_object_size(m) != 2 || strcmp(role, "tool") == 0) return false;
        if (strcmp(role, "assistant") != 0) continue;
        if (json_string_value(content)[length - 1] == ' ') return false;
        json_t *turn = json_array();
        append_ids(turn, json_string_value(content));
        while (at < json_array_size(ids) && json_integer_value(json_array_get(ids, at)) != 2) at++;
        for (size_t i = 0; i <= json_array_size(turn); i++) scored[at - i] = true;
        json_decref(turn);
        at++;
        any = true;
    }
    for (; at < json_array_size(ids); at++)     /* an EOS that no message made: merged turns */
        if (json_integer_value(json_array_get(ids, at)) == 2) return false;
    return any;
}

/* Every conversation of the file that mark_turns understands, as messages and as ids. */
static int write_conversations(const char *golden, int most) {
    static char line[1 << 16];
    int written = 0;
    FILE *f = fopen(golden, "rb");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL && written < most) {
        bool scored[4096] = {false};
        json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
        json_t *ids = json_object_get(object, "ids");
        json_t *request = json_loads(json_string_value(json_object_get(object, "request")), 0,
                                     NULL);
        json_t *messages = json_object_get(request, "messages");
        if (ids != NULL && messages != NULL && json_object_get(request, "tools") == NULL &&
            json_object_get(request, "continue_final_message") == NULL &&
            json_array_size(ids) < 4096 && mark_turns(scored, ids, messages)) {
            write_line("chat.jsonl", json_pack("{s:O}", "messages", messages), written > 0);
            write_line("ids.jsonl", labelled(json_incref(ids), scored), written > 0);
            written++;
        }
        json_decref(object);
        json_decref(request);
    }
    fclose(f);
    return written;
}

/* v1 writes its markers as text, so the turns are found by their texts. */
static void test_messages_v1(void **state) {
    (void)state;
    const int n = write_conversations("golden/chat/spm-v1.jsonl", 40);
    if (n < 3) fail_msg("only %d conversations could be compared", n);
    check_same("sft", "chat.jsonl", "ids.jsonl", "--version v1 --max-length 4096");
}

/* Later templates have tokens for it: scored is what follows [/INST], to EOS. */
static void add_conversation(const char *version, const char *messages, bool more) {
    char request[1024];
    bool scored[512] = {false}, inside = false;
    mr_text text = {0};
    mr_ids ids = {0}, turns = {0};
    mr_err e = {0};
    json_t *list = json_array();
    snprintf(request, sizeof request, "{\"messages\": %s}", messages);
    if (mr_chat_encode_turns(tokenizer, version, request, (idx)strlen(request), &text, &ids,
                             &turns, &e)) fail_msg("%s", e.text);
    for (idx i = 0; i < ids.count; i++) {
        json_array_append_new(list, json_integer(ids.id[i]));
        scored[i] = inside;
        if (ids.id[i] == mr_tokenizer_control(tokenizer, "[/INST]")) inside = true;
        if (ids.id[i] == mr_tokenizer_eos(tokenizer)) inside = false;
    }
    write_line("ids.jsonl", labelled(list, scored), more);
    write_line("chat.jsonl", json_loads(request, 0, NULL), more);
    mr_text_free(&text);
    mr_ids_free(&ids);
    mr_ids_free(&turns);
}

static void test_messages(void **state) {
    static const char *const versions[] = {"v2", "v3", "v7"};
    (void)state;
    for (int v = 0; v < 3; v++) {
        char options[64];
        snprintf(options, sizeof options, "--version %s --batch 3", versions[v]);
        add_conversation(versions[v], "[{\"role\": \"user\", \"content\": \"first\"}, "
                         "{\"role\": \"assistant\", \"content\": \"an answer\"}]", false);
        add_conversation(versions[v], "[{\"role\": \"system\", \"content\": \"be kind\"}, "
                         "{\"role\": \"user\", \"content\": \"a\"}, "
                         "{\"role\": \"assistant\", \"content\": \"b\"}, "
                         "{\"role\": \"user\", \"content\": \"c\"}, "
                         "{\"role\": \"assistant\", \"content\": \"d\"}]", true);
        add_conversation(versions[v], "[{\"role\": \"user\", \"content\": \"x\"}, "
                         "{\"role\": \"assistant\", \"content\": \"one\"}, "
                         "{\"role\": \"assistant\", \"content\": \"two\"}]", true);
        check_same("sft", "chat.jsonl", "ids.jsonl", options);
    }
}

/* Prompt and completion as messages are the conversation with its last turn scored. */
static void test_message_pair(void **state) {
    const char user[] = "[{\"role\": \"user\", \"content\": \"a\"}",
               bot[] = "{\"role\": \"assistant\", \"content\": \"b\"}";
    char line[512];
    (void)state;
    snprintf(line, sizeof line, "{\"messages\": %s, %s]}\n", user, bot);
    write_file("whole.jsonl", line);
    snprintf(line, sizeof line, "{\"prompt\": %s], \"completion\": [%s]}\n", user, bot);
    write_file("parts.jsonl", line);
    check_same("sft", "whole.jsonl", "parts.jsonl", "--version v3");
    snprintf(line, sizeof line, "{\"prompt\": %s], \"completion\": %s]}\n", user, user);
    write_file("bad.jsonl", line);
    check_all(&(expectation){"train sft @/m --data @/bad.jsonl -o @/never --version v3", 3, "",
                             "completion: "}, 1);
}

/* rl: the same prompt as text, as messages and as ids gives the same answers and rewards. */
static double reward_of(const char *file) {
    idx tokens;
    loss_of("rl", file, "--reward-model @/judge --version v3 --max-new 3 --samples 2", &tokens);
    return number_of(0, "reward");
}

static void test_prompts(void **state) {
    const char chat[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a question\"}]}";
    mr_text text = {0};
    mr_ids ids = {0};
    mr_err e = {0};
    json_t *plain = json_pack("[i]", 1), *template = json_array();
    (void)state;
    write_file("pairs.jsonl", "{\"prompt_ids\":[1],\"chosen_ids\":[7],\"rejected_ids\":[9]}\n");
    run_well("train reward @/m --data @/pairs.jsonl -o @/judge --steps 1");
    append_ids(plain, "a question");
    if (mr_chat_encode(tokenizer, "v3", chat, (idx)strlen(chat), &text, &ids, &e))
        fail_msg("%s", e.text);
    for (idx i = 0; i < ids.count; i++) json_array_append_new(template, json_integer(ids.id[i]));
    write_line("ids.jsonl", json_pack("{s:o}", "prompt_ids", plain), false);
    write_file("text.jsonl", "{\"prompt\":\"a question\"}\n");
    assert_true(reward_of("text.jsonl") == reward_of("ids.jsonl"));
    write_line("chat.jsonl", json_pack("{s:O}", "prompt_ids", template), false);
    write_file("messages.jsonl",
               "{\"prompt\":[{\"role\":\"user\",\"content\":\"a question\"}]}\n");
    assert_true(reward_of("messages.jsonl") == reward_of("chat.jsonl"));
    assert_true(reward_of("messages.jsonl") != reward_of("text.jsonl"));
    json_decref(template);
    mr_text_free(&text);
    mr_ids_free(&ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_preferences), cmocka_unit_test(test_messages_v1),
        cmocka_unit_test(test_messages),    cmocka_unit_test(test_message_pair),
        cmocka_unit_test(test_prompts),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
