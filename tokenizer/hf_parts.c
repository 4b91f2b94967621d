/* The normalizers, pre-tokenizers and decoders of the file, as flat lists of steps.
 *
 * One table per list says which components there are. What is not in a table is refused by name:
 * leaving a step out would give plausible, wrong ids. */
#include <stdio.h>
#include <string.h>

#include "tokenizer/hf_read.h"
#include "tokenizer/pretoken.h"
#include "tokenizer/utf8.h"

/* Reads the fields of one component, given its object. */
typedef mr_status read_step(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step);

typedef struct {
    const char *type;
    mr_hf_what  what;
    read_step  *read; /* NULL: it has no fields */
} component;

typedef struct {
    const char      *name;     /* for messages */
    const char      *children; /* the field of a Sequence that lists its members */
    const component *known;
    int              count;
    mr_hf_steps     *steps;
} section;

/* Regular expressions that have a scanner. Any other is refused, unless it is a plain text. */
static const struct {
    const char   *regex;
    mr_hf_pattern pattern;
} regexes[] = {
    {MR_TEKKEN_PATTERN, MR_HF_TEKKEN},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     MR_HF_GPT2},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", MR_HF_LLAMA3},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", MR_HF_QWEN2},
    {" {2,}", MR_HF_SPACES},
};
enum { REGEXES = sizeof regexes / sizeof regexes[0] };

/* {"String": ...} or {"Regex": ...} */
static mr_status read_pattern(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    mr_hf_string regex = {0};
    mr_hf_field field[] = {{"String", MR_HF_A_STRING, &step->text, false, false},
                           {"Regex", MR_HF_A_STRING, &regex, false, false}};
    if (mr_hf_fields(r, *in, "a pattern", field, 2) != MR_OK) return MR_BAD;
    for (int i = 0; i < REGEXES; i++)
        if (mr_hf_is(&regex, regexes[i].regex)) return step->pattern = regexes[i].pattern, MR_OK;
    bool plain = regex.bytes != NULL;
    for (idx i = 0; plain && i < regex.size; i++)
        plain = regex.bytes[i] != '\0' && strchr("\\^$.|?*+()[]{}", regex.bytes[i]) == NULL;
    if (plain) step->text = regex;
    step->pattern = MR_HF_TEXT;
    if (regex.bytes != NULL && !plain)
        return mr_fail(r->err, MR_BAD, "%s: the regular expression \"%s...\" is not supported; "
                       "those of GPT-2, Llama 3, Qwen 2 and Tekken are", r->path,
                       mr_hf_show(&regex).text);
    if (step->text.size == 0)
        return mr_fail(r->err, MR_BAD, "%s: a pattern is empty, expected a \"String\" or a "
                       "\"Regex\" with at least one character", r->path);
    return MR_OK;
}

static mr_status read_prepend(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    mr_hf_field field[] = {{"prepend", MR_HF_A_STRING, &step->text, true, false}};
    return mr_hf_fields(r, *in, "Prepend", field, 1);
}

static mr_status read_replace(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    mr_scan pattern;
    mr_hf_field field[] = {{"pattern", MR_HF_A_VALUE, &pattern, true, false},
                           {"content", MR_HF_A_STRING, &step->with, true, false}};
    if (mr_hf_fields(r, *in, "Replace", field, 2) != MR_OK) return MR_BAD;
    if (read_pattern(r, &pattern, step) != MR_OK) return MR_BAD;
    if (step->pattern == MR_HF_TEXT || step->pattern == MR_HF_SPACES) return MR_OK;
    return mr_fail(r->err, MR_BAD, "%s: Replace: a pattern that splits words is not supported here",
                   r->path);
}

static mr_status read_strip(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    mr_hf_field field[] = {{"strip_left", MR_HF_A_FLAG, &step->left, true, false},
                           {"strip_right", MR_HF_A_FLAG, &step->right, true, false}};
    return mr_hf_fields(r, *in, "Strip", field, 2);
}

/* Replacement and content of Metaspace and Strip are one character. */
static mr_status one_character(const mr_hf_reading *r, const char *what, const mr_hf_string *s) {
    if (s->size > 0 && mr_utf8_valid(s->bytes, s->size) == s->size) return MR_OK;
    return mr_fail(r->err, MR_BAD, "%s: %s: expected one character, found %td bytes", r->path,
                   what, s->size);
}

