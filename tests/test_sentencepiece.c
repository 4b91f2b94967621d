/* SentencePiece: golden ids of the real models, and every rule on models made here by hand.
 *
 * The real models are test data from outside; without them those tests are skipped by name. All
 * expected ids come from the sentencepiece library, not from this program. */
#include "tests/scratch.h"

#include "tokenizer/tokenizer.h"

#define SP "\xE2\x96\x81" /* U+2581, how a piece writes a space */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

/* A model file, written field by field. */
static struct {
    char byte[1 << 22];
    idx  count;
} file;

static void put(const char *bytes, idx count) {
    assert_true(file.count + count <= (idx)sizeof file.byte);
    memmove(file.byte + file.count, bytes, (size_t)count);
    file.count += count;
}

/* A fixed width in bytes is legal for a varint: it lets a length be filled in afterwards. */
static void put_varint(uint64_t value, int width) {
    for (; value > 127 || width > 1; value >>= 7, width--)
        put((char[]){(char)((value & 127) | 128)}, 1);
    put((char[]){(char)value}, 1);
}

static void put_number(unsigned number, uint64_t value) {
    put_varint(number << 3, 1);
    put_varint(value, 1);
}

static void put_bytes(unsigned number, const char *bytes, idx count) {
    put_varint(number << 3 | 2, 1);
    put_varint((uint64_t)count, 3);
    put(bytes, count);
}

/* Turns what follows `from` into a message of that field. */
static void close_message(unsigned number, idx from) {
    static char inside[sizeof file.byte];
    idx size = file.count - from;
    memcpy(inside, file.byte + from, (size_t)size);
    file.count = from;
    put_bytes(number, inside, size);
}

static void put_piece(const char *piece, idx bytes, float score, int type) {
    idx from = file.count;
    uint32_t word;
    memcpy(&word, &score, 4);
    put_bytes(1, piece, bytes);
    put_varint(2 << 3 | 5, 1);
    for (int i = 0; i < 4; i++) put((char[]){(char)(word >> 8 * i)}, 1);
    if (type != NORMAL) put_number(3, (uint64_t)type); /* NORMAL is the default */
    close_message(1, from);
}

#define PIECE(text, score, type) put_piece(text, (idx)sizeof text - 1, score, type)

/* Starts a file with settings as in the Mistral files (identity, nothing trimmed), the reserved
 * pieces and `bytes` byte pieces. */
static void start(unsigned model_type, bool byte_fallback, int bytes) {
    file.count = 0;
    put_number(3, model_type);
    put_number(35, byte_fallback);
    put_number(43, UINT64_MAX); /* pad_id -1 takes ten bytes; not a field we use */
    close_message(2, 0);
    put_bytes(3, "\n\bidentity\x20", 12); /* field 1 the name, field 4 (trimming) = 0 */
    PIECE("<unk>", 0, UNKNOWN);
    PIECE("<s>", 0, CONTROL);
    PIECE("</s>", 0, CONTROL);
    for (int i = 0; i < bytes; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i & 255);
        put_piece(name, 6, 0, BYTE);
    }
}

/* The model of most tests. Byte pieces have ids 3 to 258; d, e and f are no pieces. */
static void tiny(void) {
    start(2, true, 256);
    PIECE(SP, -9, NORMAL), PIECE("a", -9, NORMAL), PIECE("b", -9, NORMAL);        /* 259 260 261 */
    PIECE("ab", -1, NORMAL), PIECE("ba", -1, NORMAL);                    /* 262 263: equal score */
    PIECE("aba", -2, NORMAL), PIECE(SP "a", -3, NORMAL);                              /* 264 265 */
    PIECE("[X]", 0, USER), PIECE("[X]a", 0, USER);                                    /* 266 267 */
    PIECE("cd", -1, UNUSED), PIECE("cde", -2, UNUSED), PIECE("cdef", -3, NORMAL); /* 268 269 270 */
    PIECE("c", -9, NORMAL), PIECE("\xC3\xA9", -9, NORMAL);                            /* 271 272 */
}

/* Opens what was written. The name can state the version. */
static mr_status open_file(const char *name, mr_tokenizer **t, mr_err *err) {
    return mr_tokenizer_open(scratch_write(name, file.byte, (size_t)file.count), t, err);
}

static mr_tokenizer *good(const char *name) {
    mr_err err = {0};
    mr_tokenizer *t;
    if (open_file(name, &t, &err) != MR_OK) fail_msg("%s", err.text);
    return t;
}

static void refused(const char *name, const char *reason) {
    mr_err err = {0};
    mr_tokenizer *t;
    check_refused(open_file(name, &t, NULL), MR_BAD, &err, "");
    check_refused(open_file(name, &t, &err), MR_BAD, &err, reason);
    assert_null(t);
}

