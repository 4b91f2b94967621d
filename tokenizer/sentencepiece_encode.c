/* Text to ids: normalise, cut into characters, merge, look up what is left.
 *
 * Two things go beyond the plain description. First, the text is cut where no merge can cross
 * (mr_spm_may_join) and the stretches are merged one by one: merges of different stretches do not
 * affect each other, so their order among each other is free. Second, pieces of type UNUSED take
 * part in merging but are never written; what they were made of is written instead.
 *
 * Upstream: bpe_model.cc, Model::SampleEncode with alpha 0; sentencepiece_processor.cc,
 * PopulateSentencePieceText. */
#include "tokenizer/bpe.h"
#include "tokenizer/lists.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

/* How an UNUSED piece came about: the two symbols last seen to make it up, anywhere in the text
 * and whether or not they were merged. One note per piece, not per place: that is the library's
 * rule, and the reason why texts are not cut when a model has such pieces. */
typedef struct {
    int32_t left_bytes; /* 0: never */
    int32_t left, right;
} halves;

/* A stretch of text that is to be written as one piece, or taken apart. */
typedef struct {
    int32_t start, bytes, id;
} part;

typedef struct {
    const mr_spm *spm;
    mr_text       norm;     /* the normalised text, all of it */
    mr_bpe        bpe;      /* the symbols of the present stretch */
    halves       *made;     /* by number of the UNUSED piece */
    part         *todo;     /* stack of parts of an UNUSED piece still to be written */
    idx           todo_count, todo_room;
    bool          after_unk;/* the last thing written was the unknown piece */
    mr_ids       *out;
    mr_err       *err;
} encoder;

/* Pieces of these types come from text; control, byte and unknown pieces never do. */
static bool from_text(const mr_piece *piece) {
    return piece->type == MR_PIECE_NORMAL || piece->type == MR_PIECE_USER_DEFINED
           || piece->type == MR_PIECE_UNUSED;
}

/* SentencePiece's rule: two symbols join if their bytes together are a piece; it does not matter
 * which two symbols. The score of that piece is the priority. */
static bool joins(void *rule, const char *text, const mr_symbol *left, const mr_symbol *right,
                  mr_join *join) {
    encoder *e = rule;
    const mr_vocab *vocab = &e->spm->vocab;
    int32_t id = mr_vocab_find(vocab, text + left->start, (idx)left->bytes + right->bytes);
    if (id < 0 || !from_text(&vocab->piece[id])) return false;
    const mr_piece *piece = &vocab->piece[id];
    if (piece->unused >= 0)
        e->made[piece->unused] = (halves){left->bytes, left->id, right->id};
    *join = (mr_join){.order = piece->order, .id = id};
    return true;
}

/* A symbol that is no piece: one byte piece per byte, or the unknown piece, once per run. */
static mr_status put_unknown(encoder *e, const char *bytes, idx size) {
    const mr_spm *spm = e->spm;
    if (spm->byte_fallback) {
        for (idx i = 0; i < size; i++)
            if (mr_ids_push(e->out, spm->byte_id[(unsigned char)bytes[i]], e->err) != MR_OK)
                return MR_BAD;
        return MR_OK;
    }
    bool repeated = e->after_unk;
    e->after_unk = true;
    return repeated ? MR_OK : mr_ids_push(e->out, spm->unk, e->err);
}

/* At most one entry per character of a piece; grows as needed because few models need it. */
static mr_status todo_push(encoder *e, part p) {
    if (e->todo_count == e->todo_room) {
        idx room;
        if (!mr_mul(e->todo_room > 0 ? e->todo_room : 16, 2, &room)) room = MR_IDX_MAX;
        part *todo = mr_resize(e->todo, room, (idx)sizeof *todo, e->err);
        if (todo == NULL) return MR_BAD;
        e->todo = todo;
        e->todo_room = room;
    }
    e->todo[e->todo_count++] = p;
    return MR_OK;
}

/* An UNUSED piece helps to merge but is not written: its halves are, which may be UNUSED in their
 * turn. The stack replaces a recursion whose depth the model file would control. Both halves are
 * shorter than the whole, so this ends; the left one is on top, so ids come in text order. */
