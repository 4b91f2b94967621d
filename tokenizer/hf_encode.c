/* Text to ids: added tokens out, normalize, again, pre-tokenize, and BPE on each piece.
 *
 * Upstream: tokenizer/mod.rs, encode_single_sequence; models/bpe/model.rs, merge_word. */
#include "tokenizer/hf.h"
#include "tokenizer/lists.h"
#include "tokenizer/stream.h"
#include "tokenizer/utf8.h"

/* All working memory of one call, so that a tokenizer itself is never written to. */
typedef struct {
    const mr_hf *hf;
    mr_text      clean, norm;    /* the text without bad bytes; a segment of it, normalized */
    mr_hf_pieces pieces, spare;
    mr_bpe       bpe;
    mr_ids      *out;
    mr_err      *err;
} encoder;

/* Symbols are counted, not measured: merging looks at ids only. */
static mr_status add(encoder *e, int32_t id) {
    return mr_bpe_add(&e->bpe, e->bpe.count, 1, id, false, e->err);
}

/* A character that is no piece, as byte pieces: all of its bytes or none. */
static mr_status add_bytes(encoder *e, const char *bytes, idx size, bool *done) {
    const int32_t *byte_id = e->hf->model.byte_id;
    *done = e->hf->model.byte_fallback;
    for (idx i = 0; i < size; i++) *done = *done && byte_id[(unsigned char)bytes[i]] >= 0;
    for (idx i = 0; *done && i < size; i++)
        if (add(e, byte_id[(unsigned char)bytes[i]]) != MR_OK) return MR_BAD;
    return MR_OK;
}

/* An unknown character. With fuse_unk a run of them is one unknown piece, which is added when the
 * run ends; byte pieces do not end it and so may come before it, as they do in the library. */
static mr_status add_unknown(encoder *e, const char *bytes, idx size, bool *pending) {
    const mr_hf_model *model = &e->hf->model;
    bool done;
    mr_status status = add_bytes(e, bytes, size, &done);
    if (status != MR_OK || done || model->unk == -1) return status;
    if (model->unk < 0)
        return mr_fail(e->err, MR_BAD, "a character is not in the vocabulary, and neither is the "
                       "unk_token of this tokenizer.json");
    if (*pending && !model->fuse_unk) status = add(e, model->unk);
    *pending = true;
    return status;
}

static mr_status add_symbols(encoder *e, const char *text, idx bytes) {
    const mr_hf_model *model = &e->hf->model;
    bool pending = false; /* an unknown piece that is not added yet */
    mr_status status = MR_OK;
    e->bpe.count = 0;
    for (idx at = 0, size; at < bytes && status == MR_OK; at += size) {
        size = mr_utf8_step(text[at]); /* valid by now */
        int32_t id = mr_hf_find(model, text + at, size);
        if (id < 0) {
            status = add_unknown(e, text + at, size, &pending);
            continue;
        }
        if (pending) status = add(e, model->unk);
        pending = false;
        if (status == MR_OK) status = add(e, id);
    }
    if (status == MR_OK && pending) status = add(e, model->unk);
    return status;
}

static mr_status encode_piece(encoder *e, const char *text, idx bytes) {
    mr_hf_model *model = (mr_hf_model *)&e->hf->model; /* only read, through a void * */
    if (model->ignore_merges) {
        int32_t id = mr_hf_find(model, text, bytes);
        if (id >= 0) return mr_ids_push(e->out, id, e->err);
    }
    if (add_symbols(e, text, bytes) != MR_OK) return MR_BAD;
    if (mr_bpe_merge(&e->bpe, text, mr_hf_join, model, e->err) != MR_OK) return MR_BAD;
    if (e->bpe.count == 0) return MR_OK; /* unknown characters, and no piece for them */
    for (int32_t i = 0; i >= 0; i = e->bpe.symbol[i].next)
        if (mr_ids_push(e->out, e->bpe.symbol[i].id, e->err) != MR_OK) return MR_BAD;
    return MR_OK;
}

/* A part of the normalized text without added tokens. */
static mr_status encode_words(encoder *e, const char *text, idx bytes, idx first) {
    mr_hf_pieces *pieces = &e->pieces;
    pieces->count = pieces->text.count = 0;
    if (e->hf->pretokenizer.count == 0) return encode_piece(e, text, bytes);
    mr_status status = mr_text_append(&pieces->text, text, bytes, e->err);
    if (status == MR_OK) status = mr_hf_pieces_add(pieces, 0, bytes, first, e->err);
    if (status == MR_OK) status = mr_hf_pretokenize(e->hf, pieces, &e->spare, e->err);
    for (idx i = 0; i < pieces->count && status == MR_OK; i++)
        status = encode_piece(e, pieces->text.byte + pieces->piece[i].start,
                              pieces->piece[i].size);
    return status;
}

static mr_status put_token(encoder *e, idx index) {
    return mr_ids_push(e->out, e->hf->added.token[index].id, e->err);
}

/* A part of the original text without added tokens, except those that show after normalizing. */
static mr_status encode_segment(encoder *e, const char *text, idx bytes, idx first) {
    e->norm.count = 0;
    mr_status status = mr_text_append(&e->norm, text, bytes, e->err);
    if (status == MR_OK) status = mr_hf_normalize(&e->hf->normalizer, &e->norm, &first, e->err);
    mr_hf_cut cut = {.hf = e->hf, .normal = true, .text = e->norm.byte, .bytes = e->norm.count};
    for (bool more = true; more && status == MR_OK;) {
        idx start, size, index;
        more = mr_hf_cut_next(&cut, &start, &size, &index);
        idx left = first > start ? first - start : 0;
        if (size > 0) status = encode_words(e, e->norm.byte + start, size, left);
        if (more && status == MR_OK) status = put_token(e, index);
    }
    return status;
}

static mr_status encode_text(encoder *e, const char *text, idx bytes) {
    mr_hf_cut cut = {.hf = e->hf, .text = text, .bytes = bytes};
    mr_status status = MR_OK;
    for (bool more = true; more && status == MR_OK;) {
        idx start, size, index;
        more = mr_hf_cut_next(&cut, &start, &size, &index);
        idx first = start == 0 ? mr_utf8_step(text[0]) : 0;
        if (size > 0) status = encode_segment(e, text + start, size, first);
        if (more && status == MR_OK) status = put_token(e, index);
    }
    return status;
}

static bool is_utf8(const char *text, idx bytes) {
    for (idx at = 0, size; at < bytes; at += size)
        if ((size = mr_utf8_valid(text + at, bytes - at)) == 0) return false;
    return true;
}

mr_status mr_hf_encode(const void *model, const char *text, idx bytes, mr_ids *out, mr_err *err) {
    encoder e = {.hf = model, .out = out, .err = err};
    mr_status status = MR_OK;
    if (!is_utf8(text, bytes)) {
        status = mr_utf8_clean(text, bytes, MR_BAD_PART, &e.clean, err);
        text = e.clean.byte;
        bytes = e.clean.count;
    }
    if (status == MR_OK) status = encode_text(&e, text, bytes);
    mr_text_free(&e.clean);
    mr_text_free(&e.norm);
    mr_hf_pieces_free(&e.pieces);
    mr_hf_pieces_free(&e.spare);
    mr_bpe_free(&e.bpe);
    return status;
}
