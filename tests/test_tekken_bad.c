/* Bad tekken.json files: every field at its extremes, every kind of inconsistency, every length.
 * All are refused with status 3 and a message that says what is wrong. */
#include "tests/tekken_file.h"

#include "tests/colliding.h"

/* The file as it is now. */
static void refused(const char *reason) {
    mr_err err = {0};
    mr_tokenizer *t;
    mr_status status = tekken_open(&t, &err);
    check_refused(status, MR_BAD, &err, reason);
    assert_null(t);
    check_refused(tekken_open(&t, NULL), MR_BAD, &err, "");
}

/* The good file with one part replaced: what is replaced, by what, and why it is refused. */
typedef struct {
    const char *old, *new, *reason;
} change;

/* What 64 bits hold and 32 do not. */
#if PTRDIFF_MAX > INT32_MAX
#define WIDE(reason) reason
#else
#define WIDE(reason) "an integer is too large"
#endif

static const change changes[] = {
    {"\"config\":{", "\"other\":{", "expected a tekken.json with \"config\""},
    {"\"config\":{", "\"config\":null,\"x\":{", "found"},
    {"\"config\":{", "\"config\":1,\"config\":{", "found"},
    {"\"config\":{", "\"config\":{},\"config\":{", "\"config\" twice"},
    {"\"vocab\":[", "\"vocab\":{},\"x\":[", "a list was expected"},
    {"\"vocab\":[", "\"vocab\":[],\"vocab\":[", "\"vocab\" twice"},
    {"\"vocab\":[", "\"vocab\":[],\"x\":[", "vocab has 0 entries"},
    {"\"vocab\":[", "\"vocab\":[{},", "\"rank\" and \"token_bytes\" once each, found 0 and 0"},
    {"\"vocab\":[", "\"vocab\":[0,", "an object was expected"},
    {"\"vocab\":[", "\"vocabulary\":[", "with \"vocab\", found none"},
    /* version and pattern */
    {"\"version\":\"v3\"", "\"version\":\"v4\"", "config.version is \"v4\""},
    {"\"version\":\"v3\"", "\"version\":\"\"", "config.version is \"\""},
    {"\"version\":\"v3\"", "\"version\":3", "a string was expected"},
    {"\"version\":\"v3\"", "\"version\":\"v3\",\"version\":\"v3\"", "\"version\" twice"},
    {",\"version\":\"v3\"", "", "at least one is missing"},
    {"\"version\":\"v3\"", "\"version\":\"v11\"", "has no special_tokens"},
    {"|\\\\p{N}|", "|\\\\p{N}{1,3}|", "config.pattern is not the split pattern"},
    {"\"pattern\":\"", "\"pattern\":\"\\u0020", "config.pattern is not the split pattern"},
    {"\"pattern\":", "\"pattern\":null,\"x\":", "a string was expected"},
    {"\"pattern\":", "\"x\":", "at least one is missing"},
    /* sizes */
    {"_vocab_size\":284", "_vocab_size\":277", "expected at most 1048576 and at least 256"},
    {"_vocab_size\":284", "_vocab_size\":286", "vocab has 263 entries, but 264 of 286"},
    {"_vocab_size\":284", "_vocab_size\":0", "default_vocab_size is 0"},
    {"_vocab_size\":284", "_vocab_size\":-1", "default_vocab_size is -1"},
    {"_vocab_size\":284", "_vocab_size\":-9223372036854775807", WIDE("expected at most")},
    {"_vocab_size\":284", "_vocab_size\":9223372036854775807", WIDE("expected at most")},
    {"_vocab_size\":284", "_vocab_size\":9223372036854775808", "an integer is too large"},
    {"_vocab_size\":284", "_vocab_size\":4294967580", WIDE("expected at most")},
    {"_vocab_size\":284", "_vocab_size\":1048577", "expected at most"},
    {"_vocab_size\":284", "_vocab_size\":1048576", "but the file has only"},
    {"_vocab_size\":284", "_vocab_size\":284.0", "without point"},
    {"_vocab_size\":284", "_vocab_size\":\"284\"", "an integer was expected"},
    {"_vocab_size\":284", "_vocab_size\":null", "an integer was expected"},
    {"_tokens\":22", "_tokens\":19", "but 265 of 284 ids are not special"},
    {"_tokens\":22", "_tokens\":29", "at least 256 others"},
    {"_tokens\":22", "_tokens\":-1", "with -1 special"},
    {"_tokens\":22", "_tokens\":-9223372036854775807", WIDE("at least 256 others")},
    {"_tokens\":22", "_tokens\":9223372036854775807", WIDE("at least 256 others")},
    /* entries */
    {"\"rank\":7,", "\"rank\":8,", "vocab[7] has rank 8"},
    {"\"rank\":7,", "\"rank\":-7,", "vocab[7] has rank -7"},
    {"\"rank\":7,", "\"rank\":6,", "vocab[7] has rank 6"},
    {"\"rank\":7,", "\"rank\":4294967303,", WIDE("vocab[7] has rank 4294967303")},
    {"\"rank\":7,", "\"rank\":7.0,", "without point"},
    {"\"rank\":7,", "\"rank\":null,", "an integer was expected"},
    {"\"rank\":7,", "", "vocab[7] must have"},
    {"\"rank\":7,", "\"rank\":7,\"rank\":7,", "found 2 and 1"},
    {"\"rank\":7,\"token_bytes\"", "\"rank\":7,\"bytes\"", "found 1 and 0"},
    {"\"Bw==\"", "\"Bw==\",\"token_bytes\":\"Bw==\"", "found 1 and 2"},
    {"\"Bw==\"", "null", "a string was expected"},
    {"\"Bw==\"", "\"Bg==\"", "vocab[7] must be the single byte 0x07"},
    {"\"Bw==\"", "\"Bwcc\"", "vocab[7] must be the single byte"},
    {"\"Bw==\"", "\"\"", "vocab[7]: token_bytes is not base64"},
    {"\"Bw==\"", "\"Bw=\"", "not base64"},
    {"\"Bw==\"", "\"Bw\"", "not base64"},
    {"\"Bw==\"", "\"B===\"", "not base64"},
    {"\"Bw==\"", "\"====\"", "not base64"},
    {"\"Bw==\"", "\"B!==\"", "not base64"},
    {"\"Bw==\"", "\"Bw==Bw==\"", "not base64"},
    {"\"Bw==\"", "\"Bw= \"", "not base64"},
    {"\"Bw==\"", "\"B-==\"", "not base64"},
    {"\"Bw==\"", "\"\\ud83d\"", "no base64"},
    {"\"Pz8=\"", "\"YWJj\"", "vocab[257] and vocab[261] are equal"},
    {"\"Pz8=\"", "\"AA==\"", "vocab[0] and vocab[261] are equal"},
    /* around the list; the syntax of what is not used counts too */
    {"\"Y3V0\"", "\"Y3V0\xFF\"", "not UTF-8"},
    {"\"rank\":262,", "\"rank\":262,,", "a string was expected"},
    {"\"num_vocab_tokens\":263", "\"num_vocab_tokens\":0263", "a number was expected"},
    {"{\"config\"", "[{\"config\"", "another or a damaged JSON file"},
};

