/* tokenizer.json: what is refused, with a message that names it; limits; damaged files. */
#include "tests/hf_samples.h"

#include "tests/colliding.h"

#define NONE "`vocab`:{`a`:0},`merges`:[]"
#define MODEL(model) file_of(model, NULL, NULL, NULL, NULL)

static void test_refused_models(void **state) {
    (void)state;
    refused(MODEL("`vocab`:{`a`:0,`b`:0},`merges`:[]"), "two pieces have the id 0");
    refused(MODEL("`vocab`:{`b`:7,`a`:5,`a`:6},`merges`:[]"), "ids 5 and 6 have the same piece");
    refused(MODEL("`vocab`:{`a`:1048576},`merges`:[]"), "an id is 1048576");
    refused(MODEL("`vocab`:{`a`:-1},`merges`:[]"), "an id is -1");
    refused(MODEL("`vocab`:{`a`:0.5},`merges`:[]"), "integer was expected");
    refused(MODEL("`vocab`:[`a`],`merges`:[]"), "object was expected");
    refused(MODEL("`vocab`:{`a`:0}"), "model has no `merges`");
    refused(MODEL("`vocab`:{`a`:0},`merges`:null"), "found null");
    refused(MODEL(NONE ",`merges`:[]"), "model has `merges` twice");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[`a b`]"), "its right piece is not");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[`b a`]"), "its left piece is not");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[`a a`]"), "what it makes is not");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[`aa`]"), "one space");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[`a a a`]"), "one space");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[[`a`]]"), "less than two pieces");
    refused(MODEL("`vocab`:{`a`:0},`merges`:[[`a`,`a`,`a`]]"), "more than two pieces");
    refused(MODEL("`vocab`:{`a`:0,`aa`:1},`merges`:[[`a`,`a`],`a a`]"), "list was");
    refused(MODEL("`vocab`:{`\\ud800`:0},`merges`:[]"), "surrogate");
    refused(MODEL("`vocab`:{`\xFF`:0},`merges`:[]"), "not UTF-8");
    refused(MODEL(NONE ",`dropout`:0.1"), "dropout");
    refused(MODEL(NONE ",`continuing_subword_prefix`:`##`"), "continuing_subword_prefix");
    refused(MODEL(NONE ",`continuing_subword_prefix`:`_`"), "continuing_subword_prefix");
    refused(MODEL(NONE ",`end_of_word_suffix`:`_`"), "end_of_word_suffix");
    refused(MODEL(NONE ",`fuse_unk`:1"), "true or false was expected");
    refused("{`model`:{`type`:`Unigram`,`vocab`:{},`merges`:[]}}", "model `Unigram`");
    refused("{`model`:7}", "object was expected");
    refused("{`version`:`2.0`,`model`:{}}", "version `2.0`");
    refused("{`decoder`:null}", "has no `model`");
    mr_tokenizer_close(good(MODEL(NONE ",`dropout`:0.0,`end_of_word_suffix`:``")));
}

/* A token of more than 65536 bytes: in the vocabulary, and among those added. */
static void test_long_tokens(void **state) {
    static char text[1 << 17];
    static const char *const before[] = {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},"
        "\"added_tokens\":[{\"id\":1,\"content\":\""};
    static const char *const after[] = {"\":0},\"merges\":[]}}",
        "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
        "\"special\":false}]}"};
    static const char *const reason[] = {"piece 0 has 65537 bytes, the limit is 65536",
                                         "an added token has 65537 bytes, the limit is 65536"};
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int size = 65536; size <= 65537; size++) {
            mr_tokenizer *t;
            mr_err err = {0};
            char *at = text + sprintf(text, "%s", before[i]);
            memset(at, 'x', (size_t)size);
            at += size;
            at += sprintf(at, "%s", after[i]);
            const mr_status status = open_bytes(text, (size_t)(at - text), &t, &err);
            if (size > 65536) check_refused(status, MR_BAD, &err, reason[i]);
            else if (status != MR_OK) fail_msg("%s", err.text);
            mr_tokenizer_close(t);
        }
}

static void test_refused_processor(void **state) {
    (void)state;
    refused("{`model`:{`type`:`BPE`," NONE "},`post_processor`:{`type`:`BertProcessing`}}",
            "the post_processor `BertProcessing` is not supported");
    refused("{`model`:{`type`:`BPE`," NONE "},`post_processor`:{`type`:`Sequence`}}",
            "the post_processor `Sequence` is not supported");
}

