/* The commands that read and write text: tokenize, chat-template, chat, and text prompts of a
 * model with a tokenizer. */
#include "tests/command.h"

#include <jansson.h>

#define TEKKEN "golden/tokenizers/tekken_small.json"
#define SPM    "golden/tokenizers/spm_small.model"
#define CHAT   "golden/chat/small.model"

static void put(const char *name, const char *text) { scratch_write(name, text, strlen(text)); }

static void test_tokenize(void **state) {
    (void)state;
    put("lines",
        "{\"text\":\"a "
        "b\"}\n{\"bytes_b64\":\"YSBi\"}\n{\"ids\":[121]}\n{\"ids\":[1.5]}\n{\"x\":1}\nno json\n"
        "{\"bytes_b64\":\"a\"}\n{\"bytes_b64\":\"YS?i\"}\n{\"ids\":[99999999]}\n");
    const expectation table[] = {
        {"tokenize " TEKKEN " 'a b' --no-bos", 0, "121,", ""},
        {"tokenize " TEKKEN " 'a b'", 0, "1,121,", ""},
        {"tokenize " TEKKEN " 'a b' --json", 0, "\"pieces\":[", ""},
        {"tokenize " TEKKEN " --decode 121", 0, "a\n", ""},
        {"tokenize " TEKKEN " --decode 121 --json", 0, "\"decoded\":\"a\"", ""},
        {"tokenize " TEKKEN " --decode 99999999", 3, "", "99999999"},
        {"tokenize " SPM " 'a b' --json", 0, "\"ids\":[1,", ""},
        {"tokenize " SPM " <@/lines", 0, "1,", ""},
        {"tokenize " TEKKEN " --jsonl <@/lines", 0, "\"decoded\":\"a b\"}\n{\"ids\":[121", ""},
        {"tokenize " TEKKEN " --jsonl <@/lines", 0, "not JSON", ""},
        {"tokenize " TEKKEN " --jsonl <@/lines", 0, "expected a list of integers", ""},
        {"tokenize " TEKKEN " --jsonl <@/lines", 0, "base64: character", ""},
        {"tokenize " TEKKEN " --jsonl --bos <@/lines", 0, "{\"ids\":[1,121", ""},
        {"tokenize golden/cases 'a'", 3, "", "tokenizer"},
        {"tokenize @/none.model 'a'", 3, "", "none.model"},
    };
    CHECK_ALL(table);
}

