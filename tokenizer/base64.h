/* Base64 (RFC 4648), for bytes that JSON text cannot carry. */
#ifndef MR_TOKENIZER_BASE64_H
#define MR_TOKENIZER_BASE64_H

#include "tokenizer/tokenizer.h"

/* Writes the bytes of text[0..size) to `out`, which has room for 3 * size / 4 and may be `text`
 * itself. Padding may be left out. Returns the number of bytes, or -1 - i when character i is the
 * first that is wrong (i == size: the text ends too early). */
idx mr_base64_bytes(const char *text, idx size, char *out);

/* Appends the bytes of `text` to *out; MR_BAD when it is not base64. */
mr_status mr_base64_decode(const char *text, mr_text *out, mr_err *err);

#endif
