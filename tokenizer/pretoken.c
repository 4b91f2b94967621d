/* Tekken's split pattern without a regex engine: seven alternatives, tried in order.
 *
 * Written with C = [Lu Lt Lm Lo M], s = [Ll Lm Lo M], N, blank = White_Space:
 *
 *     1  [^CR LF L N]? C* s+          "Hello", " world", "'s", "(foo"
 *     2  [^CR LF L N]? C+ s*          "HTTP", " NASA"
 *     3  N                            one digit at a time
 *     4  " "? [^blank L N]+ [CR LF /]*    " ==\n", "://"
 *     5  blank* [CR LF]+              blanks up to the last line end
 *     6  blank+ not before a sign     blanks, leaving the last one to the next word
 *     7  blank+
 *
 * An engine tries longer parts first and gives back character by character; what it would arrive
 * at is found here directly. Letters without case are in C and in s, which is where giving back
 * happens: in 1, C* may have to return such letters so that s+ has one. Marks are in C and s but
 * not in L, so that a mark may also stand in front of a word.
 *
 * The scanner is linear: a run is looked at a bounded number of times before it is passed over,
 * since all that can remain of a run of C after alternative 1 is a run that 2 takes whole. */
#include "tokenizer/pretoken.h"

typedef struct {
    const uint8_t *classes;
    const char    *end;
} scanner;

/* The code point of the valid character at `at`, and its length. */
static inline uint32_t code_at(const char *at, idx *size) {
    const unsigned char *b = (const unsigned char *)at;
    if (b[0] < 0x80) return *size = 1, b[0];
    if (b[0] < 0xE0) return *size = 2, (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
    if (b[0] < 0xF0)
        return *size = 3, (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    return *size = 4, (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6
                      | (b[3] & 0x3Fu);
}

/* The bits of the character at `at`, 0 at the end of the text. */
static inline unsigned class_at(const scanner *s, const char *at, idx *size) {
    *size = 0;
    return at < s->end ? s->classes[code_at(at, size)] : 0;
}

/* The end of the run of characters that have one of these bits. */
static inline const char *run(const scanner *s, const char *at, unsigned mask) {
    idx size;
    while (class_at(s, at, &size) & mask) at += size;
    return at;
}

/* Alternative 1 without its first part, C* s+; NULL when it does not match. If a small letter
 * follows the run of C, nothing is given back; else C* ends before the last letter of both. */
static const char *word(const scanner *s, const char *at) {
    const char *caseless = NULL;
    idx size;
    unsigned class;
    for (; (class = class_at(s, at, &size)) & MR_IN_CAPITALS; at += size)
        if (class & MR_IN_SMALLS) caseless = at + size;
    return class & MR_IN_SMALLS ? run(s, at, MR_IN_SMALLS) : caseless;
}

/* Alternative 2 without its first part, C+ s*. */
static const char *capitals(const scanner *s, const char *at) {
    const char *small = run(s, at, MR_IN_CAPITALS);
    return small > at ? run(s, small, MR_IN_SMALLS) : NULL;
}

/* Alternatives 1 and 2, each first with and then without a character in front. */
static const char *letters(const scanner *s, const char *at) {
    idx size;
    const char *end = NULL;
    bool lead = class_at(s, at, &size) & MR_MAY_LEAD;
    if (lead) end = word(s, at + size);
    if (end == NULL) end = word(s, at);
    if (end == NULL && lead) end = capitals(s, at + size);
    return end != NULL ? end : capitals(s, at);
}

/* Alternative 4. */
static const char *signs(const scanner *s, const char *at) {
    const char *from = at + (*at == ' '), *end = run(s, from, MR_IS_SIGN);
    if (end == from) return NULL;
    while (end < s->end && (*end == '\r' || *end == '\n' || *end == '/')) end++;
    return end;
}

/* Alternatives 5 to 7: `at` is a blank. */
static const char *blanks(const scanner *s, const char *at) {
    const char *line = NULL, *last = at; /* after the last line end; the last blank */
    const char *end = at;
    idx size;
    unsigned class;
    for (; (class = class_at(s, end, &size)) & MR_IS_SPACE; end += size) {
        last = end;
        if (class & MR_IS_NEWLINE) line = end + size;
    }
    if (line != NULL) return line;
    return end == s->end || last == at ? end : last;
}

idx mr_pretoken(const uint8_t *classes, const char *text, idx bytes) {
    scanner s = {.classes = classes, .end = text + bytes};
    idx size;
    if (class_at(&s, text, &size) & MR_IS_NUMBER) return size;
    const char *end = letters(&s, text);
    if (end == NULL) end = signs(&s, text);
    if (end == NULL) end = blanks(&s, text);
    return end - text;
}
