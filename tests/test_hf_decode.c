/* tokenizer.json: the byte alphabet, decoders, and special tokens. */
#include "tests/hf_samples.h"

static void test_byte_level(void **state) {
    const char *model = byte_alphabet();
    char text[2] = {0}, want[16];
    (void)state;
    static const char added[] = TOKEN(256, "[X] \\u20ac", false, false, false, false, false) ","
                                TOKEN(257, "\\u0144", false, false, false, false, false);
    mr_tokenizer *t = good(file_of(model, added, NULL, "{`type`:`ByteLevel`,"
                                   "`add_prefix_space`:false,`use_regex`:false}",
                                   "{`type`:`ByteLevel`}"));
    for (int b = 0; b < 128; b++) {
        text[0] = (char)b;
        snprintf(want, sizeof want, "%d", b);
        ids_are(t, text, 1, want);
    }
    IDS(t, "\xC2\xAD\xC3\xBF\xF4\x8F\xBF\xBF", "194 173 195 191 244 143 191 191");
    IDS(t, "a\xE2\x82" "b\xFF", "97 239 191 189 98 239 191 189"); /* one U+FFFD per bad part */
    TEXT(t, "a\xE2\x82\xAC", 97, 226, 130, 172);
    TEXT(t, "\xEF\xBF\xBD" "a\xEF\xBF\xBD", 226, 130, 97, 240, 159, 153);
    TEXT(t, "\xEF\xBF\xBD\x7F\xEF\xBF\xBD\xEF\xBF\xBD", 226, 130, 127, 226, 130, 192);
    TEXT(t, "a[X] \xE2\x82\xAC", 97, 256); /* not all of its characters are bytes: as it is */
    TEXT(t, "a\xC5\x84", 97, 257); /* the alphabet ends at U+0143 */
    mr_tokenizer_close(t);
    t = good(file_of(model, NULL, NULL, "{`type`:`ByteLevel`,`add_prefix_space`:true}", NULL));
    IDS(t, "a", "32 97");
    IDS(t, " a", "32 97");
    mr_tokenizer_close(t);
}

static void test_decode(void **state) {
    static const char model[] = "`vocab`:{`" SP "a`:0,`b`:1,`<0xC3>`:2,`<0xa9>`:3,`  `:4,"
                                "`" SP "`:6},`merges`:[]"; /* no token has id 5 */
    static const char added[] = TOKEN(1, "b", false, false, false, false, false);
    (void)state;
    mr_tokenizer *t = good(file_of(model, added, NULL, NULL, SPM_DECODER));
    TEXT(t, "a a", 0, 0);
    TEXT(t, " b", 4, 1);             /* one space goes */
    TEXT(t, "b\xC3\xA9" "b", 1, 2, 5, 3, 1); /* an id without a token is not there */
    TEXT(t, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 2, 3, 2); /* all or nothing, byte by byte */
    text_is(t, NULL, 0, "");
    assert_int_equal(mr_tokenizer_size(t), 7);
    assert_string_equal(mr_tokenizer_piece(t, 5, NULL), "");
    mr_tokenizer_close(t);
    t = good(file_of(model, NULL, NULL, NULL, NULL));
    TEXT(t, SP "a b", 0, 1); /* without a decoder: spaces between the tokens */
    mr_tokenizer_close(t);
    t = good(file_of(model, NULL, NULL, NULL, METASPACE("first", "true")));
    TEXT(t, "ab a ", 0, 1, 0, 6);
    mr_tokenizer_close(t);
    t = good(file_of(model, NULL, NULL, NULL, METASPACE("never", "true")));
    TEXT(t, " ab", 0, 1);
    mr_tokenizer_close(t);
    t = good(file_of(model, NULL, NULL, NULL, "{`type`:`Strip`,`content`:` `,`start`:1,"
                     "`stop`:2}"));
    TEXT(t, "b", 4, 1, 4);
    mr_tokenizer_close(t);
    t = good(file_of("`vocab`:{`  a  `:0},`merges`:[]", NULL, NULL, NULL,
                     "{`type`:`Strip`,`content`:` `,`start`:1,`stop`:1}"));
    TEXT(t, " a ", 0);
    mr_tokenizer_close(t);
    t = good(file_of("`vocab`:{`<0x41>`:0,`<0x+A>`:1,`<0x9Z>`:2,`<0xZ9>`:3,`<0y41>`:4},"
                     "`merges`:[]", NULL, NULL, NULL, "{`type`:`ByteFallback`}"));
    TEXT(t, "A\n<0x9Z><0xZ9><0y41>", 0, 1, 2, 3, 4); /* two hexadecimal digits, or no byte */
    mr_tokenizer_close(t);
}

