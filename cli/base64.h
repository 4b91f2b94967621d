/* Base64 (RFC 4648), for bytes that JSON text cannot carry. */
#ifndef MR_CLI_BASE64_H
#define MR_CLI_BASE64_H

#include "tokenizer/tokenizer.h"

/* Appends the bytes of `text` to *out; padding may be left out. MR_BAD on any other character. */
mr_status mr_base64_decode(const char *text, mr_text *out, mr_err *err);

#endif