static mr_status put_halves(encoder *e, part p, const halves *made) {
    part right = {p.start + made->left_bytes, p.bytes - made->left_bytes, made->right};
    part left = {p.start, made->left_bytes, made->left};
    if (todo_push(e, right) != MR_OK) return MR_BAD;
    return todo_push(e, left);
}

/* Writes the id of a part, or what stands for it. Characters that nobody joined come without an
 * id: most characters are joined, so looking all of them up in advance would be wasted. */
static mr_status put_part(encoder *e, const char *text, part p) {
    const mr_spm *spm = e->spm;
    int32_t id = p.id;
    if (id == MR_BPE_NO_ID) id = mr_vocab_find(&spm->vocab, text + p.start, p.bytes);
    if (id < 0 || !from_text(&spm->vocab.piece[id]))
        return put_unknown(e, text + p.start, p.bytes);
    int32_t unused = spm->vocab.piece[id].unused;
    if (unused >= 0) {
        /* A single character was not made of anything: it counts as unknown. (The library does
         * so since 0.2.3; before, it wrote the UNUSED piece. No real model has one.) */
        const halves *made = &e->made[unused];
        return made->left_bytes > 0 ? put_halves(e, p, made)
                                    : put_unknown(e, text + p.start, p.bytes);
    }
    e->after_unk = false; /* a known piece ends a run of unknown ones */
    return mr_ids_push(e->out, id, e->err);
}

/* Merges the symbols collected so far, which start at `text`, and writes their ids. */
static mr_status flush(encoder *e, const char *text) {
    mr_bpe *bpe = &e->bpe;
    if (bpe->count == 0) return MR_OK;
    if (mr_bpe_merge(bpe, text, joins, e, e->err) != MR_OK) return MR_BAD;
    for (int32_t i = 0; i >= 0; i = bpe->symbol[i].next) {
        const mr_symbol *s = &bpe->symbol[i];
        if (put_part(e, text, (part){s->start, s->bytes, s->id}) != MR_OK) return MR_BAD;
        while (e->todo_count > 0)
            if (put_part(e, text, e->todo[--e->todo_count]) != MR_OK) return MR_BAD;
    }
    bpe->count = 0;
    return MR_OK;
}

/* Collects symbols up to a place that no merge can cross, again and again. User-defined pieces
 * are looked for a second time here, in the normalised text: one that contains U+2581 can match
 * only now, one with a space only before, and only what matches now is frozen. */
static mr_status encode_normalized(encoder *e) {
    const mr_spm *spm = e->spm;
    const char *base = e->norm.byte, *end = base + e->norm.count;
    bool after_frozen = false;
    idx size;
    for (const char *at = base; at < end; at += size) {
        int32_t id = MR_BPE_NO_ID;
        size = mr_matcher_longest(&spm->matcher, at, end - at, &id);
        bool frozen = size > 0;
        if (!frozen) size = mr_utf8_step(*at);
        if (size > end - at) size = end - at; /* a lead byte promised more than there is */

        /* Nothing joins a frozen symbol either, so the text can be cut on both sides of one. */
        bool cut = at > base && spm->unused_count == 0
                   && (frozen || after_frozen || !mr_spm_may_join(spm, at[-1], at, size));
        if (cut) {
            if (flush(e, base) != MR_OK) return MR_BAD;
            base = at;
        }
        if (mr_bpe_add(&e->bpe, at - base, size, id, frozen, e->err) != MR_OK) return MR_BAD;
        after_frozen = frozen;
    }
    return flush(e, base);
}

/* Owns all working memory of one call, so that a tokenizer itself is never written to and can be
 * used from several threads. */
mr_status mr_spm_encode(const void *model, const char *text, idx bytes, mr_ids *out, mr_err *err) {
    const mr_spm *spm = model;
    encoder e = {.spm = spm, .out = out, .err = err};
    mr_status status = MR_OK;
    if (spm->unused_count > 0) {
        e.made = mr_alloc(spm->unused_count, (idx)sizeof *e.made, err);
        if (e.made == NULL) status = MR_BAD;
    }
    if (status == MR_OK) status = mr_spm_normalize(spm, text, bytes, &e.norm, err);
    if (status == MR_OK) status = encode_normalized(&e);
    mr_text_free(&e.norm);
    mr_bpe_free(&e.bpe);
    mr_free(e.made);
    mr_free(e.todo);
    return status;
}