/* Compared as text, so that a failure shows both lists. */
static void ids_are(const mr_tokenizer *t, const char *text, idx bytes, const char *want) {
    mr_ids ids = {0};
    char got[1024] = "";
    size_t at = 0;
    assert_int_equal(mr_tokenizer_encode(t, text, bytes, &ids, NULL), MR_OK);
    for (idx i = 0; i < ids.count && at + 16 < sizeof got; i++)
        at += (size_t)snprintf(got + at, 16, i > 0 ? " %d" : "%d", (int)ids.id[i]);
    assert_string_equal(got, want);
    mr_ids_free(&ids);
}

static void text_is(const mr_tokenizer *t, const int32_t *ids, idx count, const char *want) {
    mr_text text = {0};
    assert_int_equal(mr_tokenizer_decode(t, ids, count, &text, NULL), MR_OK);
    assert_string_equal(text.byte, want);
    mr_text_free(&text);
}

#define IDS(t, text, want) ids_are(t, text, (idx)sizeof text - 1, want)
#define TEXT(t, want, ...) \
    text_is(t, (int32_t[]){__VA_ARGS__}, (idx)(sizeof (int32_t[]){__VA_ARGS__} / 4), want)

/* Skips the running test, and says so, where there are no real models. */
static mr_tokenizer *real(const char *name, const char *version) {
    mr_err err = {0};
    mr_tokenizer *t;
    if (mr_tokenizer_open(test_data_file(name), &t, &err) != MR_OK) fail_msg("%s", err.text);
    assert_string_equal(mr_tokenizer_version(t), version);
    return t;
}

static void test_golden_v1_and_small(void **state) {
    (void)state;
    mr_tokenizer *t = real("tokenizers/tokenizer.model.v1", "v1");
    IDS(t, "This is a test", "851 349 264 1369");
    IDS(t, "", "");
    IDS(t, "a", "264");
    IDS(t, " a", "28705 264");
    IDS(t, "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", "28705 29142 29119 30321");
    IDS(t, "\xF0\x9F\x99\x82", "28705 29340");
    IDS(t, "1234", "28705 28740 28750 28770 28781");
    IDS(t, "\n", "28705 13");
    IDS(t, "  hello", "259 6312 28709");
    IDS(t, "def f(x):\n    return x", "801 285 28732 28744 1329 13 2287 604 1318");
    TEXT(t, "Hello World", 1, 22557, 3304, 2);
    mr_tokenizer_close(t);
    t = real("dreams-260k", "v1"); /* a folder */
    IDS(t, "Patterns blur", "429 470 268 373 389 291");
    mr_tokenizer_close(t);
}

static void test_golden_v2_v3_v7(void **state) {
    static const char *const name[3] = {"240216.model.v2", "240323.model.v3", "241114.model.v7"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "tokenizers/mistral_instruct_tokenizer_%s", name[i]);
        mr_tokenizer *t = real(path, strrchr(name[i], '.') + 1);
        IDS(t, "This is a test", "1619 1117 1032 2137");
        IDS(t, "Hello World\n", "23325 4072 781");
        IDS(t, "<s> [INST]", "1291 29481 29535 1501 17057 29561"); /* no control piece */
        if (i > 0) IDS(t, "x[REFERENCE_DOC_1]", "2086 769");       /* v3 and v7 know this one */
        mr_tokenizer_close(t);
    }
}

static void test_encode(void **state) {
    (void)state;
    tiny();
    mr_tokenizer *t = good("x.model");
    IDS(t, "", "");
    IDS(t, "a a  a", "265 265 259 265"); /* every space is kept, the dummy one comes first */
    IDS(t, "baba", "259 263 263");       /* equal scores: from the left */
    IDS(t, "aba", "259 264");            /* "ab", which makes the candidate "ba" stale */
    IDS(t, "z\xC3\xA9\t", "259 125 272 12");
    IDS(t, "\xE6\x97\xA5", "259 233 154 168"); /* one byte piece per byte */
    IDS(t, "a\0b", "265 3 261");
    IDS(t, "\xFF\xE6\x97", "259 242 194 192 242 194 192 242 194 192"); /* U+FFFD per bad byte */
    IDS(t, "<s><0x0A>", "259 63 118 65 63 51 123 51 68 65");           /* no control, no byte */
    IDS(t, "a[X]b[X]ab", "265 266 261 267 261"); /* longest first, never merged with a or b */
    IDS(t, "cdefcde", "259 270 271 103 104");    /* unused: a step to 270, but never written */
    assert_int_equal(mr_tokenizer_encode(t, "a", -1, &(mr_ids){0}, NULL), MR_BAD);
    mr_tokenizer_close(t);
}

