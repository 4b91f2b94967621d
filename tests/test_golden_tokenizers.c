/* Every golden/tokenizers/NAME.jsonl against the tokenizer NAME.model or NAME.json: ids of texts,
 * text of ids, and the same text again from a stream. The expected values come from the original
 * libraries (golden/make_tokenizers.py). */
#include "tests/scratch.h"

#include <jansson.h>

#include "tokenizer/base64.h"
#include "tokenizer/tokenizer.h"

#define FOLDER "golden/tokenizers/"

typedef struct {
    mr_tokenizer *tokenizer;
    const char   *name;
    int           line;
    mr_ids        ids;
    mr_text       text;
} sample;

static void ids_are(const sample *s, const json_t *want) {
    bool same = (size_t)s->ids.count == json_array_size(want);
    for (idx i = 0; same && i < s->ids.count; i++)
        same = json_integer_value(json_array_get(want, (size_t)i)) == s->ids.id[i];
    if (!same) fail_msg("%s:%d: the ids differ", s->name, s->line);
}

static void text_is(const sample *s, const json_t *want, const char *how) {
    if (s->text.count != (idx)json_string_length(want)
        || memcmp(s->text.byte, json_string_value(want), (size_t)s->text.count) != 0)
        fail_msg("%s:%d: %s differs", s->name, s->line, how);
}

static void encode(sample *s, const json_t *request, const json_t *want) {
    const json_t *text = json_object_get(request, "text");
    const char *b64 = json_string_value(json_object_get(request, "bytes_b64"));
    mr_text bytes = {0};
    mr_err err = {0};
    mr_status status = MR_OK;
    s->ids.count = 0;
    if (text != NULL) {
        status = mr_tokenizer_encode(s->tokenizer, json_string_value(text),
                                     (idx)json_string_length(text), &s->ids, &err);
    } else if (b64 != NULL) {
        assert_int_equal(mr_base64_decode(b64, &bytes, &err), MR_OK);
        status = mr_tokenizer_encode(s->tokenizer, bytes.byte, bytes.count, &s->ids, &err);
    } else {
        size_t i;
        json_t *id;
        mr_ids_free(&s->ids);
        s->ids.id = mr_alloc((idx)json_array_size(want), (idx)sizeof *s->ids.id, NULL);
        s->ids.room = (idx)json_array_size(want);
        json_array_foreach(want, i, id) s->ids.id[s->ids.count++] = (int32_t)json_integer_value(id);
    }
    if (status != MR_OK) fail_msg("%s:%d: %s", s->name, s->line, err.text);
    mr_text_free(&bytes);
}

static void decode(sample *s, const json_t *want) {
    mr_stream stream = {0};
    s->text.count = 0;
    assert_int_equal(mr_tokenizer_decode(s->tokenizer, s->ids.id, s->ids.count, &s->text, NULL),
                     MR_OK);
    text_is(s, want, "the text");
    s->text.count = 0;
    for (idx i = 0; i < s->ids.count; i++)
        assert_int_equal(mr_tokenizer_stream(s->tokenizer, &stream, s->ids.id[i], &s->text, NULL),
                         MR_OK);
    assert_int_equal(mr_tokenizer_stream_end(s->tokenizer, &stream, &s->text, NULL), MR_OK);
    text_is(s, want, "the streamed text");
}

/* The tokenizer file of the same stem. */
static mr_tokenizer *open_beside(const char *name) {
    static const char *const endings[] = {"model", "json"};
    mr_tokenizer *tokenizer = NULL;
    for (int i = 0; i < 2 && tokenizer == NULL; i++) {
        mr_err err = {0};
        char path[512];
        int stem = (int)(strrchr(name, '.') - name);
        snprintf(path, sizeof path, FOLDER "%.*s.%s", stem, name, endings[i]);
        if (access(path, F_OK) != 0) continue;
        if (mr_tokenizer_open(path, &tokenizer, &err) != MR_OK) fail_msg("%s", err.text);
    }
    if (tokenizer == NULL) fail_msg("%s: there is no tokenizer beside it", name);
    return tokenizer;
}

static void check_file(const char *name) {
    char path[512], line[1 << 16];
    sample s = {.tokenizer = open_beside(name), .name = name};
    snprintf(path, sizeof path, FOLDER "%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        json_t *request = json_loads(line, JSON_ALLOW_NUL, NULL);
        s.line++;
        if (request == NULL) fail_msg("%s:%d: not JSON", name, s.line);
        const json_t *ids = json_object_get(request, "ids");
        encode(&s, request, ids);
        ids_are(&s, ids);
        decode(&s, json_object_get(request, "decoded"));
        json_decref(request);
    }
    fclose(file);
    mr_ids_free(&s.ids);
    mr_text_free(&s.text);
    mr_tokenizer_close(s.tokenizer);
    if (s.line < 500) fail_msg("%s: only %d lines, expected 500 or more", name, s.line);
}

static void test_all(void **state) {
    int files = 0;
    DIR *folder = opendir(FOLDER);
    (void)state;
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder)) != NULL; ) {
        const char *ending = strrchr(e->d_name, '.');
        if (ending == NULL || strcmp(ending, ".jsonl") != 0) continue;
        check_file(e->d_name);
        files++;
    }
    closedir(folder);
    assert_true(files >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