static void test_chat_template(void **state) {
    (void)state;
    put("good", "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    put("bad", "{\"messages\":[{\"role\":\"assistant\",\"content\":\"hi\"}]}");
    put("both", "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\n{\"messages\":[]}\n");
    const expectation table[] = {
        {"chat-template " CHAT " @/good --version v3", 0, "<s>[INST]", ""},
        {"chat-template " CHAT " --version v3 --json <@/good", 0, "\"ids\":[1,3,", ""},
        {"chat-template " CHAT " @/bad --version v3", 3, "", "messages"},
        {"chat-template " CHAT " @/bad --version v3 --json", 3, "\"error\":", ""},
        {"chat-template " CHAT " --version v3 --jsonl <@/both", 0, "{\"error\":", ""},
        {"chat-template " CHAT " @/good --version v99", 3, "", "v99"},
        {"chat-template " CHAT " @/missing", 3, "", "missing"},
    };
    CHECK_ALL(table);
}

/* A model with a tokenizer: random weights over the small SentencePiece vocabulary. */
static void make_talker(void) {
    char config[512];
    snprintf(
        config, sizeof config,
        "{\"model_type\":\"mistral\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_"
        "layers\":1,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":8,\"vocab_size\":480,"
        "\"rms_norm_eps\":1e-5,\"rope_theta\":1e4,\"sliding_window\":null,\"tie_word_embeddings\":"
        "false}");
    put("config.json", config);
    assert_int_equal(run("init @/config.json -o @/talker --seed 3"), 0);
    char command[1200];
    snprintf(command, sizeof command, "cp " CHAT " %s/talker/tokenizer.model.v3", scratch_folder);
    assert_int_equal(system(command), 0);
}

static void test_text_prompts(void **state) {
    (void)state;
    make_talker();
    put("text", "hello there");
    put("dialogue", "hello\n/help\n/system be brief\nhi\n/reset\n\nhello\n/exit\n");
    put("broken", "\xFF\nhello\n");
    const expectation table[] = {
        {"run @/talker -p 'hello' -n 6", 0, "\n", ""},
        {"run @/talker -p 'hello' -n 6 --json", 0, "\"text\":", ""},
        {"run @/talker -p 'hello' -n 6 --chat", 0, "\n", ""},
        {"score @/talker @/text", 0, "bits per byte", ""},
        {"score @/talker <@/text", 0, "tokens scored", ""},
        {"score @/talker @/text --json", 0, "\"bits_per_byte\":", ""},
        {"score @/talker @/none", 3, "", "none"},
        {"routing @/talker -p 'hello'", 3, "", "a dense model has no router"},
        {"chat @/talker -n 4 <@/dialogue", 0, "\n", ""},
        {"chat @/talker -n 4 --temp 0.7 --seed 5 --system 'be kind' <@/dialogue", 0, "\n", ""},
        {"chat @/talker -n 4 <@/broken", 0, "\n", "UTF-8"},
        {"chat @/talker -n 0 <@/dialogue", 2, "", "-n: expected"},
        {"info @/talker/model.safetensors", 0, "lm_head.weight", ""},
        {"info @/talker/model.safetensors --json", 0, "\"tensors\":[", ""},
        {"info @/none.npz", 3, "", "none.npz"},
    };
    CHECK_ALL(table);
}

static json_t *result_of(const char *command) {
    if (run(command) != 0) fail_msg("%s: %s", command, err);
    json_t *json = json_loads(out, 0, NULL);
    if (json == NULL) fail_msg("%s: no JSON: %s", command, out);
    return json;
}

/* "COMMAND 1,2,3" for that list of ids. */
static const char *with_ids(const char *command, const json_t *list) {
    static char line[4096];
    int n = sprintf(line, "%s ", command);
    for (size_t i = 0; i < json_array_size(list); i++)
        n += sprintf(line + n, "%s%d", i > 0 ? "," : "",
                     (int)json_integer_value(json_array_get(list, i)));
    return line;
}

/* Every answer of a conversation, whatever chat still has in its cache of the turns before, is what
 * the model says to the whole conversation's ids. */
static void check_turns(const char *chat, const char *once) {
    static const char *const users[] = {"a", "b", "c", "d", "e", "f"};
    char want[1024] = "";
    json_t *messages = json_array(), *request = json_pack("{s:O}", "messages", messages);
    put("turns", "a\nb\nc\nd\ne\nf\n");
    for (int turn = 0; turn < 6; turn++) {
        json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "user", "content",
                                                  users[turn]));
        assert_int_equal(json_dump_file(request, scratch("request"), 0), 0);
        json_t *prompt = result_of("chat-template @/talker @/request --json");
        json_t *answer = result_of(with_ids(once, json_object_get(prompt, "ids")));
        json_t *decoded = result_of(with_ids("tokenize @/talker --json --decode",
                                             json_object_get(answer, "tokens")));
        const char *text = json_string_value(json_object_get(decoded, "decoded"));
        assert_non_null(text);
        strcat(strcat(want, text), "\n");
        json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "assistant", "content",
                                                  text));
        json_decref(prompt);
        json_decref(answer);
        json_decref(decoded);
    }
    assert_int_equal(run(chat), 0);
    assert_string_equal(out, want);
    json_decref(messages);
    json_decref(request);
}

/* Answers of one token are never in the cache, so what is in it begins the next turn's ids; answers
 * of four are taken apart otherwise once they are text. */
static void test_turns(void **state) {
    (void)state;
    make_talker();
    check_turns("chat @/talker -n 1 <@/turns", "run @/talker -n 1 --json --tokens");
    check_turns("chat @/talker -n 4 <@/turns", "run @/talker -n 4 --json --tokens");
}

static void test_compare(void **state) {
    (void)state;
    const expectation table[] = {
        {"trace golden/cases/dense_gqa_w5 --tokens 1,5,3,2,6,4,7 -o @/a.npz", 0, "", ""},
        {"trace golden/cases/dense_gqa_w5 --tokens 1,5,3,2,6,4,7 --window 6 -o @/b.npz", 0, "", ""},
        {"compare @/a.npz @/a.npz --model golden/cases/dense_gqa_w5", 0, "AGREES", ""},
        {"compare @/a.npz @/b.npz --model golden/cases/dense_gqa_w5", 1, "sliding window of 6 keys",
         ""},
        {"compare @/a.npz @/b.npz --model golden/cases/dense_gqa_w5 --json", 1,
         "\"causes\":[\"a sliding", ""},
        {"compare @/a.npz @/b.npz --model golden/cases/dense_gqa_w5 --window 6", 0, "AGREES", ""},
        {"compare @/a.npz @/b.npz", 1, "sliding window of 6 keys", ""},
        {"compare @/a.npz @/none.npz --model golden/cases/dense_gqa_w5", 3, "", "none.npz"},
        {"compare @/a.npz @/a.npz --model golden/cases/mixtral_e3k3", 3, "",
         "another model"},
        {"compare @/a.npz @/a.npz --model golden/cases/dense_gqa_w5 --dtype fp4", 2, "", "--dtype"},
    };
    CHECK_ALL(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_chat_template),
        cmocka_unit_test(test_text_prompts), cmocka_unit_test(test_turns),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, scratch_open, remove_scratch);
}
