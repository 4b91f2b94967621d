/* Chat templates: golden conversations of mistral-common on small tokenizers, the published ids of
 * the real ones, and what is refused. */
#include "tests/check.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chat.h"

#define SMALL_SPM "golden/chat/small.model"
#define SMALL_TEKKEN "golden/chat/tekken.json"

typedef struct {
    mr_text   text;
    mr_ids    ids;
    mr_err    err;
    mr_status status;
} result;

static mr_tokenizer *open_tokenizer(const char *path) {
    mr_tokenizer *t = NULL;
    mr_err err = {0};
    if (mr_tokenizer_open(path, &t, &err) != MR_OK) fail_msg("%s", err.text);
    return t;
}

static result encode(const mr_tokenizer *t, const char *version, const char *json) {
    result r = {0};
    r.status = mr_chat_encode(t, version, json, (idx)strlen(json), &r.text, &r.ids, &r.err);
    return r;
}

static void release(result *r) {
    mr_text_free(&r->text);
    mr_ids_free(&r->ids);
}

static void check_ids(const result *r, const json_t *want) {
    assert_int_equal(r->ids.count, json_array_size(want));
    for (idx i = 0; i < r->ids.count; i++)
        assert_int_equal(r->ids.id[i], json_integer_value(json_array_get(want, (size_t)i)));
}

/* One line: {"request": text, "text":.., "ids":[..]} or {"request": text, "error": true} */
static bool check_line(const mr_tokenizer *t, const char *version, const char *line) {
    json_error_t reason;
    json_t *golden = json_loads(line, JSON_ALLOW_NUL, &reason);
    if (golden == NULL) fail_msg("%s", reason.text);
    const json_t *request = json_object_get(golden, "request");
    const json_t *text = json_object_get(golden, "text");
    const bool refused = json_object_get(golden, "error") != NULL;
    result r = encode(t, version, json_string_value(request));
    if (refused) {
        assert_int_equal(r.status, MR_BAD);
        assert_int_equal(r.ids.count + r.text.count, 0);
    } else {
        if (r.status != MR_OK) fail_msg("%s\n%s", r.err.text, line);
        assert_int_equal(r.text.count, json_string_length(text));
        assert_memory_equal(r.text.byte, json_string_value(text), (size_t)r.text.count);
        check_ids(&r, json_object_get(golden, "ids"));
    }
    release(&r);
    json_decref(golden);
    return refused;
}

static void check_file(const char *tokenizer, const char *kind, const char *version) {
    static char line[1 << 16];
    char path[128];
    int lines = 0, refused = 0;
    mr_tokenizer *t = open_tokenizer(tokenizer);
    snprintf(path, sizeof path, "golden/chat/%s-%s.jsonl", kind, version);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file) != NULL; lines++) refused += check_line(t, version, line);
    fclose(file);
    mr_tokenizer_close(t);
    assert_true(lines >= 45 && refused >= 10 && lines - refused >= 25);
}

static void test_golden(void **state) {
    static const char *const spm[] = {"v1", "v2", "v3", "v7"};
    static const char *const tekken[] = {"v3", "v7", "v11", "v13"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        check_file(SMALL_SPM, "spm", spm[i]);
        check_file(SMALL_TEKKEN, "tekken", tekken[i]);
    }
}

#define DIALOGUE(system) \
    "{\"messages\":[" system "{\"role\":\"user\",\"content\":\"a\"}," \
    "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}," \
    "{\"role\":\"assistant\",\"content\":\"d\",\"prefix\":true}]}"
#define SYSTEM "{\"role\":\"system\",\"content\":\"SYSTEM\"},"

#define FUNCTION(call) \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"abcdefghi\",\"function\":" call "}]}"
#define RESULT(text) \
    "{\"role\":\"tool\",\"name\":\"f\",\"tool_call_id\":\"abcdefghi\",\"content\":" text "}"

/* The tool conversation of the specification. */
static const char tool_conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
    FUNCTION("{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1.0}\"}") ","
    RESULT("\"{\\\"y\\\": [1,2]}\"") ","
    "{\"role\":\"assistant\",\"content\":\"b \"},{\"role\":\"user\",\"content\":\"c\"},"
    FUNCTION("{\"name\":\"f\",\"arguments\":\"{}\"}") "," RESULT("\"no json\"") "],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}}}}}]}";

