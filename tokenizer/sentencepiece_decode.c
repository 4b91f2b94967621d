/* Ids to text, as the library's Decode(ids) does it, but one id at a time.
 *
 *     CONTROL   nothing                          BYTE   decoded together with its neighbours
 *     UNKNOWN   unk_surface, " U+2047 "          other  the piece, U+2581 as spaces
 *
 * Decoding is not quite the inverse of encoding: bad bytes come back as U+FFFD, and a typed U+2581
 * comes back as a space. What a piece becomes depends on what came before it, since the first one
 * loses its leading space: three bits of mr_stream remember that.
 *
 *     begun        something was written, so that what follows is not at the start
 *     prefix_gone  the last piece but control pieces lost its space
 *     past_start   a later piece has seen either: no space goes any more
 *
 * Upstream: SentencePieceProcessor::Decode. */
#include <string.h>

#include "tokenizer/lists.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/stream.h"
#include "tokenizer/utf8.h"

/* A piece of text, every U+2581 as a space. Never longer than the piece, hence one reservation. */
static mr_status put_piece(const char *bytes, idx size, mr_text *out, mr_err *err) {
    if (mr_text_reserve(out, size, err) != MR_OK) return MR_BAD;
    for (idx i = 0; i < size;) {
        bool space = size - i >= 3 && memcmp(bytes + i, MR_UTF8_SPACE, 3) == 0;
        out->byte[out->count++] = space ? ' ' : bytes[i];
        i += space ? 3 : 1;
    }
    out->byte[out->count] = '\0';
    return MR_OK;
}

/* A piece that is not a byte: the bytes before it are complete. Encoding put a space in front, so
 * decoding takes one away: from the first piece that brings text, whatever control pieces precede
 * it. Where encoding trims, every piece before the first text loses one. */
static mr_status put_text(const mr_spm *spm, mr_stream *stream, const mr_piece *piece,
                          mr_text *out, mr_err *err) {
    /* Judged at each piece from what came before it. A control piece after the prefix makes no
     * text, and byte pieces are not looked at: they do not start with U+2581. */
    if (stream->prefix_gone || stream->begun) stream->past_start = true;
    stream->prefix_gone = false;
    if (piece->type == MR_PIECE_CONTROL) return MR_OK;
    if (piece->type == MR_PIECE_UNKNOWN)
        return mr_text_append(out, spm->unk_surface, spm->unk_surface_size, err);
    const char *bytes = piece->bytes;
    idx size = piece->size;
    bool at_start = (spm->dummy_prefix || spm->trim_spaces) && !stream->past_start;
    if (at_start && size >= 3 && memcmp(bytes, MR_UTF8_SPACE, 3) == 0) {
        bytes += 3;
        size -= 3;
        stream->prefix_gone = !spm->trim_spaces; /* when trimming, the next piece may lose one */
    }
    return put_piece(bytes, size, out, err);
}

mr_status mr_spm_stream(const void *model, mr_stream *stream, int32_t id, mr_text *out,
                        mr_err *err) {
    const mr_spm *spm = model;
    const mr_piece *piece = &spm->vocab.piece[id];
    idx before = out->count;
    mr_status status;
    if (piece->type == MR_PIECE_BYTE) {
        char byte = (char)mr_spm_byte_value(piece);
        status = mr_stream_bytes(stream, &byte, 1, MR_BAD_BYTE, out, err);
    } else {
        status = mr_stream_flush(stream, MR_BAD_BYTE, out, err);
        if (out->count > before) stream->begun = true;
        if (status == MR_OK) status = put_text(spm, stream, piece, out, err);
    }
    if (out->count > before) stream->begun = true;
    return status;
}

mr_status mr_spm_stream_end(const void *model, mr_stream *stream, mr_text *out, mr_err *err) {
    (void)model;
    return mr_stream_flush(stream, MR_BAD_BYTE, out, err);
}
