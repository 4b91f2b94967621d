/* Base64 decoding: four characters of six bits make three bytes. */
#include "cli/base64.h"

#include <string.h>

mr_status mr_base64_decode(const char *text, mr_text *out, mr_err *err) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const idx length = (idx)strcspn(text, "=");
    if (text[length + (idx)strspn(text + length, "=")] != '\0' || length % 4 == 1)
        return mr_fail(err, MR_BAD, "bytes_b64: not base64");
    char *grown = mr_resize(out->byte, out->count + length + 1, 1, err);
    if (grown == NULL) return MR_BAD;
    out->byte = grown;
    out->room = out->count + length + 1;
    uint32_t bits = 0;
    for (idx i = 0; i < length; i++) {
        const char *digit = strchr(alphabet, text[i]);
        if (digit == NULL) return mr_fail(err, MR_BAD, "bytes_b64: character %td is not base64", i);
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        if (i % 4 != 0) out->byte[out->count++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    out->byte[out->count] = '\0';
    return MR_OK;
}
