/* Whole characters at once, beginnings of characters as soon as it is clear what they become.
 *
 * Decoding everything at once and decoding id by id must give the same text. They do, because
 * both are this code: bytes arrive in portions, the portions are cut anywhere, and at most three
 * bytes wait. Example: E2 | 82 AC 41 makes nothing, then "\u20AC" "A"; E2 | 41 makes nothing, then
 * U+FFFD "A". */
#include "tokenizer/stream.h"

#include <string.h>

#include "tokenizer/lists.h"
#include "tokenizer/utf8.h"

/* The table of well-formed sequences of the Unicode standard (chapter 3, UTF-8): the lead byte
 * decides the length, and for a few leads a narrower range of the second byte. */
mr_part mr_utf8_part(const char *text, idx bytes, idx *size) {
    const unsigned char *b = (const unsigned char *)text;
    unsigned lead = b[0], low = 0x80, high = 0xBF;
    *size = 1;
    if (lead < 0x80) return MR_PART_WHOLE;
    if (lead < 0xC2 || lead > 0xF4) return MR_PART_BAD;
    idx whole = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead == 0xE0) low = 0xA0;  /* less would be overlong */
    if (lead == 0xED) high = 0x9F; /* more would be a surrogate */
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F; /* more would exceed U+10FFFF */
    for (; *size < whole; ++*size, low = 0x80, high = 0xBF) {
        if (*size == bytes) return MR_PART_OPEN;
        if (b[*size] < low || b[*size] > high) return MR_PART_BAD;
    }
    return MR_PART_WHOLE;
}

static mr_status put_bad(idx size, mr_bad_rule rule, mr_text *out, mr_err *err) {
    mr_status status = MR_OK;
    for (idx n = rule == MR_BAD_BYTE ? size : 1; n > 0 && status == MR_OK; n--)
        status = mr_text_append(out, MR_UTF8_REPLACEMENT, 3, err);
    return status;
}

mr_status mr_stream_flush(mr_stream *stream, mr_bad_rule rule, mr_text *out, mr_err *err) {
    idx size = stream->bytes;
    stream->bytes = 0;
    return size > 0 ? put_bad(size, rule, out, err) : MR_OK;
}

/* One more byte for the open part: it stays open, becomes a character, or was the beginning of
 * none. Then `*used` is 0: the byte starts something of its own. */
static mr_status extend(mr_stream *stream, char byte, bool *used, mr_bad_rule rule, mr_text *out,
                        mr_err *err) {
    idx size;
    stream->byte[stream->bytes] = byte; /* at most three wait, so there is room for a fourth */
    mr_part part = mr_utf8_part(stream->byte, stream->bytes + 1, &size);
    *used = part != MR_PART_BAD;
    if (!*used) return mr_stream_flush(stream, rule, out, err);
    stream->bytes++;
    if (part == MR_PART_OPEN) return MR_OK;
    stream->bytes = 0;
    return mr_text_append(out, stream->byte, size, err);
}

mr_status mr_stream_bytes(mr_stream *stream, const char *bytes, idx size, mr_bad_rule rule,
                          mr_text *out, mr_err *err) {
    const char *end = bytes + size;
    while (bytes < end && stream->bytes > 0) {
        bool used;
        if (extend(stream, *bytes, &used, rule, out, err) != MR_OK) return MR_BAD;
        bytes += used;
    }
    while (bytes < end) {
        const char *good = bytes; /* the longest run of characters is copied in one piece */
        mr_part part = MR_PART_WHOLE;
        idx part_size = 0;
        while (bytes < end
               && (part = mr_utf8_part(bytes, end - bytes, &part_size)) == MR_PART_WHOLE)
            bytes += part_size;
        mr_status status = mr_text_append(out, good, bytes - good, err);
        if (bytes == end || status != MR_OK) return status;
        if (part == MR_PART_OPEN) {
            stream->bytes = (int)part_size;
            memcpy(stream->byte, bytes, (size_t)part_size);
        } else if (put_bad(part_size, rule, out, err) != MR_OK) {
            return MR_BAD;
        }
        bytes += part_size;
    }
    return MR_OK;
}

mr_status mr_utf8_clean(const char *text, idx bytes, mr_bad_rule rule, mr_text *out, mr_err *err) {
    mr_stream stream = {0};
    mr_status status = mr_stream_bytes(&stream, text, bytes, rule, out, err);
    return status == MR_OK ? mr_stream_flush(&stream, rule, out, err) : status;
}