static void test_refused_parts(void **state) {
    (void)state;
    refused(file_of(NONE, NULL, "{`type`:`StripAccents`}", NULL, NULL),
            "the normalizer `StripAccents`");
    refused(file_of(NONE, NULL, NULL, "{`type`:`Bert\\u001b~`}", NULL),
            "the pre_tokenizer `Bert\\u001b~`");
    refused(file_of(NONE, NULL, NULL, "{`type`:``}", NULL), "the pre_tokenizer `` is not");
    refused(file_of(NONE, NULL, NULL, NULL, "{`type`:`WordPiece`}"), "the decoder `WordPiece`");
    refused(file_of(NONE, NULL, "{`type`:`Sequence`,`normalizers`:[{`type`:`NFC`},"
                    "{`type`:`Nmt`}]}", NULL, NULL), "`Nmt`");
    refused(file_of(NONE, NULL, "{`prepend`:`a`}", NULL, NULL), "no `type`");
    refused(file_of(NONE, NULL, "{`type`:`Prepend`}", NULL, NULL), "no `prepend`");
    refused(file_of(NONE, NULL, "{`type`:`Prepend`,`prepend`:`\\ud800`}", NULL, NULL), "surrogate");
    refused(file_of(NONE, NULL, NULL, SPLIT("`Regex`:`a+`", "Isolated", "false"), NULL),
            "regular expression `a+");
    refused(file_of(NONE, NULL, NULL, SPLIT("`String`:``", "Isolated", "false"), NULL), "empty");
    refused(file_of(NONE, NULL, NULL, SPLIT("`String`:`a`", "Odd", "false"), NULL), "`Odd`");
    refused(file_of(NONE, NULL, "{`type`:`Replace`,`pattern`:{`Regex`:`" GPT2 "`},"
                    "`content`:``}", NULL, NULL), "Replace");
    refused(file_of(NONE, NULL, NULL, "{`type`:`Metaspace`,`replacement`:`ab`}", NULL),
            "one character");
    refused(file_of(NONE, NULL, NULL, METASPACE("last", "true"), NULL), "`last`");
    refused(file_of(NONE, TOKEN(5, "x", true, false, false, false, false), NULL, NULL, NULL),
            "has id 5, expected 1");
    refused(file_of(NONE, TOKEN(1, "a", true, false, false, false, false), NULL, NULL, NULL),
            "has id 1, expected 0");
    refused(file_of(NONE, "{`id`:1,`content`:`x`}", NULL, NULL, NULL), "has no `special`");
    refused(file_of(NONE, TOKEN(1, "x", true, false, false, false, false) ","
                    TOKEN(2, "x", true, false, false, false, false), NULL, NULL, NULL),
            "same content");
    refused(file_of(NONE, TOKEN(1, "x", true, false, false, false, true) ","
                    TOKEN(2, "X", true, false, false, false, true), "{`type`:`Lowercase`}", NULL,
                    NULL), "look the same");
    refused(file_of(NONE, TOKEN(1, " ", true, false, false, false, true),
                    "{`type`:`Strip`,`strip_left`:true,`strip_right`:true}", NULL, NULL),
            "becomes 0 bytes");
    refused(file_of(NONE, NULL, NULL, NULL, "{`type`:`Strip`,`content`:`a`,`start`:-1,`stop`:0}"),
            "a number is negative");
    refused(file_of("`vocab`:{`a`:1},`merges`:[]",
                    TOKEN(1, "x", true, false, false, false, false), NULL, NULL, NULL), "gaps");
}

/* A step inside `depth` sequences. */
static void nested(char *text, size_t room, int depth, const char *steps, const char *inner) {
    size_t at = 0;
    for (int i = 0; i < depth; i++)
        at += (size_t)snprintf(text + at, room - at, "{`type`:`Sequence`,`%s`:[", steps);
    at += (size_t)snprintf(text + at, room - at, "{`type`:`%s`}", inner);
    for (int i = 0; i < depth; i++) at += (size_t)snprintf(text + at, room - at, "]}");
}

