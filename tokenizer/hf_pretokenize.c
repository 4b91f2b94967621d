/* The pre-tokenizers: cut a text into pieces that no merge crosses, and rewrite the pieces.
 *
 * Each one makes a new list from the old, pieces in order and text of its own: simple, and linear
 * whatever the pieces are. Upstream: pre_tokenizers/ and NormalizedString::split. */
#include <string.h>

#include "tokenizer/hf_unicode.h"
#include "tokenizer/lists.h"

mr_status mr_hf_pieces_add(mr_hf_pieces *pieces, idx start, idx size, idx first, mr_err *err) {
    if (size == 0) return MR_OK;
    if (pieces->count == pieces->room) {
        idx room;
        if (!mr_mul(pieces->room > 0 ? pieces->room : 16, 2, &room)) room = MR_IDX_MAX;
        mr_hf_piece *grown = mr_resize(pieces->piece, room, (idx)sizeof *grown, err);
        if (grown == NULL) return MR_BAD;
        pieces->piece = grown;
        pieces->room = room;
    }
    if (first < 0) first = 0;
    pieces->piece[pieces->count++] = (mr_hf_piece){start, size, first < size ? first : size};
    return MR_OK;
}

void mr_hf_pieces_free(mr_hf_pieces *pieces) {
    mr_text_free(&pieces->text);
    mr_free(pieces->piece);
    *pieces = (mr_hf_pieces){0};
}

/* Cutting one piece. Spans come from left to right; the behaviour may hold one back, to see
 * whether the next one joins it. */
typedef struct {
    mr_hf_pieces   *out;
    mr_hf_piece     whole;       /* the piece, as it stands in out->text */
    mr_hf_behaviour behaviour;
    idx             start, size; /* of the span held back; size 0: none */
    bool            matched;     /* whether the last span was a match */
    mr_err         *err;
} cutter;

static mr_status give(const cutter *c, idx start, idx size) {
    idx first = c->whole.first - (start - c->whole.start);
    return mr_hf_pieces_add(c->out, start, size, first, c->err);
}

/* Gives out what was held back and holds back this span. */
static mr_status hold(cutter *c, idx start, idx size) {
    mr_status status = give(c, c->start, c->size);
    c->start = start;
    c->size = size;
    return status;
}

static mr_status put_span(cutter *c, idx start, idx size, bool match) {
    bool before = c->matched, held = c->size > 0, join = false;
    c->matched = match;
    switch (c->behaviour) {
    case MR_HF_ISOLATED:      return give(c, start, size);
    case MR_HF_REMOVED:       return match ? MR_OK : give(c, start, size);
    case MR_HF_CONTIGUOUS:    join = held && match == before; break;
    case MR_HF_WITH_PREVIOUS: join = held && match && !before; break;
    case MR_HF_WITH_NEXT:     join = held && !match && before; break;
    }
    if (!join) return hold(c, start, size);
    c->size += size;
    return MR_OK;
}

/* All spans of the piece, cut at the pattern of the step. */
static mr_status cut(const mr_hf *hf, const mr_hf_step *step, mr_hf_pieces *out, mr_hf_piece whole,
                     mr_err *err) {
    cutter c = {.out = out, .whole = whole, .behaviour = step->behaviour, .err = err};
    mr_status status = MR_OK;
    for (idx at = 0, size; at < whole.size && status == MR_OK; at += size) {
        bool match;
        size = mr_hf_span(hf->classes, step, out->text.byte + whole.start + at, whole.size - at,
                          &match);
        status = put_span(&c, whole.start + at, size, match != step->invert);
    }
    return status == MR_OK ? hold(&c, 0, 0) : status;
}

static mr_status split(const mr_hf *hf, const mr_hf_step *step, const char *text,
                       const mr_hf_piece *piece, mr_hf_pieces *out, mr_err *err) {
    mr_hf_piece whole = {out->text.count, piece->size, piece->first};
    if (mr_text_append(&out->text, text, piece->size, err) != MR_OK) return MR_BAD;
    return cut(hf, step, out, whole, err);
}

static bool starts_with(const char *text, idx size, const mr_hf_string *start) {
    return size >= start->size && memcmp(text, start->bytes, (size_t)start->size) == 0;
}

