/* Where a pattern matches next: one linear scanner per regular expression that is supported.
 *
 *     GPT-2    's|'t|'re|'ve|'m|'ll|'d| ?L+| ?N+| ?signs+|blanks, all but the last|blanks
 *     Llama 3  the same contractions in any case|lead?L+|N{1,3}| ?signs+[CR LF]*|blanks[CR LF]+|...
 *     Qwen 2   as Llama 3, with one digit at a time
 *     Tekken   see pretoken.c
 * L letters, N numbers, signs: neither of them nor White_Space. These four match everywhere, so
 * their matches follow each other without gaps. */
#include <string.h>

#include "tokenizer/hf_unicode.h"

typedef struct {
    const uint8_t *classes;
    const char    *end;
} scanner;

/* The bits of the character at `at`, 0 at the end of the text. */
static unsigned bits_at(const scanner *s, const char *at, idx *size) {
    *size = 0;
    return at < s->end ? s->classes[mr_hf_code(at, size)] : 0;
}

typedef enum { LETTERS, NUMBERS, SIGNS, BLANKS } group;

/* A character is in exactly one group; marks are signs here. */
static group group_of(unsigned bits) {
    if (mr_hf_is_letter(bits)) return LETTERS;
    if (bits & MR_IS_NUMBER) return NUMBERS;
    return bits & MR_IS_SPACE ? BLANKS : SIGNS;
}

/* The end of the run of characters of a group, or of the first `most` of them. */
static const char *run(const scanner *s, const char *at, group wanted, idx most) {
    idx size;
    for (; most > 0 && at < s->end; most--, at += size)
        if (group_of(bits_at(s, at, &size)) != wanted) break;
    return at;
}

/* Bytes of 's, 't, 're, 've, 'm, 'll or 'd; 0 when there is none. In any case, U+017F counts as
 * an s: engines that fold letters do so. */
static idx contraction(const scanner *s, const char *at, bool any_case) {
    idx left = s->end - at;
    if (left < 2 || at[0] != '\'') return 0;
    int fold = any_case ? 0x20 : 0;
    int a = (unsigned char)at[1] | (at[1] >= 'A' && at[1] <= 'Z' ? fold : 0);
    int b = left > 2 ? (unsigned char)at[2] | (at[2] >= 'A' && at[2] <= 'Z' ? fold : 0) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return any_case && a == 0xC5 && b == 0xBF ? 3 : 0;
}

/* `at` is a blank: all of them at the end of the text or when there is only one, else all but the
 * last, which goes with the next word. */
static const char *blanks(const scanner *s, const char *at) {
    const char *end = run(s, at, BLANKS, MR_IDX_MAX);
    const char *last = end - mr_hf_step_back(end);
    return end == s->end || last == at ? end : last;
}

static const char *gpt2(const scanner *s, const char *at) {
    idx size = contraction(s, at, false);
    if (size > 0) return at + size;
    const char *word = at + (*at == ' ');
    if (word == s->end) return word;
    group kind = group_of(bits_at(s, word, &size));
    return kind == BLANKS ? blanks(s, at) : run(s, word, kind, MR_IDX_MAX);
}

/* blanks[CR LF]+: up to the last line end of a run of blanks; NULL when it has none. */
static const char *line_end(const scanner *s, const char *at) {
    const char *end = run(s, at, BLANKS, MR_IDX_MAX);
    while (end > at && end[-1] != '\r' && end[-1] != '\n') end--;
    return end > at ? end : NULL;
}

static const char *llama3(const scanner *s, const char *at, idx digits) {
    idx size, next;
    const char *end;
    if ((size = contraction(s, at, true)) > 0) return at + size;
    unsigned bits = bits_at(s, at, &size);
    group kind = group_of(bits);
    if (kind == NUMBERS) return run(s, at, NUMBERS, digits);
    if (kind == LETTERS) return run(s, at, LETTERS, MR_IDX_MAX);
    if (!(bits & MR_IS_NEWLINE) && mr_hf_is_letter(bits_at(s, at + size, &next)))
        return run(s, at + size, LETTERS, MR_IDX_MAX);
    const char *from = at + (*at == ' ');
    if ((end = run(s, from, SIGNS, MR_IDX_MAX)) > from) {
        while (end < s->end && (*end == '\r' || *end == '\n')) end++;
        return end;
    }
    end = line_end(s, at);
    return end != NULL ? end : blanks(s, at);
}

/* \w+ or a run of neither \w nor White_Space; NULL at White_Space. */
static const char *word(const scanner *s, const char *at) {
    idx size;
    uint32_t code = mr_hf_code(at, &size);
    if (mr_hf_is_blank(code)) return NULL;
    bool kind = mr_hf_is_word(s->classes, code);
    for (at += size; at < s->end; at += size) {
        code = mr_hf_code(at, &size);
        if (mr_hf_is_blank(code) || mr_hf_is_word(s->classes, code) != kind) break;
    }
    return at;
}

/* Bytes of a match that starts right here, 0 when there is none. */
static idx match_here(const scanner *s, const mr_hf_step *step, const char *at) {
    idx left = s->end - at, size = 0;
    const char *end;
    switch (step->pattern) {
    case MR_HF_TEXT:
        size = step->text.size;
        return left >= size && memcmp(at, step->text.bytes, (size_t)size) == 0 ? size : 0;
    case MR_HF_SPACES:
        while (size < left && at[size] == ' ') size++;
        return size >= 2 ? size : 0;
    case MR_HF_BLANK: return mr_hf_is_blank(mr_hf_code(at, &size)) ? size : 0;
    case MR_HF_DIGIT: return mr_hf_is_numeric(s->classes, mr_hf_code(at, &size)) ? size : 0;
    case MR_HF_WORDS: return (end = word(s, at)) != NULL ? end - at : 0;
    case MR_HF_GPT2:   return gpt2(s, at) - at;
    case MR_HF_LLAMA3: return llama3(s, at, 3) - at;
    case MR_HF_QWEN2:  return llama3(s, at, 1) - at;
    case MR_HF_TEKKEN: return mr_pretoken(s->classes, at, left);
    }
    return 0;
}

/* Before a text that is looked for, everything can be skipped that is not its first byte. */
static const char *skip(const scanner *s, const mr_hf_step *step, const char *at) {
    idx size;
    mr_hf_code(at, &size);
    at += size;
    if (step->pattern != MR_HF_TEXT || at == s->end) return at;
    const char *next = memchr(at, step->text.bytes[0], (size_t)(s->end - at));
    return next != NULL ? next : s->end;
}

idx mr_hf_span(const uint8_t *classes, const mr_hf_step *step, const char *text, idx bytes,
               bool *match) {
    scanner s = {.classes = classes, .end = text + bytes};
    idx size = match_here(&s, step, text);
    *match = size > 0;
    if (*match) return size;
    const char *at = skip(&s, step, text);
    while (at < s.end && match_here(&s, step, at) == 0) at = skip(&s, step, at);
    return at - text;
}
