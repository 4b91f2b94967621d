/* Decoding id by id, for the two lists of decoders that models of this family have.
 *
 *     ByteLevel                                  bytes: whole characters come out at once
 *     Replace... [ByteFallback] [Fuse [Strip]]   tokens: known at once, but for byte tokens, as one
 *                                                bad byte makes all of a run U+FFFD
 * Whatever comes out, in whatever portions, is together what decoding all at once gives. */
#include <string.h>

#include "tokenizer/hf.h"
#include "tokenizer/lists.h"
#include "tokenizer/stream.h"

/* How many of the decoders work token by token; what follows is Fuse and Strip, or nothing. */
static int local_steps(const mr_hf *hf) {
    int i = 0;
    while (i < hf->decoder.count && hf->decoder.step[i].what == MR_HF_REPLACE) i++;
    if (i < hf->decoder.count && hf->decoder.step[i].what == MR_HF_BYTE_FALLBACK) i++;
    return i;
}

mr_hf_flow mr_hf_flow_of(const mr_hf *hf) {
    const mr_hf_step *step = hf->decoder.step;
    int count = hf->decoder.count, local = local_steps(hf);
    if (count == 1 && step[0].what == MR_HF_BYTE_LEVEL) return MR_HF_FLOWS_BYTES;
    if (hf->spaced || local == 0) return MR_HF_WAITS;
    if (local == count) return MR_HF_FLOWS_TOKENS;
    if (step[local].what != MR_HF_FUSE || count > local + 2) return MR_HF_WAITS;
    if (count == local + 1) return MR_HF_FLOWS_TOKENS;
    const mr_hf_step *strip = &step[local + 1];
    return strip->what == MR_HF_STRIP && strip->start == 1 && strip->stop == 0
               ? MR_HF_FLOWS_TOKENS : MR_HF_WAITS;
}

/* Whether the token is one that ByteFallback collects. */
static mr_status is_byte(const mr_hf *hf, int32_t id, bool *yes, mr_err *err) {
    mr_text token = {0};
    int steps = local_steps(hf);
    *yes = false;
    if (hf->decoder.step[steps - 1].what != MR_HF_BYTE_FALLBACK) return MR_OK;
    mr_status status = mr_hf_decode_partly(hf, steps - 1, &id, 1, &token, err);
    if (status == MR_OK) *yes = mr_hf_byte_value(token.byte, token.count) >= 0;
    mr_text_free(&token);
    return status;
}

/* Gives out the ids that waited; from the first text of all, Strip takes one character. */
static mr_status flush(const mr_hf *hf, mr_stream *stream, mr_text *out, mr_err *err) {
    const mr_hf_step *last = &hf->decoder.step[hf->decoder.count - 1];
    mr_text text = {0};
    mr_status status = mr_text_reserve(&text, 0, err);
    if (status == MR_OK)
        status = mr_hf_decode_partly(hf, local_steps(hf), stream->waiting.id, stream->waiting.count,
                                     &text, err);
    idx from = 0, size = last->text.size;
    if (last->what == MR_HF_STRIP && !stream->begun && text.count >= size
        && memcmp(text.byte, last->text.bytes, (size_t)size) == 0)
        from = size;
    if (status == MR_OK) status = mr_text_append(out, text.byte + from, text.count - from, err);
    if (status == MR_OK) {
        stream->begun = stream->begun || text.count > 0;
        stream->waiting.count = 0;
    }
    mr_text_free(&text);
    return status;
}

static mr_status put_bytes(const mr_hf_name *name, mr_stream *stream, mr_text *out, mr_err *err) {
    mr_text bytes = {0};
    mr_status status = mr_hf_put_token_bytes(name->bytes, name->size, &bytes, err);
    if (status == MR_OK)
        status = mr_stream_bytes(stream, bytes.byte, bytes.count, MR_BAD_PART, out, err);
    mr_text_free(&bytes);
    return status;
}

mr_status mr_hf_stream(const void *model, mr_stream *stream, int32_t id, mr_text *out,
                       mr_err *err) {
    const mr_hf *hf = model;
    const mr_hf_name *name = &hf->name[id];
    bool wait;
    if (name->bytes == NULL || name->skipped) return MR_OK;
    if (hf->flow == MR_HF_FLOWS_BYTES) return put_bytes(name, stream, out, err);
    if (mr_ids_push(&stream->waiting, id, err) != MR_OK) return MR_BAD;
    if (hf->flow == MR_HF_WAITS) return MR_OK;
    if (is_byte(hf, id, &wait, err) != MR_OK) return MR_BAD;
    return wait ? MR_OK : flush(hf, stream, out, err);
}

mr_status mr_hf_stream_end(const void *model, mr_stream *stream, mr_text *out, mr_err *err) {
    const mr_hf *hf = model;
    if (hf->flow == MR_HF_FLOWS_BYTES) return mr_stream_flush(stream, MR_BAD_PART, out, err);
    if (hf->flow == MR_HF_FLOWS_TOKENS) return flush(hf, stream, out, err);
    return mr_hf_decode(hf, stream->waiting.id, stream->waiting.count, out, err);
}