/* Random ids, one by one, against all at once. What can come out early does: `flows`. */
static void stream_is_decode(const char *decoder, bool flows) {
    mr_tokenizer *t = good(file_of(
        "`vocab`:{`a`:0,`" SP "b`:1,`<0xC3>`:2,`<0xA9>`:3,`<0xE2>`:4,`" SP "`:5,`\u00c3`:6,"
        "`\u00a9`:7,`\u0122`:8},`merges`:[]", TOKEN(9, "\u20ac", true, false, false, false, false)
        "," TOKEN(10, "\u20acx", false, false, false, false, false), NULL, NULL, decoder));
    uint32_t random = 1;
    for (int round = 0; round < 2000; round++) {
        int32_t ids[12];
        idx count = round % 13;
        mr_text whole = {0}, parts = {0};
        mr_stream stream = {0};
        for (idx i = 0; i < count; i++) {
            random = random * 1664525u + 1013904223u;
            ids[i] = (int32_t)((random >> 16) % 11);
            assert_int_equal(mr_tokenizer_stream(t, &stream, ids[i], &parts, NULL), MR_OK);
            if (flows && count == 1 && (ids[0] <= 1 || ids[0] == 10)) assert_true(parts.count > 0);
        }
        assert_int_equal(mr_tokenizer_stream_end(t, &stream, &parts, NULL), MR_OK);
        assert_int_equal(mr_tokenizer_decode(t, ids, count, &whole, NULL), MR_OK);
        assert_string_equal(parts.byte, whole.byte);
        mr_text_free(&whole);
        mr_text_free(&parts);
    }
    mr_tokenizer_close(t);
}

#define LIST(steps) "{`type`:`Sequence`,`decoders`:[" steps "]}"
#define REPLACE     "{`type`:`Replace`,`pattern`:{`String`:`" SP "`},`content`:` `}"
#define STRIP(stop) "{`type`:`Strip`,`content`:` `,`start`:1,`stop`:" stop "}"

static void test_streams(void **state) {
    (void)state;
    stream_is_decode(SPM_DECODER, true);
    stream_is_decode("{`type`:`ByteLevel`}", true);
    stream_is_decode("{`type`:`ByteFallback`}", true);
    stream_is_decode(LIST(REPLACE), true);
    stream_is_decode(LIST(REPLACE ",{`type`:`Fuse`}"), true);
    stream_is_decode(NULL, false);
    stream_is_decode(METASPACE("first", "true"), false);
    stream_is_decode(LIST(REPLACE ",{`type`:`Fuse`}," STRIP("1")), false);
    stream_is_decode(LIST("{`type`:`ByteFallback`}," REPLACE), false);
    stream_is_decode(LIST(REPLACE "," STRIP("0")), false);
    stream_is_decode(LIST(""), false);
}

#define PROCESSOR "{`type`:`Sequence`,`processors`:[{`type`:`ByteLevel`,`trim_offsets`:" \
    "false},{`type`:`TemplateProcessing`,`single`:[%s{`Sequence`:{`id`:`A`,`type_id`:0}}" \
    "%s],`pair`:[],`special_tokens`:{`<e>`:{`id`:`<e>`,`ids`:[3],`tokens`:[`<e>`]}," \
    "`<b>`:{`id`:`<b>`,`ids`:[%s],`tokens`:[`<b>`]}}}]}"
#define B_TOKEN "{`SpecialToken`:{`id`:`<b>`,`type_id`:0}}"
#define E_TOKEN "{`SpecialToken`:{`id`:`<e>`,`type_id`:0}}"

static const char *with_template(const char *before, const char *after, const char *ids) {
    static char text[1 << 13];
    char processor[1024];
    snprintf(processor, sizeof processor, PROCESSOR, before, after, ids);
    snprintf(text, sizeof text, "{`post_processor`:%s,`model`:{`merges`:[],`vocab`:{`a`:0},"
             "`type`:`BPE`},`added_tokens`:[%s,%s,%s]}", processor,
             TOKEN(1, "</s>", true, false, false, false, false),
             TOKEN(2, "<b>", true, false, false, false, false),
             TOKEN(3, "<e>", false, false, false, false, false));
    return text;
}

static void test_special(void **state) {
    (void)state;
    mr_tokenizer *t = good(with_template(B_TOKEN ",", "," E_TOKEN, "2"));
    assert_int_equal(mr_tokenizer_bos(t), 2);
    assert_int_equal(mr_tokenizer_eos(t), 3);
    assert_int_equal(mr_tokenizer_control(t, "<b>"), 2);
    assert_int_equal(mr_tokenizer_control(t, "<e>"), -1); /* added, but not special */
    assert_int_equal(mr_tokenizer_control(t, "a"), -1);
    assert_string_equal(mr_tokenizer_kind(t), "tokenizer.json");
    IDS(t, "<b>a</s>", "2 0 1");       /* no BOS, but what stands in the text */
    TEXT(t, "a <e>", 2, 0, 1, 3);
    mr_tokenizer_close(t);
    t = good(with_template("", "", "2"));
    assert_int_equal(mr_tokenizer_bos(t), -1);
    assert_int_equal(mr_tokenizer_eos(t), 1); /* "</s>" */
    mr_tokenizer_close(t);
    refused(with_template(B_TOKEN "," B_TOKEN ",", "", "2"), "more than one token in front");
    refused(with_template(B_TOKEN ",", "", "2,3"), "expected one id for `<b>`");
    refused(with_template(B_TOKEN ",", "", "9"), "uses id 9");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_special),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
