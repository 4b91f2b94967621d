/* Ids to text, as the library's Decode(ids) does it.
 *
 *     CONTROL   nothing                          BYTE   decoded together with its neighbours
 *     UNKNOWN   unk_surface, " U+2047 "          other  the piece, U+2581 as spaces
 *
 * Decoding is not quite the inverse of encoding: bad bytes come back as U+FFFD, and a typed U+2581
 * comes back as a space. Decoding piece by piece is not the same as decoding all at once either,
 * since each call takes away one leading space. Upstream: SentencePieceProcessor::Decode. */
#include <string.h>

#include "tokenizer/lists.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

/* Consecutive byte pieces are decoded together as UTF-8; bytes that are not become U+FFFD one by
 * one. *at is left on the first id that is not a byte piece. */
static mr_status put_bytes(const mr_spm *spm, const int32_t *ids, idx count, idx *at, mr_text *out,
                           mr_err *err) {
    while (*at < count && spm->vocab.piece[ids[*at]].type == MR_PIECE_BYTE) {
        /* A window of one character's length: what lies beyond cannot matter. */
        char window[4];
        idx filled = 0;
        for (idx i = *at; i < count && filled < 4; i++) {
            const mr_piece *piece = &spm->vocab.piece[ids[i]];
            if (piece->type != MR_PIECE_BYTE) break;
            window[filled++] = (char)mr_spm_byte_value(piece);
        }
        idx size = mr_utf8_valid(window, filled); /* filled >= 1: ids[*at] is a byte piece */
        mr_status status = size > 0 ? mr_text_append(out, window, size, err)
                                    : mr_text_append(out, MR_UTF8_REPLACEMENT, 3, err);
        if (status != MR_OK) return status;
        *at += size > 0 ? size : 1;
    }
    return MR_OK;
}

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

/* Encoding put a space in front, so decoding takes one away: from the first piece that brings
 * text, whatever control pieces precede it. Where encoding trims, every piece before the first
 * text loses one. */
mr_status mr_spm_decode(const void *model, const int32_t *ids, idx count, mr_text *out,
                        mr_err *err) {
    const mr_spm *spm = model;
    idx start = out->count;
    bool at_start = spm->dummy_prefix || spm->trim_spaces, prefix_gone = false;
    mr_status status = MR_OK;
    for (idx i = 0; i < count && status == MR_OK;) {
        const mr_piece *piece = &spm->vocab.piece[ids[i]];
        if (piece->type == MR_PIECE_BYTE) {
            status = put_bytes(spm, ids, count, &i, out, err);
            continue;
        }
        i++;
        /* Judged at each piece from what came before it. A control piece after the prefix makes
         * no text, and byte pieces are not looked at: they do not start with U+2581. */
        if (prefix_gone || out->count > start) at_start = false;
        prefix_gone = false;
        if (piece->type == MR_PIECE_CONTROL) continue;
        if (piece->type == MR_PIECE_UNKNOWN) {
            status = mr_text_append(out, spm->unk_surface, spm->unk_surface_size, err);
            continue;
        }
        const char *bytes = piece->bytes;
        idx size = piece->size;
        if (at_start && size >= 3 && memcmp(bytes, MR_UTF8_SPACE, 3) == 0) {
            bytes += 3;
            size -= 3;
            prefix_gone = !spm->trim_spaces; /* when trimming, the next piece may lose one too */
        }
        status = put_piece(bytes, size, out, err);
    }
    return status;
}
