/* Base64: four characters of six bits make three bytes.
 *
 *     "TWFu" = 010011 010110 000101 101110 = 01001101 01100001 01101110 = "Man"
 *
 * Two or three characters at the end, filled up with '=' to four, make one or two bytes. */
#include "tokenizer/base64.h"

#include <string.h>

#include "tokenizer/lists.h"

/* The six bits of a character, by its place in the alphabet A-Z a-z 0-9 + /; -1 for all others. */
static int six_bits(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Never writes ahead of what it reads, hence `out` may be `text`. */
idx mr_base64_bytes(const char *text, idx size, char *out) {
    uint32_t bits = 0;
    idx i = 0, count = 0;
    for (int value; i < size && (value = six_bits(text[i])) >= 0; i++) {
        bits = bits << 6 | (uint32_t)value;
        /* The second character of a group completes the first byte, and so on. */
        if (i % 4 != 0) out[count++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xFF);
    }
    if (i % 4 == 1) return -1 - i; /* six bits are not a byte */
    if (i == size) return count;

    /* Padding: as many as are missing, then nothing. */
    idx padded = i;
    while (padded < size && text[padded] == '=') padded++;
    if (padded < size || padded % 4 != 0 || padded - i > 2) return -1 - i;
    return count;
}

mr_status mr_base64_decode(const char *text, mr_text *out, mr_err *err) {
    idx size = (idx)strlen(text);
    mr_status status = mr_text_reserve(out, size, err);
    if (status != MR_OK) return status;
    idx count = mr_base64_bytes(text, size, out->byte + out->count);
    if (count < 0) {
        out->byte[out->count] = '\0';
        return mr_fail(err, MR_BAD, "base64: character %td of %td is wrong or missing", -count,
                       size);
    }
    out->count += count;
    out->byte[out->count] = '\0';
    return MR_OK;
}
