/* Chat requests whose fields obey rules that the golden conversations do not reach. What is taken
 * and what is refused: mistral-common 1.13.1's ChatCompletionRequest and validator; of patterns,
 * Python's re. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/chat.h"

#define WITH(field) "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]," field "}"
#define USER(content) "{\"messages\":[{\"role\":\"user\",\"content\":" content "}]}"
#define SCHEMA(schema) \
    WITH("\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":" schema "}}]")
#define ASSISTANT "{\"role\":\"assistant\",\"content\":\"b\"}"
#define TOOL_RESULT "{\"role\":\"tool\",\"tool_call_id\":\"abcdefghi\",\"content\":\"x\"}"
#define TOOL(name) "{\"function\":{\"name\":\"" name "\",\"parameters\":{}}}"
#define PATTERN(pattern) SCHEMA("{\"pattern\":\"" pattern "\"}")
#define FORMAT(schema) \
    WITH("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{" schema "}}")
#define CHOICE(choice) WITH("\"tool_choice\":" choice)
#define ARGUMENTS(value) \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\"," \
    "\"tool_calls\":[{\"id\":\"abcdefghi\",\"function\":{\"name\":\"f\"," \
    "\"arguments\":" value "}}]}]}"

static mr_tokenizer *open_tokenizer(const char *path) {
    mr_tokenizer *t = NULL;
    mr_err err = {0};
    if (mr_tokenizer_open(path, &t, &err) != MR_OK) fail_msg("%s", err.text);
    return t;
}

/* Taken by every tokenizer, since the fields say nothing that a template prints; or refused. */
static void ask(const mr_tokenizer *t, const char *version, const char *request, const char *bad) {
    mr_text text = {0};
    mr_ids ids = {0};
    mr_err err = {0};
    const mr_status status =
        mr_chat_encode(t, version, request, (idx)strlen(request), &text, &ids, &err);
    if (bad != NULL) {
        check_refused(status, MR_BAD, &err, bad);
        assert_int_equal(text.count + ids.count, 0);
    } else if (status != MR_OK) {
        fail_msg("%s: %s", request, err.text);
    } else {
        assert_true(ids.count >= 4 && text.count > 0);
    }
    mr_text_free(&text);
    mr_ids_free(&ids);
}

typedef struct {
    const char *request, *bad;   /* NULL: taken */
} sample;

static void ask_all(const sample *list, size_t count) {
    static const char *const paths[] = {"golden/chat/small.model", "golden/chat/tekken.json"};
    for (int p = 0; p < 2; p++) {
        mr_tokenizer *t = open_tokenizer(paths[p]);
        for (size_t i = 0; i < count; i++) ask(t, "v3", list[i].request, list[i].bad);
        mr_tokenizer_close(t);
    }
}
#define ASK(list) ask_all(list, sizeof (list) / sizeof *(list))

static void test_messages(void **state) {
    static const sample list[] = {
        {USER("[{\"text\":\"x\"}]"), "a part of the content has no \"type\""},
        {USER("[{\"type\":5,\"text\":\"x\"}]"), "a part of the content has no \"type\""},
        {"{\"messages\":[{\"role\":\"robot\",\"content\":\"a\"}]}",
         "role must be system, user, assistant or tool"},
        {"{\"messages\":[{\"role\":5,\"content\":\"a\"}]}", "role must be"},
        {"{\"messages\":[{\"content\":\"a\"}]}", "role must be"},
        {ARGUMENTS("5"), "arguments must be a string or an object"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}," TOOL_RESULT "," ASSISTANT ","
         "{\"role\":\"user\",\"content\":\"a\"}]}", "messages[1]: role tool after role user"},
        {WITH("\"tools\":{}"), "a list"},
        {WITH("\"tools\":[{\"type\":\"gadget\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]"),
         "\"function\""},
        {WITH("\"temperature\":\"warm\""), "a number from 0 to 1"},
        {WITH("\"temperature\":\" 0.5\""), NULL},
        {WITH("\"temperature\":\"0.5  \""), NULL},
        {WITH("\"temperature\":\"  \""), "a number from 0 to 1"},
        {WITH("\"temperature\":\"0. 5\""), "a number from 0 to 1"},
        {WITH("\"max_tokens\":0"), NULL},
        {WITH("\"max_tokens\":-1"), "an integer of at least 0"},
        {WITH("\"parallel_tool_calls\":1"), NULL},
        {WITH("\"parallel_tool_calls\":2"), "true or false"},
        {WITH("\"parallel_tool_calls\":-1"), "true or false"},
        {WITH("\"parallel_tool_calls\":0.5"), "true or false"},
        {WITH("\"tools\":[" TOOL("f") "," TOOL("") "]"), "tools[1]: a function name has"},
        {WITH("\"truncate_for_context_length\":true"), "no length to truncate to"},
        {WITH("\"truncate_for_context_length\":false"), NULL},
        {WITH("\"reasoning_effort\":\"high\""), "from v15 on"},
        {WITH("\"response_format\":5"), "an object"},
    };
    (void)state;
    ASK(list);
}