static void test_decode(void **state) {
    (void)state;
    tiny();
    mr_tokenizer *t = good("x.model");
    mr_text text = {0};
    mr_err err = {0};
    text_is(t, NULL, 0, "");
    TEXT(t, "ab a", 1, 265, 261, 265, 2);
    TEXT(t, " a", 259, 265); /* the dummy prefix goes once */
    TEXT(t, "a \xE2\x81\x87 \xE6\x97\xA5", 260, 0, 233, 154, 168);
    TEXT(t, "\xEF\xBF\xBD\xEF\xBF\xBD" "A a", 233, 154, 68, 265); /* bytes first: nothing goes */
    assert_int_equal(mr_tokenizer_decode(t, (int32_t[]){265}, 1, &text, &err), MR_OK);
    assert_int_equal(mr_tokenizer_decode(t, (int32_t[]){265}, 1, &text, &err), MR_OK);
    assert_int_equal(mr_tokenizer_decode(t, (int32_t[]){260, 273}, 2, &text, &err), MR_BAD);
    assert_non_null(strstr(err.text, "id 273"));
    assert_string_equal(text.byte, "aa"); /* appended; the failure left it alone */
    mr_text_free(&text);
    assert_memory_equal(mr_tokenizer_piece(t, 265, NULL), SP "a", 4);
    assert_null(mr_tokenizer_piece(t, 273, NULL));
    assert_int_equal(mr_tokenizer_bos(t) + 10 * mr_tokenizer_eos(t), 21);
    mr_tokenizer_close(t);
}

/* 1,500 levels of unused pieces, 10,000 letters: no recursion, no quadratic step; and the other
 * settings: no byte fallback (one unknown per run), spaces trimmed, version in the name. */
static void test_deep_and_settings(void **state) {
    static char word[10001];
    mr_ids ids = {0};
    (void)state;
    memset(word, 'a', 10000);
    start(2, false, 0);
    put_bytes(3, "\x20\x01", 2); /* a later message overrides: trimming on */
    PIECE(SP, -9, NORMAL), PIECE("a", -9, NORMAL);
    for (int i = 2; i < 1500; i++) put_piece(word, i, (float)-i, UNUSED);
    mr_tokenizer *t = good("x.model.v7m1");
    assert_string_equal(mr_tokenizer_version(t), "v7");
    assert_int_equal(mr_tokenizer_encode(t, word, 10000, &ids, NULL), MR_OK);
    assert_int_equal(ids.count, 10001);
    IDS(t, "  a  xyz ", "3 4 3 0");
    IDS(t, "   ", "");
    mr_ids_free(&ids);
    mr_tokenizer_close(t);
}

#define REFUSED(reason, ...) start(2, false, 0), __VA_ARGS__, refused("x.model", reason)

static void test_bad_models(void **state) {
    (void)state;
    start(1, false, 0), refused("x.model", "unigram");
    start(2, true, 255), refused("x.model", "<0xFF>");
    start(2, true, 257), refused("x.model", "pieces 3 and 259 are equal");
    start(2, false, 1), refused("x.model", "byte_fallback is off");
    start(2, false, 0), refused("x.model.v9", "version v9");
    file.count = 0, put_number(3, 2), close_message(2, 0), PIECE("a", 0, NORMAL);
    refused("x.model", "no piece has type UNKNOWN");
    file.count = 0, refused("x.model", "empty file");
    put("{}", 2), refused("x.model", "JSON");
    REFUSED("has 0 pieces", file.count = 0, put_number(9, 1));
    REFUSED("both have type UNKNOWN", PIECE("<u>", 0, UNKNOWN));
    REFUSED("type 7", PIECE("a", 0, 7));
    REFUSED("empty", PIECE("", 0, NORMAL));
    REFUSED("not a number", PIECE("a", strtof("nan", NULL), NORMAL));
    REFUSED("65537 bytes", put_piece(file.byte, 65537, 0, NORMAL));
    REFUSED("wire type 0", put_number(1, 1));
    REFUSED("wire type 0", put_number(2, 1));
    REFUSED("precompiled_charsmap", put_bytes(3, "\x12\x01x", 3));
    REFUSED("denormalizer_spec has a precompiled_charsmap", put_bytes(5, "\x12\x01x", 3));
    REFUSED("64 bits", put("\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11));
    REFUSED("longer than", put("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11));
    REFUSED("number is out of range", put("\x00\x01", 2));
    for (file.count = 0; file.count < (2 << 20) + 2;) put("\n\0", 2);
    refused("x.model", "1048577 pieces"); /* decided before memory is asked for */
}

/* Cut at every byte, and one byte changed at a time: a message or a smaller model, no crash. */
static void test_damage(void **state) {
    mr_tokenizer *t;
    (void)state;
    tiny();
    for (idx whole = file.count, at = 0; at < 2 * whole; at++) {
        mr_err err = {0};
        char *byte = &file.byte[at / 2], kept = *byte;
        file.count = at % 2 ? at / 2 : whole;
        *byte = (char)(kept + 1 + at % 255);
        mr_status status = open_file("x.model", &t, &err);
        assert_true(status == MR_OK || (status == MR_BAD && err.text[0] != '\0'));
        if (status == MR_OK) ids_are(t, NULL, 0, "");
        mr_tokenizer_close(t);
        *byte = kept;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_v1_and_small), cmocka_unit_test(test_golden_v2_v3_v7),
        cmocka_unit_test(test_encode), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_deep_and_settings), cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
