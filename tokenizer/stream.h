/* Bytes to text, piece by piece: what every kind's streaming decode is made of. */
#ifndef MR_TOKENIZER_STREAM_H
#define MR_TOKENIZER_STREAM_H

#include "tokenizer/tokenizer.h"

/* How bytes that are no character are written. Text like "\xE2\x82" "A" has one maximal part, the
 * beginning of a character, but two bad bytes. */
typedef enum {
    MR_BAD_PART, /* one U+FFFD per maximal part, as Unicode recommends and Python does */
    MR_BAD_BYTE  /* one U+FFFD per byte, as SentencePiece does */
} mr_bad_rule;

/* Bytes at the start of text[0..bytes), bytes >= 1, that belong together: a character, the
 * beginning of one, or one stray byte. */
typedef enum { MR_PART_WHOLE, MR_PART_BAD, MR_PART_OPEN /* the text ends inside it */ } mr_part;
mr_part mr_utf8_part(const char *text, idx bytes, idx *size);

/* Appends the text of `size` further bytes; keeps an open part in stream->byte. */
mr_status mr_stream_bytes(mr_stream *stream, const char *bytes, idx size, mr_bad_rule rule,
                          mr_text *out, mr_err *err);

/* Nothing follows that could complete the open part, if there is one. */
mr_status mr_stream_flush(mr_stream *stream, mr_bad_rule rule, mr_text *out, mr_err *err);

/* Appends text[0..bytes) with everything bad replaced: all of the above at once. */
mr_status mr_utf8_clean(const char *text, idx bytes, mr_bad_rule rule, mr_text *out, mr_err *err);

#endif