/* Spaces become the replacement, one more is put in front, and words begin at it. */
static mr_status metaspace(const mr_hf *hf, const mr_hf_step *step, const char *text,
                           const mr_hf_piece *piece, mr_hf_pieces *out, mr_err *err) {
    mr_text *to = &out->text;
    mr_hf_piece whole = {.start = to->count};
    bool spaced = *text == ' ' || starts_with(text, piece->size, &step->text);
    bool wanted = step->scheme == MR_HF_ALWAYS || (step->scheme == MR_HF_FIRST && piece->first > 0);
    mr_status status = MR_OK;
    if (wanted && !spaced) status = mr_text_append(to, step->text.bytes, step->text.size, err);
    for (idx at = 0, size; at < piece->size && status == MR_OK; at += size) {
        const char *space = memchr(text + at, ' ', (size_t)(piece->size - at));
        size = space == text + at ? 1 : (space != NULL ? space - text : piece->size) - at;
        if (at < piece->first && at + size > piece->first) size = piece->first - at;
        status = space == text + at ? mr_text_append(to, step->text.bytes, step->text.size, err)
                                    : mr_text_append(to, text + at, size, err);
        if (at + size == piece->first) whole.first = to->count - whole.start;
    }
    whole.size = to->count - whole.start;
    if (status != MR_OK) return status;
    return step->split ? cut(hf, step, out, whole, err)
                       : mr_hf_pieces_add(out, whole.start, whole.size, whole.first, err);
}

/* Rewrites text[0..piece->size) byte by byte as a piece of its own. */
static mr_status put_bytes(const char *text, const mr_hf_piece *piece, mr_hf_pieces *out,
                           mr_err *err) {
    mr_text *to = &out->text;
    idx start = to->count, room, first = 0;
    if (!mr_mul(piece->size, 2, &room)) room = MR_IDX_MAX;
    if (mr_text_reserve(to, room, err) != MR_OK) return MR_BAD;
    for (idx i = 0; i < piece->size; i++) {
        mr_hf_put_byte(to, text[i]);
        if (i < piece->first) first = to->count - start;
    }
    return mr_hf_pieces_add(out, start, to->count - start, first, err);
}

/* A space in front where there is none, words of GPT-2's pattern, and each byte a character. */
static mr_status byte_level(const mr_hf *hf, const mr_hf_step *step, const char *text,
                            const mr_hf_piece *piece, mr_hf_pieces *out, mr_err *err) {
    mr_text with_space = {0};
    mr_hf_piece whole = *piece;
    mr_status status = MR_OK;
    if (step->prefix && *text != ' ') {
        status = mr_text_append(&with_space, " ", 1, err);
        if (status == MR_OK) status = mr_text_append(&with_space, text, piece->size, err);
        text = with_space.byte;
        whole.size++;
        whole.first += whole.first > 0;
    }
    for (idx at = 0, size; at < whole.size && status == MR_OK; at += size) {
        bool match;
        size = whole.size - at;
        if (step->split) size = mr_hf_span(hf->classes, step, text + at, size, &match);
        mr_hf_piece word = {at, size, whole.first - at};
        status = put_bytes(text + at, &word, out, err);
    }
    mr_text_free(&with_space);
    return status;
}

static mr_status run(const mr_hf *hf, const mr_hf_step *step, const char *text,
                     const mr_hf_piece *piece, mr_hf_pieces *out, mr_err *err) {
    switch (step->what) {
    case MR_HF_METASPACE:  return metaspace(hf, step, text, piece, out, err);
    case MR_HF_BYTE_LEVEL: return byte_level(hf, step, text, piece, out, err);
    default:               return split(hf, step, text, piece, out, err);
    }
}

mr_status mr_hf_pretokenize(const mr_hf *hf, mr_hf_pieces *pieces, mr_hf_pieces *spare,
                            mr_err *err) {
    for (int i = 0; i < hf->pretokenizer.count; i++) {
        spare->count = spare->text.count = 0;
        for (idx p = 0; p < pieces->count; p++) {
            const mr_hf_piece *piece = &pieces->piece[p];
            mr_status status = run(hf, &hf->pretokenizer.step[i], pieces->text.byte + piece->start,
                                   piece, spare, err);
            if (status != MR_OK) return status;
        }
        mr_hf_pieces swapped = *pieces;
        *pieces = *spare;
        *spare = swapped;
    }
    return MR_OK;
}