static void test_fields(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        tekken_write("v3", "");
        tekken_edit(changes[i].old, changes[i].new);
        refused(changes[i].reason);
    }
}

/* Further sections, and which versions may have them. */
static void test_sections(void **state) {
    static const struct {
        const char *version, *more, *reason;
    } cases[] = {
        {"v13", ",\"multimodal\":{},\"special_tokens\":[]", "\"multimodal\", which ended with v11"},
        {"v13", ",\"model_settings_builder\":{},\"special_tokens\":[]",
         "tekken.json: has \"model_settings_builder\", which version v13 does not know"},
        {"v15", "", "has no special_tokens"},
        {"v7", ",\"special_tokens\":{}", "a list was expected"},
        {"v7", ",\"special_tokens\":[1]", "an object was expected"},
        {"v7", ",\"special_tokens\":[{\"rank\":1,\"token_str\":\"a\"}]", "[0] has rank 1"},
        {"v7", ",\"special_tokens\":[{\"rank\":0,\"token_str\":null}]", "a string was expected"},
        {"v7", ",\"special_tokens\":[{\"rank\":0}]", "once each, found 1 and 0"},
        {"v7", ",\"special_tokens\":[{\"rank\":0,\"token_str\":\"\\udc00\"}]",
         "special_tokens[0] is half of a surrogate pair or longer than 65536 bytes"},
        {"v7", ",\"special_tokens\":[{\"rank\":0,\"token_str\":\"a\"},"
               "{\"rank\":1,\"token_str\":\"a\"}]",
         "special_tokens[0] and special_tokens[1] are equal"},
        {"v7", ",\"special_tokens\":[{\"rank\":0,\"token_str\":\"<SPECIAL_21>\"}]", "[21] are"},
        {"v3", ",\"image\":[", "a value was expected"},
        {"v3", "} ", "something follows"},
        {"v3", ",\"image\":nul", "a value was expected"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tekken_write(cases[i].version, cases[i].more);
        refused(cases[i].reason);
    }
    tekken_write("v3", ""); /* the names that a file without a list has do not fit */
    tekken_edit("_tokens\":22", "_tokens\":19");
    tekken_edit("_vocab_size\":284", "_vocab_size\":281");
    refused("more special tokens than default_num_special_tokens, which is 19");
    tekken_write("v7", ",\"special_tokens\":[");
    tekken.size -= 1; /* without the last brace */
    for (int i = 0; i < 23; i++)
        tekken_put("%s{\"rank\":%d,\"token_str\":\"<%d>\"}", i > 0 ? "," : "", i, i);
    tekken_put("]}");
    refused("more special tokens than default_num_special_tokens, which is 22");
}

static void test_long_token(void **state) {
    static char long_token[(1 << 16) + 2];
    (void)state;
    static struct {
        char byte[1 << 18];
    } file;
    for (int extra = 0; extra < 2; extra++) {
        int bytes = (1 << 16) + extra;
        memset(long_token, 'x', sizeof long_token);
        tekken_write("v3", "");
        char *at = strstr(tekken.text, "\"Pz8=\"");
        int size = snprintf(file.byte, sizeof file.byte, "%.*s\"", (int)(at - tekken.text),
                            tekken.text);
        for (int i = 0; i < (bytes + 2) / 3; i++)
            size += snprintf(file.byte + size, 5, "%s", i < bytes / 3 ? "eHh4"
                                                        : bytes % 3 == 1 ? "eA==" : "eHg=");
        size += snprintf(file.byte + size, sizeof file.byte - (size_t)size, "\"%s", at + 6);
        mr_err err = {0};
        mr_tokenizer *t;
        const char *path = scratch_write("tekken.json", file.byte, (size_t)size);
        mr_status status = mr_tokenizer_open(path, &t, &err);
        if (extra == 0) assert_int_equal(status, MR_OK);
        else check_refused(status, MR_BAD, &err, "not base64 of 1 to 65536 bytes");
        mr_tokenizer_close(t);
    }
}

/* Cut at every byte: never a crash, never a tokenizer. One byte changed: a message, or a good
 * one. */
static void test_damage(void **state) {
    static char whole[sizeof tekken.text];
    mr_tokenizer *t;
    (void)state;
    tekken_write("v7", ",\"special_tokens\":[{\"rank\":0,\"token_str\":\"\\u005bX]\"}]");
    const int size = tekken.size;
    memcpy(whole, tekken.text, (size_t)size);
    for (int cut = 0; cut < size; cut++) {
        mr_err err = {0};
        tekken.size = cut;
        check_refused(tekken_open(&t, &err), MR_BAD, &err, "");
    }
    tekken.size = size;
    for (int at = 0; at < size; at += 7) {
        mr_err err = {0};
        tekken.text[at] = (char)(whole[at] + 1 + at % 255);
        mr_status status = tekken_open(&t, &err);
        assert_true(status == MR_OK || (status == MR_BAD && err.text[0] != '\0'));
        mr_tokenizer_close(t);
        tekken.text[at] = whole[at];
    }
}

/* Which file of a folder is taken. */
static void test_folder(void **state) {
    mr_err err = {0};
    mr_tokenizer *t;
    (void)state;
    scratch_files(true);
    tekken_write("v3", "");
    scratch_write("tekken.json", tekken.text, (size_t)tekken.size);
    scratch_write("tokenizer.json", "{}", 2); /* Hugging Face's copy, not looked at */
    assert_int_equal(mr_tokenizer_open(scratch_folder, &t, &err), MR_OK);
    assert_string_equal(mr_tokenizer_kind(t), "tekken");
    mr_tokenizer_close(t);
    scratch_write("tokenizer.model", "x", 1);
    check_refused(mr_tokenizer_open(scratch_folder, &t, &err), MR_BAD, &err,
                  "has both tokenizer.model and tekken.json");
    scratch_files(true);
    err = (mr_err){0};
    scratch_write("tokenizer.json", "[]", 2);
    check_refused(mr_tokenizer_open(scratch_folder, &t, &err), MR_BAD, &err, "tokenizer.json: ");
}

/* A vocabulary made to be slow: more pieces of one hash than a look-up may try. */
static void test_colliding(void **state) {
    enum { MANY = MR_PROBE_MAX + 2 };
    char text[32];
    (void)state;
    tekken_write("v3", "");
    snprintf(text, sizeof text, "_vocab_size\":%d", TEKKEN_SPECIAL + 256 + MANY);
    tekken_edit("_vocab_size\":284", text);
    char *end = strstr(tekken.text, ",{\"rank\":256,");
    assert_non_null(end);
    tekken.size = (int)(end - tekken.text);
    for (int i = 0; i < MANY; i++) {
        char piece[COLLIDING];
        colliding(piece, 7919 * (uint64_t)i + 1), tekken_entry(256 + i, piece, COLLIDING);
    }
    tekken_put("]}");
    refused("collides with more than 512 others; this vocabulary was made to be slow");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields), cmocka_unit_test(test_sections),
        cmocka_unit_test(test_long_token), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_folder), cmocka_unit_test(test_colliding),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