static const char tool_ids_v2[] =
    "1 3 1032 4 1055 2 6 1501 7567 1891 2032 1113 3396 1316 1113 3396 2032 10598 1629 2032 1113 "
    "29490 1316 1113 7286 2032 1113 29483 1316 1113 12206 2032 10598 1891 2032 1113 3582 1316 "
    "1113 11491 2032 10598 29512 2032 10598 1891 2032 1113 5578 29507 1743 1743 10925 7 3 1086 "
    "781 781 29485 4 5 1501 7567 1629 2032 1113 29490 1316 1113 17452 2032 1139 1743 29561 2 8 "
    "1501 7567 1629 2032 1113 29490 1316 1113 4557 2032 1113 2278 8379 29507 10925 9";

static const char tool_ids_v3[] =
    "1 3 1032 4 5 1501 7567 1629 2032 1113 29490 1316 1113 17452 2032 10598 29512 2032 29473 "
    "29508 29491 29502 1649 1113 1081 2032 1113 17380 2038 1359 29478 29507 10925 2 8 10598 4557 "
    "2032 10598 29492 2032 1501 29508 29493 29473 29518 29561 1649 1113 3613 29498 1081 2032 "
    "1113 17380 2038 1359 29478 18163 9 1055 2 6 1501 7567 1891 2032 1113 3396 1316 1113 3396 "
    "2032 10598 1629 2032 1113 29490 1316 1113 7286 2032 1113 29483 1316 1113 12206 2032 10598 "
    "1891 2032 1113 3582 1316 1113 11491 2032 10598 29512 2032 10598 1891 2032 1113 5578 29507 "
    "1743 1743 10925 7 3 1086 781 781 29485 4 5 1501 7567 1629 2032 1113 29490 1316 1113 17452 "
    "2032 13450 1113 1081 2032 1113 17380 2038 1359 29478 29507 10925 2 8 10598 4557 2032 1113 "
    "2278 8379 1316 1113 3613 29498 1081 2032 1113 17380 2038 1359 29478 18163 9";

static const char tool_ids_v7[] =
    "1 16 1086 17 3 1032 4 5 1501 7567 1629 2032 1113 29490 1316 1113 17452 2032 10598 29512 "
    "2032 29473 29508 29491 29502 1649 1113 1081 2032 1113 17380 2038 1359 29478 29507 10925 2 8 "
    "19409 2038 1359 29478 18 10598 29492 2032 1501 29508 29493 29518 9973 9 1055 2 6 1501 7567 "
    "1891 2032 1113 3396 1316 1113 3396 2032 10598 1629 2032 1113 29490 1316 1113 7286 2032 1113 "
    "29483 1316 1113 12206 2032 10598 1891 2032 1113 3582 1316 1113 11491 2032 10598 29512 2032 "
    "10598 1891 2032 1113 5578 29507 1743 1743 10925 7 3 1045 4 5 1501 7567 1629 2032 1113 29490 "
    "1316 1113 17452 2032 13450 1113 1081 2032 1113 17380 2038 1359 29478 29507 10925 2 8 19409 "
    "2038 1359 29478 18 1476 8379 9";

/* ids: numbers with blanks between them */
static void check_published(const char *path, const char *json, const char *ids) {
    mr_tokenizer *t = open_tokenizer(path);
    result r = encode(t, NULL, json);
    if (r.status != MR_OK) fail_msg("%s", r.err.text);
    char *next = (char *)(uintptr_t)ids;
    for (idx i = 0; i < r.ids.count; i++) assert_int_equal(r.ids.id[i], strtol(next, &next, 10));
    assert_int_equal(*next, '\0');
    release(&r);
    mr_tokenizer_close(t);
}

