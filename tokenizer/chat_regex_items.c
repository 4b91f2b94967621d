/* Characters, escapes, sets and repeats of Python's regular expressions: their grammar. */
#include "tokenizer/chat_regex.h"

#include <string.h>

#define MOST_REPEATS 4294967295u

bool mr_re_fails(mr_re *p) {
    p->bad = true;
    p->at = p->end;
    return false;
}

static uint64_t times(uint64_t a, uint64_t b) {
    return a == 0 || b == 0 ? 0 : a > MR_RE_WIDEST / b ? MR_RE_WIDEST : a * b;
}

/* ---- characters ---------------------------------------------------------------------------- */

static uint32_t code_at(const char *at, idx *bytes) {
    const unsigned char lead = (unsigned char)*at;
    const idx size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t code = size == 1 ? lead : lead & (0x7Fu >> size);
    for (idx i = 1; i < size; i++) code = code << 6 | ((unsigned char)at[i] & 0x3Fu);
    *bytes = size;
    return code;
}

/* The next character; a backslash and what follows it are one. */
mr_re_character mr_re_peek(mr_re *p) {
    mr_re_character c = {MR_RE_END, false, 0};
    if (p->at == p->end) return c;
    c.escaped = *p->at == '\\';
    if (c.escaped && p->end - p->at == 1) {
        mr_re_fails(p);
        return (mr_re_character){MR_RE_END, false, 0};
    }
    c.code = code_at(p->at + c.escaped, &c.bytes);
    c.bytes += c.escaped;
    return c;
}

mr_re_character mr_re_get(mr_re *p) {
    const mr_re_character c = mr_re_peek(p);
    p->at += c.bytes;
    return c;
}

static bool sees(mr_re *p, char wanted) {
    const mr_re_character c = mr_re_peek(p);
    return c.code == (uint32_t)wanted && !c.escaped;
}

bool mr_re_take(mr_re *p, char wanted) {
    if (!sees(p, wanted)) return false;
    p->at++;
    return true;
}

static bool is_digit(mr_re_character c, uint32_t last) {
    return !c.escaped && c.code >= '0' && c.code <= last;
}

bool mr_re_among(mr_re_character c, const char *set) {
    return !c.escaped && c.code > 0 && c.code < 0x80 && strchr(set, (int)c.code) != NULL;
}

