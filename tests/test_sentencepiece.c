/* SentencePiece: golden ids of the real models, and every rule on models made here by hand.
 *
 * The real models are test data from outside; without them those tests are skipped by name. All
 * expected ids come from the sentencepiece library, not from this program. */
#include "tests/sentencepiece_file.h"

#include "tests/colliding.h"

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
    assert_non_null(strstr(err.text, "id 273 (number 2 of 2) is out of range: this tokenizer has "
                           "ids 0 to 272"));
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

/* The first piece counts like any other: here it is the one that only v7 has. */
static void test_first_piece(void **state) {
    (void)state;
    file.count = 0, put_number(3, 2), close_message(2, 0);
    PIECE("[SYSTEM_PROMPT]", 0, CONTROL), PIECE("<unk>", 0, UNKNOWN);
    mr_tokenizer *t = good("x.model");
    assert_string_equal(mr_tokenizer_version(t), "v7");
    assert_int_equal(mr_tokenizer_control(t, "[SYSTEM_PROMPT]"), 0);
    assert_int_equal(mr_tokenizer_control(t, "<unk>"), -1);
    assert_int_equal(mr_tokenizer_control(t, "<s>"), -1);
    mr_tokenizer_close(t);
}

/* The trainer may have renamed the special pieces, and says so; a file's name may say the version.
 * What comes out is what Google's sentencepiece makes of the same bytes. */
static void test_names(void **state) {
    (void)state;
    file.count = 0;
    put_number(3, 2), put_bytes(44, "?", 1), put_bytes(46, "<go>", 4), put_bytes(47, "<end>", 5);
    close_message(2, 0);
    PIECE("<unk>", 0, UNKNOWN), PIECE("<s>", 0, CONTROL), PIECE("<go>", 0, CONTROL);
    PIECE("<end>", 0, CONTROL), PIECE("a", 0, NORMAL);
    mr_tokenizer *t = good("x.model.v1");
    assert_int_equal(mr_tokenizer_bos(t), 2);
    assert_int_equal(mr_tokenizer_eos(t), 3);
    assert_string_equal(mr_tokenizer_version(t), "v1");
    text_is(t, (int32_t[]){4, 0, 4}, 3, "a?a");
    mr_tokenizer_close(t);
    t = good("x.model.v2");
    assert_string_equal(mr_tokenizer_version(t), "v2");
    mr_tokenizer_close(t);
}

#define REFUSED(reason, ...) start(2, false, 0), __VA_ARGS__, refused("x.model", reason)

static void test_bad_models(void **state) {
    (void)state;
    start(1, false, 0), refused("x.model", "unigram");
    start(2, true, 255), refused("x.model", "<0xFF>");
    start(2, true, 257), refused("x.model", "pieces 3 and 259 are equal");
    start(2, true, 255), put_piece("<0yFF>", 6, 0, BYTE);
    refused("x.model", "piece 258 has type BYTE");
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
    for (unsigned number = 44; number <= 47; number += number == 44 ? 2 : 1) {
        start(2, false, 0);
        const idx from = file.count;
        put_number(number, 1), close_message(2, from);
        refused("x.model", "wire type 0");
    }
    REFUSED("precompiled_charsmap", put_bytes(3, "\x12\x01x", 3));
    REFUSED("denormalizer_spec has a precompiled_charsmap", put_bytes(5, "\x12\x01x", 3));
    REFUSED("64 bits", put("\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11));
    REFUSED("longer than", put("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11));
    REFUSED("number is out of range", put("\x00\x01", 2));
    start(2, false, 0);
    for (uint64_t i = 0; i < MR_PROBE_MAX + 2; i++) {
        char piece[COLLIDING];
        colliding(piece, 7919 * i + 1), put_piece(piece, COLLIDING, 0, NORMAL);
    }
    refused("x.model", "collides with more than 512 others; this vocabulary was made to be slow");
    for (file.count = 0; file.count < (2 << 20) + 2;) put("\n\0", 2);
    refused("x.model", "1048577 pieces"); /* decided before memory is asked for */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_v1_and_small), cmocka_unit_test(test_golden_v2_v3_v7),
        cmocka_unit_test(test_encode), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_deep_and_settings), cmocka_unit_test(test_first_piece),
        cmocka_unit_test(test_names), cmocka_unit_test(test_bad_models),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