static mr_status read_cut(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    mr_hf_field field[] = {{"content", MR_HF_A_STRING, &step->text, true, false},
                           {"start", MR_HF_A_NUMBER, &step->start, true, false},
                           {"stop", MR_HF_A_NUMBER, &step->stop, true, false}};
    if (mr_hf_fields(r, *in, "Strip", field, 3) != MR_OK) return MR_BAD;
    return one_character(r, "Strip", &step->text);
}

static mr_status read_byte_level(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    step->split = step->prefix = true;
    step->pattern = MR_HF_GPT2;
    mr_hf_field field[] = {{"add_prefix_space", MR_HF_A_FLAG, &step->prefix, true, false},
                           {"use_regex", MR_HF_A_FLAG, &step->split, false, false}};
    return mr_hf_fields(r, *in, "ByteLevel", field, 2);
}

static mr_status read_metaspace(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    static const char *const schemes[] = {"always", "first", "never"};
    mr_hf_string scheme = {0};
    bool prefix = true;
    int i = 0;
    step->split = true;
    step->behaviour = MR_HF_WITH_NEXT;
    step->pattern = MR_HF_TEXT;
    mr_hf_field field[] = {{"replacement", MR_HF_A_STRING, &step->text, true, false},
                           {"prepend_scheme", MR_HF_A_STRING, &scheme, false, false},
                           {"add_prefix_space", MR_HF_A_FLAG, &prefix, false, false},
                           {"split", MR_HF_A_FLAG, &step->split, false, false}};
    if (mr_hf_fields(r, *in, "Metaspace", field, 4) != MR_OK) return MR_BAD;
    if (scheme.bytes != NULL)
        while (i < 3 && !mr_hf_is(&scheme, schemes[i])) i++;
    /* The older add_prefix_space may be there too; the library refuses it as well when the two
     * contradict each other. */
    if (i == 3 || (!prefix && i != MR_HF_NEVER))
        return mr_fail(r->err, MR_BAD, "%s: Metaspace: prepend_scheme \"%s\"%s is not one of "
                       "always, first and never", r->path, mr_hf_show(&scheme).text,
                       prefix ? "" : " with add_prefix_space false");
    step->scheme = (mr_hf_scheme)i;
    return one_character(r, "Metaspace", &step->text);
}

static mr_status read_split(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    static const char *const behaviours[] = {"Isolated", "Removed", "Contiguous",
                                             "MergedWithPrevious", "MergedWithNext"};
    mr_scan pattern;
    mr_hf_string behaviour = {0};
    int i = 0;
    mr_hf_field field[] = {{"pattern", MR_HF_A_VALUE, &pattern, true, false},
                           {"behavior", MR_HF_A_STRING, &behaviour, true, false},
                           {"invert", MR_HF_A_FLAG, &step->invert, true, false}};
    if (mr_hf_fields(r, *in, "Split", field, 3) != MR_OK) return MR_BAD;
    while (i < 5 && !mr_hf_is(&behaviour, behaviours[i])) i++;
    if (i == 5)
        return mr_fail(r->err, MR_BAD, "%s: Split: behavior \"%s\" is not supported", r->path,
                       mr_hf_show(&behaviour).text);
    step->behaviour = (mr_hf_behaviour)i;
    return read_pattern(r, &pattern, step);
}

static mr_status read_whitespace(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    (void)r, (void)in;
    step->pattern = MR_HF_WORDS;
    step->behaviour = MR_HF_REMOVED;
    step->invert = true;
    return MR_OK;
}

static mr_status read_whitespace_split(const mr_hf_reading *r, const mr_scan *in,
                                       mr_hf_step *step) {
    (void)r, (void)in;
    step->pattern = MR_HF_BLANK;
    step->behaviour = MR_HF_REMOVED;
    return MR_OK;
}

static mr_status read_digits(const mr_hf_reading *r, const mr_scan *in, mr_hf_step *step) {
    bool single = false;
    mr_hf_field field[] = {{"individual_digits", MR_HF_A_FLAG, &single, true, false}};
    step->pattern = MR_HF_DIGIT;
    mr_status status = mr_hf_fields(r, *in, "Digits", field, 1);
    step->behaviour = single ? MR_HF_ISOLATED : MR_HF_CONTIGUOUS;
    return status;
}