static void test_published_dialogues(void **state) {
    (void)state;
    const char *v1 = test_data_file("tokenizers/tokenizer.model.v1");
    check_published(v1, DIALOGUE(""), "1 733 16289 28793 264 733 28748 16289 28793 287 2 733 16289 "
                    "28793 277 733 28748 16289 28793 281");
    check_published(v1, DIALOGUE(SYSTEM), "1 733 16289 28793 17121 22526 13 13 28708 733 28748 "
                    "16289 28793 287 2 733 16289 28793 277 733 28748 16289 28793 281");
    const char *v2 = test_data_file("tokenizers/mistral_instruct_tokenizer_240216.model.v2");
    check_published(v2, DIALOGUE(""), "1 3 1032 4 1055 2 3 1045 4 1049");
    check_published(v2, DIALOGUE(SYSTEM), "1 3 1032 4 1055 2 3 17889 23294 781 781 29485 4 1049");
    const char *v3 = test_data_file("tokenizers/mistral_instruct_tokenizer_240323.model.v3");
    check_published(v3, DIALOGUE(""), "1 3 1032 4 1055 2 3 1045 4 1049");
    check_published(v3, DIALOGUE(SYSTEM), "1 3 1032 4 1055 2 3 17889 23294 781 781 29485 4 1049");
}

static void test_published_tools(void **state) {
    (void)state;
    check_published(test_data_file("tokenizers/mistral_instruct_tokenizer_240216.model.v2"),
                    tool_conversation, tool_ids_v2);
    check_published(test_data_file("tokenizers/mistral_instruct_tokenizer_240323.model.v3"),
                    tool_conversation, tool_ids_v3);
    check_published(test_data_file("tokenizers/mistral_instruct_tokenizer_241114.model.v7"),
                    tool_conversation, tool_ids_v7);
}

#define USER(content) "{\"messages\":[{\"role\":\"user\",\"content\":" content "}]}"
#define SCHEMA(schema) \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[{\"function\":{" \
    "\"name\":\"f\",\"parameters\":" schema "}}]}"
#define PATTERN(pattern) SCHEMA("{\"pattern\":\"" pattern "\"}")

static void test_refusals(void **state) {
    static const struct {
        const char *version, *request, *message;
    } bad[] = {
        {"v3", "", "not JSON"},
        {"v3", "[]", "expected an object"},
        {"v3", "{}", "\"messages\" is missing"},
        {"v3", "{\"messages\":[]}", "at least one message"},
        {"v3", USER("\"\xFF\""), "not UTF-8"},
        {"v3", USER("[{\"type\":\"image_url\",\"image_url\":\"x\"}]"), "\"image_url\" is not"},
        {"v3", USER("[{\"type\":\"input_audio\",\"input_audio\":\"x\"}]"), "not supported"},
        {"v13", USER("[{\"type\":\"thinking\",\"thinking\":\"x\"}]"), "from v13 on"},
        {"v3", USER("\"a\",\"more\":1"), "unknown field \"more\""},
        {"v3", USER("\"\\ud800\""), "surrogate"},
        {"v15", USER("\"a\""), "expected v1, v2"},
        {"v11", SCHEMA("{\"type\":\"text\"}"), "look at \"type\""},
        {"v3", SCHEMA("{\"properties\":{\"a\":{\"minLength\":-1}}}"), "look at \"minLength\""},
        {"v3", PATTERN("("), "look at \"pattern\""},
        {"v3", DIALOGUE("{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"short\"},"),
         "9 letters and digits"},
        {"v1", DIALOGUE("{\"role\":\"tool\",\"content\":\"x\"},"), "from v2 on"},
    };
    (void)state;
    mr_tokenizer *t = open_tokenizer(SMALL_SPM);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        result r = encode(t, bad[i].version, bad[i].request);
        check_refused(r.status, MR_BAD, &r.err, bad[i].message);
        release(&r);
    }
    result r = encode(t, "v13", USER("\"a\""));
    check_refused(r.status, MR_BAD, &r.err, "Tekken");
    release(&r);
    mr_tokenizer_close(t);
}

