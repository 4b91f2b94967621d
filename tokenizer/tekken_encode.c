/* Text to ids: cut by the pattern, then each piece is a token or is merged from its bytes.
 *
 * Nothing is normalised and nothing put in front. A piece that is a token as a whole is taken
 * without merging: most are, so the merge loop runs for rare words only. The original cannot be
 * given bytes that are not UTF-8; here each maximal bad part counts as U+FFFD, so that
 * encoding is the same as encoding the text that decoding would show.
 *
 * Upstream: tiktoken's CoreBPE.encode_ordinary; mistral-common's Tekkenizer.encode. */
#include "tokenizer/bpe.h"
#include "tokenizer/lists.h"
#include "tokenizer/pretoken.h"
#include "tokenizer/stream.h"
#include "tokenizer/tekken.h"
#include "tokenizer/utf8.h"

/* Two neighbours join if their bytes together are a token; the lowest rank first. */
static bool joins(void *rule, const char *text, const mr_symbol *left, const mr_symbol *right,
                  mr_join *join) {
    const mr_tekken *tekken = rule;
    int32_t rank = mr_vocab_find(&tekken->vocab, text + left->start,
                                 (idx)left->bytes + right->bytes);
    if (rank < 0) return false;
    *join = (mr_join){.order = (uint32_t)rank, .id = rank};
    return true;
}

/* Merges one piece from its bytes. Every symbol has a rank from the beginning. */
static mr_status merge(const mr_tekken *tekken, mr_bpe *bpe, const char *piece, idx bytes,
                       mr_ids *out, mr_err *err) {
    bpe->count = 0;
    for (idx i = 0; i < bytes; i++)
        if (mr_bpe_add(bpe, i, 1, (unsigned char)piece[i], false, err) != MR_OK) return MR_BAD;
    if (mr_bpe_merge(bpe, piece, joins, (void *)tekken, err) != MR_OK) return MR_BAD;
    int32_t offset = (int32_t)tekken->special.count;
    for (int32_t i = 0; i >= 0; i = bpe->symbol[i].next)
        if (mr_ids_push(out, bpe->symbol[i].id + offset, err) != MR_OK) return MR_BAD;
    return MR_OK;
}

static mr_status encode_valid(const mr_tekken *tekken, mr_bpe *bpe, const char *text, idx bytes,
                              mr_ids *out, mr_err *err) {
    int32_t offset = (int32_t)tekken->special.count;
    const char *end = text + bytes;
    mr_status status = MR_OK;
    for (idx size; text < end && status == MR_OK; text += size) {
        size = mr_pretoken(tekken->classes, text, end - text);
        int32_t rank = mr_vocab_find(&tekken->vocab, text, size);
        status = rank >= 0 ? mr_ids_push(out, rank + offset, err)
                           : merge(tekken, bpe, text, size, out, err);
    }
    return status;
}

static bool is_valid(const char *text, idx bytes) {
    idx size = 0;
    for (idx at = 0; at < bytes; at += size) {
        /* Eight plain bytes at a time would be faster, but this is a hundredth of the work. */
        size = mr_utf8_valid(text + at, bytes - at);
        if (size == 0) return false;
    }
    return true;
}

/* All working memory belongs to the call: one tokenizer can be used from several threads. */
mr_status mr_tekken_encode(const void *model, const char *text, idx bytes, mr_ids *out,
                           mr_err *err) {
    mr_bpe bpe = {0};
    mr_text clean = {0};
    mr_status status = MR_OK;
    if (!is_valid(text, bytes)) {
        status = mr_utf8_clean(text, bytes, MR_BAD_PART, &clean, err);
        text = clean.byte;
        bytes = clean.count;
    }
    if (status == MR_OK) status = encode_valid(model, &bpe, text, bytes, out, err);
    mr_bpe_free(&bpe);
    mr_text_free(&clean);
    return status;
}