static const component normalizers[] = {
    {"Prepend", MR_HF_PREPEND, read_prepend}, {"Replace", MR_HF_REPLACE, read_replace},
    {"NFC", MR_HF_NFC, NULL}, {"NFD", MR_HF_NFD, NULL}, {"NFKC", MR_HF_NFKC, NULL},
    {"NFKD", MR_HF_NFKD, NULL}, {"Lowercase", MR_HF_LOWERCASE, NULL},
    {"Strip", MR_HF_STRIP, read_strip}, {"ByteLevel", MR_HF_BYTE_LEVEL, NULL},
};
static const component pretokenizers[] = {
    {"Metaspace", MR_HF_METASPACE, read_metaspace}, {"Split", MR_HF_SPLIT, read_split},
    {"ByteLevel", MR_HF_BYTE_LEVEL, read_byte_level},
    {"Whitespace", MR_HF_SPLIT, read_whitespace},
    {"WhitespaceSplit", MR_HF_SPLIT, read_whitespace_split}, {"Digits", MR_HF_SPLIT, read_digits},
};
static const component decoders[] = {
    {"Replace", MR_HF_REPLACE, read_replace}, {"ByteFallback", MR_HF_BYTE_FALLBACK, NULL},
    {"Fuse", MR_HF_FUSE, NULL}, {"Strip", MR_HF_STRIP, read_cut},
    {"Metaspace", MR_HF_METASPACE, read_metaspace}, {"ByteLevel", MR_HF_BYTE_LEVEL, NULL},
};
#define KNOWN(list) list, (int)(sizeof list / sizeof list[0])

static mr_status not_supported(const mr_hf_reading *r, const section *s, const mr_hf_string *type) {
    char known[256] = "";
    size_t at = 0;
    for (int i = 0; i < s->count && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s, ", s->known[i].type);
    return mr_fail(r->err, MR_BAD, "%s: the %s \"%s\" is not supported; supported are %sSequence",
                   r->path, s->name, mr_hf_show(type).text, known);
}

/* A component, or all of a Sequence. MR_HF_DEPTH bounds the recursion. */
static mr_status read_component(const mr_hf_reading *r, const section *s, const mr_scan *in,
                                int depth) {
    mr_hf_string type = {0};
    mr_scan children = {0};
    mr_hf_field field[] = {{"type", MR_HF_A_NAME, &type, true, false},
                           {s->children, MR_HF_A_VALUE, &children, false, false}};
    if (mr_hf_fields(r, *in, s->name, field, 2) != MR_OK) return MR_BAD;
    if (mr_hf_is(&type, "Sequence") && field[1].seen) {
        mr_scan list = children;
        if (depth == MR_HF_DEPTH)
            return mr_fail(r->err, MR_BAD, "%s: the %s has sequences inside each other, deeper "
                           "than %d", r->path, s->name, MR_HF_DEPTH);
        mr_scan_enter(&list, '[');
        while (list.problem == NULL && mr_scan_item(&list)) {
            mr_scan child = list; /* passed over first: reading it changes its strings */
            if (mr_scan_skip(&list) && read_component(r, s, &child, depth + 1) != MR_OK)
                return MR_BAD;
        }
        return list.problem == NULL ? MR_OK : mr_hf_problem(r, &list, s->name);
    }
    int i = 0;
    while (i < s->count && !mr_hf_is(&type, s->known[i].type)) i++;
    if (i == s->count) return not_supported(r, s, &type);
    if (s->steps->count == MR_HF_STEPS)
        return mr_fail(r->err, MR_BAD, "%s: the %s has more than %d steps", r->path, s->name,
                       MR_HF_STEPS);
    mr_hf_step *step = &s->steps->step[s->steps->count++];
    step->what = s->known[i].what;
    return s->known[i].read != NULL ? s->known[i].read(r, in, step) : MR_OK;
}

mr_status mr_hf_read_normalizer(const mr_hf_reading *r, const mr_scan *in) {
    section s = {"normalizer", "normalizers", KNOWN(normalizers), &r->hf->normalizer};
    return read_component(r, &s, in, 0);
}

mr_status mr_hf_read_pretokenizer(const mr_hf_reading *r, const mr_scan *in) {
    section s = {"pre_tokenizer", "pretokenizers", KNOWN(pretokenizers), &r->hf->pretokenizer};
    return read_component(r, &s, in, 0);
}

mr_status mr_hf_read_decoder(const mr_hf_reading *r, const mr_scan *in) {
    section s = {"decoder", "decoders", KNOWN(decoders), &r->hf->decoder};
    return read_component(r, &s, in, 0);
}