/* What was there before stays, whether the request is taken or refused. */
static void test_appends(void **state) {
    mr_tokenizer *t = open_tokenizer(SMALL_TEKKEN);
    mr_text text = {0};
    mr_ids ids = {0};
    mr_err err = {0};
    (void)state;
    const char good[] = USER("\"a\""), bad[] = USER("5");
    assert_int_equal(mr_chat_encode(t, NULL, good, sizeof good - 1, &text, &ids, &err), MR_OK);
    assert_string_equal(text.byte, "<s>[INST]a[/INST]");
    assert_int_equal(ids.count, 4);
    assert_int_equal(mr_chat_encode(t, NULL, bad, sizeof bad - 1, &text, &ids, &err), MR_BAD);
    assert_string_equal(text.byte, "<s>[INST]a[/INST]");
    assert_int_equal(ids.count, 4);
    assert_int_equal(mr_chat_encode(t, "v7", good, sizeof good - 1, &text, &ids, NULL), MR_OK);
    assert_string_equal(text.byte, "<s>[INST]a[/INST]<s>[INST]a[/INST]");
    assert_memory_equal(ids.id, ids.id + 4, 4 * sizeof *ids.id);
    mr_text_free(&text);
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
}

/* What Python's re takes, and what it does not. */
static void test_patterns(void **state) {
    static const char *const good[] = {
        PATTERN(""), PATTERN("^[a-z]{2,3}$"), PATTERN("(?P<n>x)(?P=n)"), PATTERN("(?<=ab)c"),
        PATTERN("(?i)x"), PATTERN("[]a]"), PATTERN("a{,3}"), PATTERN("{"), PATTERN("(a)\\\\1"),
        PATTERN("(?x) # ( \\n a*"), PATTERN("(?i-s:a)"), PATTERN("(a)?(?(1)b|c)"), PATTERN("a*+"),
        PATTERN("(?>a)"), PATTERN("(?<!a|b)c"), PATTERN("\\\\N{DIGIT ONE}"),
        PATTERN("(?:a*)*"), PATTERN("a{2"), PATTERN("x|"), PATTERN("[a-]"), PATTERN("(?(1)a)(b)"),
    };
    static const char *const bad[] = {
        PATTERN(")"), PATTERN("["), PATTERN("*a"), PATTERN("a**"), PATTERN("\\\\p{L}"),
        PATTERN("(?<n>x)"), PATTERN("x{3,2}"), PATTERN("[z-a]"), PATTERN("(?<=a+)b"),
        PATTERN("\\\\1"), PATTERN("a(?i)"), PATTERN("\\\\"), PATTERN("(?P<a>x)(?P<a>y)"),
        PATTERN("^*"), PATTERN("(?(2)a)(b)"), PATTERN("(?au)"), PATTERN("(?<=(a)\\\\1)"),
        PATTERN("x{4294967295}"), PATTERN("[\\\\d-z]"), PATTERN("\\\\x4"), PATTERN("(a\\\\1)"),
    };
    mr_tokenizer *t = open_tokenizer(SMALL_TEKKEN);
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
        const bool is_good = i < sizeof good / sizeof *good;
        const char *request = is_good ? good[i] : bad[i - sizeof good / sizeof *good];
        result r = encode(t, NULL, request);
        if (!is_good) check_refused(r.status, MR_BAD, &r.err, "look at \"pattern\"");
        else if (r.status != MR_OK) fail_msg("%s: %s", request, r.err.text);
        release(&r);
    }
    mr_tokenizer_close(t);
}

/* A request cut anywhere is refused and does no harm. */
static void test_cut(void **state) {
    (void)state;
    mr_tokenizer *t = open_tokenizer(SMALL_TEKKEN);
    for (idx size = 0; size < (idx)sizeof tool_conversation - 1; size++) {
        mr_text text = {0};
        mr_ids ids = {0};
        mr_err err = {0};
        char *copy = mr_alloc(size + 1, 1, &err); /* exactly as long as the request */
        copy = mr_resize(copy, size > 0 ? size : 1, 1, &err);
        assert_non_null(copy);
        memcpy(copy, tool_conversation, (size_t)size);
        assert_int_equal(mr_chat_encode(t, "v3", copy, size, &text, &ids, &err), MR_BAD);
        mr_free(copy);
        mr_text_free(&text);
        mr_ids_free(&ids);
    }
    mr_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),          cmocka_unit_test(test_published_dialogues),
        cmocka_unit_test(test_published_tools), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_appends),         cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