static void test_choice_and_format(void **state) {
    static const sample list[] = {
        {CHOICE("\"any\""), NULL},
        {CHOICE("{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"), NULL},
        {CHOICE("{\"function\":{\"name\":\"f\"}}"), NULL},
        {CHOICE("\"some\""), "tool_choice"},
        {CHOICE("{\"type\":\"function\",\"function\":{}}"), "tool_choice.function"},
        {CHOICE("{\"type\":\"function\",\"function\":{\"name\":5}}"), "tool_choice.function"},
        {CHOICE("{\"type\":\"other\",\"function\":{\"name\":\"f\"}}"), "\"function\""},
        {CHOICE("{\"type\":\"function\",\"function\":5}"), "tool_choice"},
        {CHOICE("{\"type\":\"function\"}"), "field \"function\" is missing"},
        {FORMAT("\"name\":\"n\",\"schema\":{\"type\":\"object\"}"), NULL},
        {FORMAT("\"name\":\"n\",\"custom_schema\":{\"type\":\"object\"}"), NULL},
        {FORMAT("\"name\":\"n\""), "exactly one schema"},
        {FORMAT("\"name\":\"n\",\"schema\":{},\"custom_schema\":{}"), "exactly one schema"},
        {FORMAT("\"name\":5,\"schema\":{}"), "response_format.json_schema"},
        {FORMAT("\"name\":\"n\",\"schema\":{\"type\":7}"), "response_format"},
        {WITH("\"response_format\":{\"type\":\"json_schema\"}"), "the schema is missing"},
        {WITH("\"response_format\":{\"type\":\"xml\"}"), "the type is none of"},
        {WITH("\"response_format\":{\"type\":\"text\"}"), NULL},
    };
    (void)state;
    ASK(list);
}

static void test_schemas(void **state) {
    static const sample list[] = {
        {SCHEMA("{\"dependencies\":{\"a\":[\"b\"]}}"), NULL},
        {SCHEMA("{\"dependencies\":{\"a\":[5]}}"), "look at \"dependencies\""},
        {SCHEMA("{\"dependencies\":{\"a\":{\"type\":7}}}"), "look at \""},
        {SCHEMA("{\"dependencies\":5}"), "look at \"dependencies\""},
        {SCHEMA("{\"patternProperties\":{\"^a\":{}}}"), NULL},
        {SCHEMA("{\"patternProperties\":{\"(\":{}}}"), "look at \"patternProperties\""},
        {SCHEMA("{\"type\":[\"string\",\"null\"]}"), NULL},
        {SCHEMA("{\"type\":[]}"), "look at \"type\""},
        {SCHEMA("{\"type\":[\"text\"]}"), "look at \"type\""},
        {SCHEMA("{\"type\":[\"string\",\"string\"]}"), "look at \"type\""},
    };
    (void)state;
    ASK(list);
}

static void test_patterns(void **state) {
    static const sample list[] = {
        {PATTERN("(?=a)b"), NULL},
        {PATTERN("(?!a)b"), NULL},
        {PATTERN("(?#note)a"), NULL},
        {PATTERN("(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\\\\10"), NULL},
        {PATTERN("[\\\\101]"), NULL},
        {PATTERN("\\\\07"), NULL},
        {PATTERN("\\\\101"), NULL},
        {PATTERN("[\\\\1]"), NULL},
        {PATTERN("(?<=a(?=b))c"), NULL},
        {PATTERN("(?<=(?#x)a)c"), NULL},
        {PATTERN("[\\\\x41-\\\\x5a]"), NULL},
        {PATTERN("(?<=\\\\bx)y"), NULL},
        {PATTERN("\\\\a\\\\f\\\\n\\\\r\\\\t\\\\v[\\\\b]"), NULL},
        {PATTERN("[\xC3\xA9-\xC4\x80]"), NULL},
        {PATTERN("(?x)a#("), NULL},
        {PATTERN("(a)\\\\1b"), NULL},
        {PATTERN("(?P<a\\\\"), "look at \"pattern\""},
        {PATTERN("(?#\\\\"), "look at \"pattern\""},
        {PATTERN("[\\\\8]"), "look at \"pattern\""},
        {PATTERN("[\xC3\xAA-\xC3\xA9]"), "look at \"pattern\""},
        {PATTERN("[\xC4\x80-\xC3\xA9]"), "look at \"pattern\""},
        {PATTERN("[\\\\A]"), "look at \"pattern\""},
        {PATTERN("(a)(?(/1)b)"), "look at \"pattern\""},
        {PATTERN("(?<=(?(/1)b|c))"), "look at \"pattern\""},
        {PATTERN("(?(!!!!!!!!!!!!!!!!!!!!!!!!)b)"), "look at \"pattern\""},
        {PATTERN("\\\\8"), "look at \"pattern\""},
        {PATTERN("(?#note"), "look at \"pattern\""},
        {PATTERN("(a)\\\\11"), "look at \"pattern\""},
        {PATTERN("(?=a"), "look at \"pattern\""},
        {PATTERN("(?="), "look at \"pattern\""},
        {PATTERN("[\\\\400]"), "look at \"pattern\""},
        {PATTERN("\\\\400"), "look at \"pattern\""},
        {PATTERN("(?P<n>a)(?P=m)"), "look at \"pattern\""},
        {PATTERN("(?P>"), "look at \"pattern\""},
        {PATTERN("(?~a)"), "look at \"pattern\""},
        {PATTERN("[\\\\q]"), "look at \"pattern\""},
        {PATTERN("\\\\q"), "look at \"pattern\""},
        {PATTERN("(?P"), "look at \"pattern\""},
    };
    (void)state;
    ASK(list);
}

