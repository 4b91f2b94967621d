/* Cutting a text into words, numbers, signs and blanks before merging: Tekken's pattern as a
 * linear scanner, over the Unicode general categories. */
#ifndef MR_TOKENIZER_PRETOKEN_H
#define MR_TOKENIZER_PRETOKEN_H

#include "ref/base.h"

/* The pattern that mr_pretoken implements, as the file spells it. */
#define MR_TEKKEN_PATTERN \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" \
    "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define MR_UNICODE_VERSION "16.0.0" /* of the categories: those of the original's regex engine */
#define MR_CODES           0x110000 /* code points */

/* What the pattern asks about a character, one bit per question. */
enum {
    MR_IN_CAPITALS = 1,  /* Lu Lt Lm Lo M: may stand in the capital part of a word */
    MR_IN_SMALLS = 2,    /* Ll Lm Lo M: may stand in its small part; letters without case in both */
    MR_IS_NUMBER = 4,    /* N */
    MR_IS_SPACE = 8,     /* White_Space */
    MR_IS_NEWLINE = 16,  /* CR LF */
    MR_MAY_LEAD = 32,    /* not CR LF L N: may stand in front of a word */
    MR_IS_SIGN = 64      /* not White_Space L N */
};

/* MR_CODES bytes, the bits of every code point; free with mr_free. NULL when memory is short. */
uint8_t *mr_pretoken_classes(mr_err *err);

/* Bytes of the piece at the start of text[0..bytes), bytes >= 1; the text is valid UTF-8. Pieces
 * follow each other without gaps, and cutting a whole text takes time linear in its length. */
idx mr_pretoken(const uint8_t *classes, const char *text, idx bytes);

#endif
