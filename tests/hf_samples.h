/* tokenizer.json files made in a test, opened, and asked. */
#ifndef MR_TESTS_HF_SAMPLES_H
#define MR_TESTS_HF_SAMPLES_H

#include "tests/scratch.h"

#include "tests/ids.h"

#define SP "\xE2\x96\x81" /* U+2581 */

/* JSON in C strings is easier to read with ` for ": this puts it right. The text is overwritten by
 * the next call but one. */
static inline const char *quoted(const char *text) {
    static char copy[2][1 << 16];
    static int  next;
    char *to = copy[next = !next];
    assert_true(strlen(text) < sizeof copy[0]);
    for (size_t i = 0; i <= strlen(text); i++) to[i] = (char)(text[i] == '`' ? '"' : text[i]);
    return to;
}

/* A file from its parts; a part that is NULL stands for null. */
static inline const char *file_of(const char *model, const char *added, const char *normalizer,
                                  const char *pretokenizer, const char *decoder) {
    static char text[1 << 15];
    int size = snprintf(text, sizeof text,
                        "{`version`:`1.0`,`truncation`:null,`padding`:null,`added_tokens`:[%s],"
                        "`normalizer`:%s,`pre_tokenizer`:%s,`post_processor`:null,`decoder`:%s,"
                        "`model`:{`type`:`BPE`,%s}}", added != NULL ? added : "",
                        normalizer != NULL ? normalizer : "null",
                        pretokenizer != NULL ? pretokenizer : "null",
                        decoder != NULL ? decoder : "null", model);
    assert_true(size > 0 && (size_t)size < sizeof text);
    return text;
}

static inline mr_status open_bytes(const char *bytes, size_t count, mr_tokenizer **t, mr_err *err) {
    return mr_tokenizer_open(scratch_write("tokenizer.json", bytes, count), t, err);
}

static inline mr_tokenizer *good(const char *file) {
    mr_err err = {0};
    mr_tokenizer *t;
    if (open_bytes(quoted(file), strlen(file), &t, &err) != MR_OK) fail_msg("%s", err.text);
    return t;
}

static inline void refused(const char *file, const char *reason) {
    mr_err err = {0};
    mr_tokenizer *t;
    check_refused(open_bytes(quoted(file), strlen(file), &t, NULL), MR_BAD, &err, "");
    check_refused(open_bytes(quoted(file), strlen(file), &t, &err), MR_BAD, &err, quoted(reason));
    assert_null(t);
}

/* One file, one text after another; both lists end with NULL. */
typedef struct {
    const char *model, *added, *normalizer, *pretokenizer;
    const char *cases[24]; /* text, ids */
} example;

static inline void run(const example *e, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mr_tokenizer *t = good(file_of(e[i].model, e[i].added, e[i].normalizer, e[i].pretokenizer,
                                       NULL));
        for (int c = 0; c < 24 && e[i].cases[c] != NULL; c += 2)
            ids_are(t, e[i].cases[c], (idx)strlen(e[i].cases[c]), e[i].cases[c + 1]);
        mr_tokenizer_close(t);
    }
}
#define RUN(list) run(list, sizeof list / sizeof list[0])

/* Parts that many of the files have. */
#define ABC "`vocab`:{`a`:0,`b`:1,`c`:2,`ab`:3,`bc`:4,`abc`:5,`aa`:6}"
#define TOKEN(id, text, special, lstrip, rstrip, single, normalized) \
    "{`id`:" #id ",`content`:`" text "`,`special`:" #special ",`lstrip`:" #lstrip \
    ",`rstrip`:" #rstrip ",`single_word`:" #single ",`normalized`:" #normalized "}"
#define METASPACE(scheme, split) \
    "{`type`:`Metaspace`,`replacement`:`" SP "`,`prepend_scheme`:`" scheme "`,`split`:" split "}"
#define SPLIT(pattern, behaviour, invert) \
    "{`type`:`Split`,`pattern`:{" pattern "},`behavior`:`" behaviour "`,`invert`:" invert "}"
/* All 256 bytes, each as the character that stands for it: itself where printable, else 256 + n. */
static inline const char *byte_alphabet(void) {
    static char model[1 << 13];
    size_t at = (size_t)snprintf(model, sizeof model, "`vocab`:{");
    for (int b = 0, n = 0; b < 256; b++) {
        bool same = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        at += (size_t)snprintf(model + at, sizeof model - at, "%s`\\u%04x`:%d", b > 0 ? "," : "",
                               (unsigned)(same ? b : 256 + n++), b);
    }
    snprintf(model + at, sizeof model - at, "},`merges`:[]");
    return model;
}

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+" \
    "|\\\\s+(?!\\\\S)|\\\\s+"
#define SPM_DECODER \
    "{`type`:`Sequence`,`decoders`:[{`type`:`Replace`,`pattern`:{`String`:`" SP "`}," \
    "`content`:` `},{`type`:`ByteFallback`},{`type`:`Fuse`}," \
    "{`type`:`Strip`,`content`:` `,`start`:1,`stop`:0}]}"

#endif