/* Sequences inside each other up to a limit, and a list of steps up to another. */
static void test_depth(void **state) {
    char text[1 << 13], file[1 << 13];
    (void)state;
    for (int depth = 8; depth < 10; depth++) {
        nested(text, sizeof text, depth, "processors", "ByteLevel");
        snprintf(file, sizeof file, "{`model`:{`type`:`BPE`," NONE "},`post_processor`:%.4096s}",
                 text);
        if (depth == 8) mr_tokenizer_close(good(file));
        else refused(file, "the post_processor `Sequence` is not supported");
    }
    for (int depth = 7; depth < 10; depth++) {
        nested(text, sizeof text, depth, "normalizers", "NFC");
        if (depth <= 8) mr_tokenizer_close(good(file_of(NONE, NULL, text, NULL, NULL)));
        else refused(file_of(NONE, NULL, text, NULL, NULL), "inside each other");
    }
    for (int steps = 64; steps < 66; steps++) {
        size_t at = (size_t)snprintf(text, sizeof text, "{`type`:`Sequence`,`decoders`:[");
        for (int i = 0; i < steps; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s{`type`:`Fuse`}",
                                   i > 0 ? "," : "");
        snprintf(text + at, sizeof text - at, "]}");
        if (steps == 64) mr_tokenizer_close(good(file_of(NONE, NULL, NULL, NULL, text)));
        else refused(file_of(NONE, NULL, NULL, NULL, text), "more than 64 steps");
    }
}

/* A file with everything in it, cut at every byte and with every byte changed: a message or a
 * usable tokenizer, no crash. */
static void test_damage(void **state) {
    char text[1 << 13];
    (void)state;
    strcpy(text, quoted(file_of("`vocab`:{`a`:0,`b`:1,`\\u0061b`:2,`<0x41>`:3},`merges`:[`a b`],"
                         "`byte_fallback`:true,`unk_token`:`a`",
                         TOKEN(4, "x\\ny", true, true, false, true, true), "{`type`:`Sequence`,"
                         "`normalizers`:[{`type`:`Prepend`,`prepend`:`b`},"
                         "{`type`:`NFKC`}]}", METASPACE("first", "true"), SPM_DECODER)));
    size_t whole = strlen(text);
    for (size_t at = 0; at < 2 * whole; at++) {
        mr_err err = {0};
        mr_tokenizer *t;
        char kept = text[at / 2];
        text[at / 2] = (char)(kept + 1 + (int)(at % 255));
        mr_status status = open_bytes(text, at % 2 ? at / 2 : whole, &t, &err);
        assert_true(status == MR_OK || (status == MR_BAD && err.text[0] != '\0'));
        if (status == MR_OK) text_is(t, (int32_t[]){0}, 0, "");
        if (at % 2) assert_int_equal(status, MR_BAD);
        mr_tokenizer_close(t);
        text[at / 2] = kept;
    }
}

/* Files made to be slow: more pieces of one hash, or merges of one slot, than a look-up may try. */
static void test_colliding(void **state) {
    enum { MANY = MR_PROBE_MAX + 2 };
    static char text[1 << 15], merges[1 << 14];
    uint64_t number = 0;
    int size = sprintf(text, "`vocab`:{"), more = 0;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        char piece[COLLIDING];
        colliding_text(piece, &number);
        size += sprintf(text + size, "%s`%.*s`:%d", i > 0 ? "," : "", COLLIDING, piece, i);
    }
    sprintf(text + size, "},`merges`:[]");
    refused(MODEL(text), "piece 513 collides with more than 512 others; this vocabulary");

    /* a + r makes ar; the ids of r are those that hf_model.c sends to two of its 2048 slots */
    size = sprintf(text, "`vocab`:{`a`:0");
    for (uint64_t id = 1, found = 0; found < MANY + 2; id++) {
        if ((id * UINT64_C(0x9E3779B97F4A7C15) >> 32 & 2047) > 1) continue;
        size += sprintf(text + size, ",`%d`:%d,`a%d`:%d", (int)id, (int)id, (int)id,
                        1000000 + (int)found);
        more += sprintf(merges + more, "%s`a %d`", found++ > 0 ? "," : "", (int)id);
    }
    sprintf(text + size, "},`merges`:[%s]", merges);
    refused(MODEL(text), "collides with more than 512 others; this file was made to be slow");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_models), cmocka_unit_test(test_refused_parts),
        cmocka_unit_test(test_long_tokens),    cmocka_unit_test(test_refused_processor),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_colliding),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
