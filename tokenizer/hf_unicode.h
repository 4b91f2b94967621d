/* Characters: code points to and from UTF-8, what kind they are, and the normalization forms. */
#ifndef MR_TOKENIZER_HF_UNICODE_H
#define MR_TOKENIZER_HF_UNICODE_H

#include "tokenizer/hf.h"
#include "tokenizer/pretoken.h"

/* The code point of the valid character at `at`, and its length. */
static inline uint32_t mr_hf_code(const char *at, idx *size) {
    const unsigned char *b = (const unsigned char *)at;
    if (b[0] < 0x80) return *size = 1, b[0];
    if (b[0] < 0xE0) return *size = 2, (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
    if (b[0] < 0xF0)
        return *size = 3, (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    return *size = 4, (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6
                      | (b[3] & 0x3Fu);
}

/* The bytes before `at` (which is not the start of the text) that are one character. */
static inline idx mr_hf_step_back(const char *at) {
    idx size = 1;
    while (((unsigned char)at[-size] & 0xC0) == 0x80) size++;
    return size;
}

/* The bits of pretoken.h as the other patterns see them: a mark is no letter there. */
static inline bool mr_hf_is_letter(unsigned bits) {
    return (bits & (MR_IN_CAPITALS | MR_IN_SMALLS)) != 0 && (bits & MR_IS_SIGN) == 0;
}

/* White_Space, in general and without a table. */
bool mr_hf_is_blank(uint32_t code);

/* \w of Rust's regular expressions; char::is_numeric of Rust. */
bool mr_hf_is_word(const uint8_t *classes, uint32_t code);
bool mr_hf_is_numeric(const uint8_t *classes, uint32_t code);

/* Appends a code point as UTF-8. */
mr_status mr_hf_put_code(mr_text *out, uint32_t code, mr_err *err);

/* Appends the lower case of a code point. */
mr_status mr_hf_put_lower(mr_text *out, uint32_t code, mr_err *err);

/* Appends text[0..bytes), valid UTF-8, in the form `what`: MR_HF_NFC, _NFD, _NFKC or _NFKD.
 * *first, the bytes of the first characters, becomes the bytes of what stands for them. */
mr_status mr_hf_put_form(mr_text *out, mr_hf_what what, const char *text, idx bytes, idx *first,
                         mr_err *err);

#endif
