/* UTF-8, seen two ways: by the lead byte alone, and strictly. SentencePiece needs both.
 *
 * The normaliser checks strictly, because bytes that are not UTF-8 must become U+FFFD. The merge
 * loop then only looks at lead bytes: its text is valid by construction, except inside
 * user-defined pieces, whose bytes a model file chooses freely. */
#ifndef MR_TOKENIZER_UTF8_H
#define MR_TOKENIZER_UTF8_H

#include "ref/base.h"

#define MR_UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD: what one bad byte turns into */
#define MR_UTF8_SPACE       "\xE2\x96\x81" /* U+2581: how SentencePiece writes a space */

/* Bytes of the character that starts here, by the high half of its lead byte; 1 for a stray
 * trail byte. The caller clips to the end of the text. */
static inline idx mr_utf8_step(char lead) {
    return "\1\1\1\1\1\1\1\1\1\1\1\1\2\2\3\4"[(unsigned char)lead >> 4];
}

/* The low six bits of a trail byte, or a number too large for any code point. */
static inline uint32_t mr_utf8_trail(char byte) {
    return ((unsigned char)byte & 0xC0) == 0x80 ? (unsigned char)byte & 0x3Fu : 0x80000000u;
}

/* Bytes of the valid character at text[0..bytes), bytes >= 1; 0 when there is none. Overlong
 * forms, surrogates and values above U+10FFFF are not valid: the usual definition, and the one
 * SentencePiece applies. */
static inline idx mr_utf8_valid(const char *text, idx bytes) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000}; /* smaller would be overlong */
    unsigned lead = (unsigned char)text[0];
    if (lead < 0x80) return 1;
    idx size = lead >= 0xF8 ? 0 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 0;
    if (size == 0 || size > bytes) return 0;

    uint32_t code = lead & (0x7Fu >> size), broken = 0;
    for (idx i = 1; i < size; i++) {
        uint32_t low = mr_utf8_trail(text[i]);
        broken |= low & 0x80000000u;
        code = code << 6 | (low & 0x3F);
    }
    bool surrogate = code >= 0xD800 && code < 0xE000;
    return !broken && code >= least[size] && code <= 0x10FFFF && !surrogate ? size : 0;
}

#endif