static bool is_letter(uint32_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z' && c < 0x80; }

/* Up to a closing character that must come; empty is not allowed. */
mr_py_span mr_re_until(mr_re *p, char close) {
    const char *from = p->at;
    while (p->at < p->end && !sees(p, close)) mr_re_get(p);
    const mr_py_span name = {from, p->at - from};
    if (name.count == 0 || !mr_re_take(p, close)) mr_re_fails(p);
    return name;
}

/* ---- escapes ------------------------------------------------------------------------------- */

static uint32_t hex(mr_re *p, int digits) {
    uint32_t code = 0;
    for (int i = 0; i < digits; i++) {
        const mr_re_character c = mr_re_peek(p);
        if (!mr_re_among(c, "0123456789abcdefABCDEF")) {
            mr_re_fails(p);
            return 0;
        }
        code = code * 16 + (c.code <= '9' ? c.code - '0' : (c.code | 32) - 'a' + 10);
        p->at++;
    }
    if (code > 0x10FFFF) mr_re_fails(p);
    return code;
}

static uint32_t octal(mr_re *p, uint32_t code, int more) {
    for (; more > 0 && is_digit(mr_re_peek(p), '7'); more--)
        code = code * 8 + (mr_re_get(p).code - '0');
    if (code > 255) mr_re_fails(p);
    return code;
}

/* An escape that stands for one character; its code, 0 where that does not matter. */
static uint32_t literal(mr_re *p, uint32_t letter) {
    static const char plain[] = "abfnrtv", codes[] = "\a\b\f\n\r\t\v";
    const char *known = letter > 0 && letter < 0x80 ? strchr(plain, (int)letter) : NULL;
    if (known != NULL) return (uint32_t)codes[known - plain];
    if (letter == 'x') return hex(p, 2);
    if (letter == 'u') return hex(p, 4);
    if (letter == 'U') return hex(p, 8);
    if (letter == 'N') {
        if (!mr_re_take(p, '{')) mr_re_fails(p);
        else mr_re_until(p, '}');
        return 0;
    }
    if (is_letter(letter)) mr_re_fails(p);
    return letter;
}

bool mr_re_may_refer(mr_re *p, idx group) {
    if (group >= p->groups || !p->closed[group]) return mr_re_fails(p);
    return p->outside == 0 || group < p->outside || mr_re_fails(p);
}

/* \1 to \99 are groups, three octal digits are a character. */
static mr_re_item digits(mr_re *p, uint32_t first, mr_re_width *out) {
    idx group = (idx)(first - '0');
    if (is_digit(mr_re_peek(p), '9')) {
        const uint32_t second = mr_re_get(p).code;
        if (first <= '7' && second <= '7' && is_digit(mr_re_peek(p), '7')) {
            octal(p, (first - '0') * 8 + (second - '0'), 1);
            return MR_RE_OTHER;
        }
        group = group * 10 + (idx)(second - '0');
    }
    if (mr_re_may_refer(p, group)) *out = p->taken[group];
    return MR_RE_OTHER;
}

mr_re_item mr_re_escape(mr_re *p, uint32_t letter, mr_re_width *out) {
    const mr_re_character c = {letter, false, 1};
    *out = (mr_re_width){1, 1};
    if (mr_re_among(c, "AbBZ")) {
        *out = (mr_re_width){0, 0};
        return MR_RE_PLACE;
    }
    if (mr_re_among(c, "dDsSwW")) return MR_RE_OTHER;
    if (letter == '0') octal(p, 0, 2);
    else if (is_digit(c, '9')) return digits(p, letter, out);
    else literal(p, letter);
    return MR_RE_OTHER;
}

/* ---- [sets] -------------------------------------------------------------------------------- */

/* One end of a range; false for a class such as \d, which cannot be one. */
static bool member(mr_re *p, mr_re_character c, uint32_t *code) {
    *code = c.code;
    if (!c.escaped) return true;
    c.escaped = false;
    if (mr_re_among(c, "dDsSwW")) return false;
    if (is_digit(c, '7')) *code = octal(p, c.code - '0', 2);
    else if (is_digit(c, '9')) mr_re_fails(p);
    else *code = literal(p, c.code);
    return true;
}

void mr_re_set(mr_re *p) {
    mr_re_take(p, '^');
    for (bool empty = true; ; empty = false) {
        uint32_t low, high;
        const mr_re_character c = mr_re_get(p);
        if (c.code == MR_RE_END) {
            mr_re_fails(p);
            return;
        }
        if (c.code == ']' && !c.escaped && !empty) return;
        const bool single = member(p, c, &low);
        if (!mr_re_take(p, '-')) continue;
        const mr_re_character to = mr_re_get(p);
        if (to.code == ']' && !to.escaped) return;
        if (to.code == MR_RE_END || !member(p, to, &high) || !single || high < low) mr_re_fails(p);
    }
}

/* ---- repeats ------------------------------------------------------------------------------- */

static bool bound(mr_re *p, uint64_t *out) {
    bool some = false;
    while (is_digit(mr_re_peek(p), '9')) {
        const uint64_t next = (some ? *out : 0) * 10 + (mr_re_get(p).code - '0');
        *out = next < MR_RE_WIDEST ? next : MR_RE_WIDEST;
        some = true;
    }
    return some;
}

/* {2}, {2,}, {,3}, {2,3}; anything else in braces is text, and false. */
static bool braces(mr_re *p, uint64_t *least, uint64_t *most) {
    const char *from = p->at;
    if (sees(p, '}')) return false;
    const bool low = bound(p, least);
    bool high = low;
    if (mr_re_take(p, ',')) high = bound(p, most);
    else if (low) *most = *least;
    if (!mr_re_take(p, '}')) {
        if (!p->bad) p->at = from;
        return false;
    }
    if ((low && *least >= MOST_REPEATS) || (high && *most >= MOST_REPEATS) ||
        (high && *most < *least)) mr_re_fails(p);
    return true;
}

/* After a repeat sign; false when it was text. */
bool mr_re_repeat(mr_re *p, uint32_t sign, mr_re_item last, mr_re_width *taken) {
    uint64_t least = sign == '+', most = sign == '?' ? 1 : MOST_REPEATS;
    if (sign == '{' && !braces(p, &least, &most)) return false;
    if (last != MR_RE_OTHER) mr_re_fails(p);
    if (!mr_re_take(p, '?')) mr_re_take(p, '+');
    taken->least = times(taken->least, least);
    taken->most = most >= MOST_REPEATS && taken->most > 0 ? MR_RE_WIDEST : times(taken->most, most);
    return true;
}