#define TWO_PARTS \
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}," \
    "{\"type\":\"text\",\"text\":\"%s\"}]}"

/* Long texts in parts, turn after turn: each stays what it was. */
static void test_parts(void **state) {
    char x[201], y[201], request[2048], want[1024];
    mr_text text = {0};
    mr_ids ids = {0};
    (void)state;
    memset(x, 'x', 200), memset(y, 'y', 200);
    x[200] = y[200] = '\0';
    snprintf(request, sizeof request, "{\"messages\":[" TWO_PARTS "," ASSISTANT "," TWO_PARTS "]}",
             x, y, y, x);
    snprintf(want, sizeof want, "<s>[INST]%s\n\n%s[/INST]b</s>[INST]%s\n\n%s[/INST]", x, y, y, x);
    mr_tokenizer *t = open_tokenizer("golden/chat/tekken.json");
    assert_int_equal(mr_chat_encode(t, "v3", request, (idx)strlen(request), &text, &ids, NULL),
                     MR_OK);
    assert_string_equal(text.byte, want);
    mr_text_free(&text);
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
}

/* An empty name after texts of any length: wherever it lies, nothing before it is looked at. */
static void test_empty_name(void **state) {
    static char request[8192], filling[4097];
    (void)state;
    mr_tokenizer *t = open_tokenizer("golden/chat/tekken.json");
    for (size_t length = 1; length < sizeof filling; length += 16) {
        memset(filling, 'x', length);
        filling[length] = '\0';
        snprintf(request, sizeof request, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}],"
                 "\"tools\":[" TOOL("") "]}", filling);
        ask(t, "v3", request, "tools[0]: a function name has");
    }
    mr_tokenizer_close(t);
}

/* Half a surrogate pair: mistral-common prints U+FFFD with Tekken; SentencePiece cannot take it. */
static void test_surrogates(void **state) {
    mr_text text = {0};
    mr_ids ids = {0};
    mr_err err = {0};
    const char request[] = USER("\"x\\ud800y\"");
    (void)state;
    mr_tokenizer *t = open_tokenizer("golden/chat/tekken.json");
    assert_int_equal(mr_chat_encode(t, "v3", request, sizeof request - 1, &text, &ids, &err),
                     MR_OK);
    assert_string_equal(text.byte, "<s>[INST]x\xEF\xBF\xBDy[/INST]");
    mr_text_free(&text);
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
    t = open_tokenizer("golden/chat/small.model");
    ask(t, "v3", request, "surrogate without its other half");
    mr_tokenizer_close(t);
}

/* A template and a tokenizer that do not go together. */
static void test_versions(void **state) {
    (void)state;
    mr_tokenizer *t = open_tokenizer("golden/tokenizers/hf_gpt2.json");
    ask(t, "v1", USER("\"a\""), NULL);
    ask(t, NULL, USER("\"a\""), NULL);   /* without control tokens of Mistral it can only be v1 */
    ask(t, "", USER("\"a\""), "does not say which chat template it belongs to; name one: v1, v2");
    ask(t, "v3", USER("\"a\""), "has no token [INST], which the template v3 needs");
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages), cmocka_unit_test(test_choice_and_format),
        cmocka_unit_test(test_schemas),  cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_parts),    cmocka_unit_test(test_empty_name),
        cmocka_unit_test(test_surrogates), cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
