/* What kind of character a code point is, beyond what pretoken.h knows, and its lower case.
 *
 * The data come from utf8proc. The library was built with other versions of Unicode than it, and
 * differs in what became a character in between: those are listed here. All lists were found by
 * asking the library about every code point. */
#include "tokenizer/hf_unicode.h"

#include <utf8proc.h>

#include "tokenizer/lists.h"

bool mr_hf_is_blank(uint32_t code) {
    if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A)
           || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F
           || code == 0x3000;
}

/* Alphabetic, marks, decimal digits, connecting punctuation and the two joiners. Alphabetic are
 * letters, letter-like numbers and the circled and squared letters. */
bool mr_hf_is_word(const uint8_t *classes, uint32_t code) {
    unsigned bits = classes[code];
    if (bits & (MR_IN_CAPITALS | MR_IN_SMALLS)) return true;
    if (code < 0x80) return code == '_' || (bits & MR_IS_NUMBER) != 0;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    if (bits & MR_IS_NUMBER) return category != UTF8PROC_CATEGORY_NO;
    return category == UTF8PROC_CATEGORY_PC || code == 0x200C
           || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9)
           || (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169)
           || (code >= 0x1F170 && code <= 0x1F189);
}

/* Unicode 17, which has two more groups of numbers than the tables. */
bool mr_hf_is_numeric(const uint8_t *classes, uint32_t code) {
    return (classes[code] & MR_IS_NUMBER) != 0 || (code >= 0x11DE0 && code <= 0x11DE9)
           || (code >= 0x16FF4 && code <= 0x16FF6);
}

mr_status mr_hf_put_code(mr_text *out, uint32_t code, mr_err *err) {
    if (mr_text_reserve(out, 4, err) != MR_OK) return MR_BAD;
    utf8proc_uint8_t *at = (utf8proc_uint8_t *)out->byte + out->count;
    out->count += utf8proc_encode_char((utf8proc_int32_t)code, at);
    out->byte[out->count] = '\0';
    return MR_OK;
}

/* Capitals of Unicode 16 and 17: {first, last, distance to the small letter}. */
static const struct {
    uint32_t first, last;
    int32_t  distance;
} newer[] = {
    {0x1C89, 0x1C89, 1}, {0xA7CB, 0xA7CB, 0x264 - 0xA7CB}, {0xA7CC, 0xA7CC, 1},
    {0xA7CE, 0xA7CE, 1}, {0xA7D2, 0xA7D2, 1}, {0xA7D4, 0xA7D4, 1}, {0xA7DA, 0xA7DA, 1},
    {0xA7DC, 0xA7DC, 0x19B - 0xA7DC}, {0x10D50, 0x10D65, 0x20}, {0x16EA0, 0x16EB8, 0x1B},
};
enum { NEWER = sizeof newer / sizeof newer[0] };

/* Character by character: a sigma at the end of a word is a sigma like any other. */
mr_status mr_hf_put_lower(mr_text *out, uint32_t code, mr_err *err) {
    uint32_t lower = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    for (int i = 0; code >= newer[0].first && i < NEWER; i++)
        if (code >= newer[i].first && code <= newer[i].last)
            lower = (uint32_t)((int32_t)code + newer[i].distance);
    if (code != 0x130) return mr_hf_put_code(out, lower, err);
    return mr_text_append(out, "i\xCC\x87", 3, err); /* the one that becomes two characters */
}
