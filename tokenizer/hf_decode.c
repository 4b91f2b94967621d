/* Ids to text: special tokens are left out, the rest goes through the decoders, token by token.
 *
 * Decoders turn a list of tokens into another; what is left at the end is joined. Without any, the
 * tokens are joined with spaces. Upstream: decoders/, tokenizer/mod.rs, decode. */
#include <string.h>

#include "tokenizer/hf_unicode.h"
#include "tokenizer/lists.h"
#include "tokenizer/stream.h"
#include "tokenizer/utf8.h"

/* A decoder: from one list to the other, which is empty at the start. */
typedef mr_status decoder(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                          mr_err *err);

/* Tokens may be empty, unlike the pieces of a text: a decoder that counts tokens counts them. */
static mr_status add(mr_hf_pieces *out, idx start, mr_err *err) {
    idx size = out->text.count - start;
    mr_status status = mr_hf_pieces_add(out, start, size > 0 ? size : 1, 0, err);
    if (status == MR_OK) out->piece[out->count - 1].size = size;
    return status;
}

static mr_status replace(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                         mr_err *err) {
    mr_status status = MR_OK;
    for (idx i = 0; i < in->count && status == MR_OK; i++) {
        const char *token = in->text.byte + in->piece[i].start;
        idx bytes = in->piece[i].size, start = out->text.count;
        bool match;
        for (idx at = 0, size; at < bytes && status == MR_OK; at += size) {
            size = mr_hf_span(NULL, step, token + at, bytes - at, &match);
            status = match ? mr_text_append(&out->text, step->with.bytes, step->with.size, err)
                           : mr_text_append(&out->text, token + at, size, err);
        }
        if (status == MR_OK) status = add(out, start, err);
    }
    return status;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The library reads the number with a function that takes a plus sign for granted: "<0x+A>" is
 * 10; small letters count too. */
int mr_hf_byte_value(const char *token, idx size) {
    if (size != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>') return -1;
    int high = token[3] == '+' ? 0 : hex_digit(token[3]), low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

static bool is_utf8(const char *text, idx bytes) {
    for (idx at = 0, size; at < bytes; at += size)
        if ((size = mr_utf8_valid(text + at, bytes - at)) == 0) return false;
    return true;
}

/* The bytes collected in *run become one token, or one U+FFFD each if they are not UTF-8. */
static mr_status put_run(mr_text *run, mr_hf_pieces *out, mr_err *err) {
    idx start = out->text.count;
    mr_status status = MR_OK;
    if (run->count == 0) return MR_OK;
    if (is_utf8(run->byte, run->count)) {
        status = mr_text_append(&out->text, run->byte, run->count, err);
        if (status == MR_OK) status = add(out, start, err);
    } else {
        for (idx i = 0; i < run->count && status == MR_OK; i++) {
            start = out->text.count;
            status = mr_text_append(&out->text, MR_UTF8_REPLACEMENT, 3, err);
            if (status == MR_OK) status = add(out, start, err);
        }
    }
    run->count = 0;
    return status;
}

static mr_status byte_fallback(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                               mr_err *err) {
    mr_text run = {0};
    mr_status status = MR_OK;
    (void)step;
    for (idx i = 0; i < in->count && status == MR_OK; i++) {
        const char *token = in->text.byte + in->piece[i].start;
        int value = mr_hf_byte_value(token, in->piece[i].size);
        if (value >= 0) {
            status = mr_text_append(&run, &(char){(char)value}, 1, err);
            continue;
        }
        status = put_run(&run, out, err);
        idx start = out->text.count;
        if (status == MR_OK) status = mr_text_append(&out->text, token, in->piece[i].size, err);
        if (status == MR_OK) status = add(out, start, err);
    }
    if (status == MR_OK) status = put_run(&run, out, err);
    mr_text_free(&run);
    return status;
}

static mr_status fuse(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                      mr_err *err) {
    mr_status status = MR_OK;
    (void)step;
    for (idx i = 0; i < in->count && status == MR_OK; i++)
        status = mr_text_append(&out->text, in->text.byte + in->piece[i].start,
                                in->piece[i].size, err);
    return status == MR_OK ? add(out, 0, err) : status;
}

/* Takes the character away from the ends of each token, a limited number of times. (On a token
 * that is used up from the end the library stops with an error; here nothing more is taken.) */
static mr_status strip(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                       mr_err *err) {
    const mr_hf_string *s = &step->text;
    mr_status status = MR_OK;
    for (idx i = 0; i < in->count && status == MR_OK; i++) {
        const char *from = in->text.byte + in->piece[i].start, *to = from + in->piece[i].size;
        idx start = out->text.count;
        for (idx n = 0; n < step->start && to - from >= s->size
                        && memcmp(from, s->bytes, (size_t)s->size) == 0; n++)
            from += s->size;
        for (idx n = 0; n < step->stop && to - from >= s->size
                        && memcmp(to - s->size, s->bytes, (size_t)s->size) == 0; n++)
            to -= s->size;
        status = mr_text_append(&out->text, from, to - from, err);
        if (status == MR_OK) status = add(out, start, err);
    }
    return status;
}

/* The replacement becomes a space, and in the first token nothing where one was put in front. */
static mr_status metaspace(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                           mr_err *err) {
    const mr_hf_string *s = &step->text;
    mr_status status = MR_OK;
    for (idx i = 0; i < in->count && status == MR_OK; i++) {
        const char *token = in->text.byte + in->piece[i].start;
        idx bytes = in->piece[i].size, start = out->text.count;
        idx space = i > 0 || step->scheme == MR_HF_NEVER;
        for (idx at = 0, size; at < bytes && status == MR_OK; at += size) {
            bool match = bytes - at >= s->size
                         && memcmp(token + at, s->bytes, (size_t)s->size) == 0;
            size = match ? s->size : mr_utf8_step(token[at]);
            status = match ? mr_text_append(&out->text, " ", space, err)
                           : mr_text_append(&out->text, token + at, size, err);
        }
        if (status == MR_OK) status = add(out, start, err);
    }
    return status;
}

mr_status mr_hf_put_token_bytes(const char *token, idx bytes, mr_text *out, mr_err *err) {
    idx before = out->count, size;
    if (mr_text_reserve(out, bytes, err) != MR_OK) return MR_BAD;
    for (idx at = 0; at < bytes; at += size) {
        int value = mr_hf_byte_of(mr_hf_code(token + at, &size));
        if (value < 0) {
            out->count = before;
            return mr_text_append(out, token, bytes, err);
        }
        out->byte[out->count++] = (char)value;
    }
    return MR_OK;
}

static mr_status byte_level(const mr_hf_step *step, const mr_hf_pieces *in, mr_hf_pieces *out,
                            mr_err *err) {
    mr_text bytes = {0};
    mr_status status = mr_text_reserve(&bytes, 0, err);
    (void)step;
    for (idx i = 0; i < in->count && status == MR_OK; i++)
        status = mr_hf_put_token_bytes(in->text.byte + in->piece[i].start, in->piece[i].size,
                                       &bytes, err);
    if (status == MR_OK)
        status = mr_utf8_clean(bytes.byte, bytes.count, MR_BAD_PART, &out->text, err);
    mr_text_free(&bytes);
    return status == MR_OK ? add(out, 0, err) : status;
}

static decoder *decoder_of(mr_hf_what what) {
    switch (what) {
    case MR_HF_REPLACE:       return replace;
    case MR_HF_BYTE_FALLBACK: return byte_fallback;
    case MR_HF_FUSE:          return fuse;
    case MR_HF_STRIP:         return strip;
    case MR_HF_METASPACE:     return metaspace;
    default:                  return byte_level;
    }
}

/* The tokens of the ids, in the form that the decoders take back. */
static mr_status put_tokens(const mr_hf *hf, const int32_t *ids, idx count, mr_hf_pieces *out,
                            mr_err *err) {
    mr_status status = mr_text_reserve(&out->text, 0, err);
    for (idx i = 0; i < count && status == MR_OK; i++) {
        const mr_hf_name *name = &hf->name[ids[i]];
        if (name->bytes == NULL || name->skipped) continue;
        idx start = out->text.count;
        if (hf->spaced && out->count > 0) status = mr_text_append(&out->text, " ", 1, err);
        if (status == MR_OK) status = mr_text_append(&out->text, name->bytes, name->size, err);
        if (status == MR_OK) status = add(out, start, err);
    }
    return status;
}

mr_status mr_hf_decode_partly(const mr_hf *hf, int steps, const int32_t *ids, idx count,
                              mr_text *out, mr_err *err) {
    mr_hf_pieces tokens = {0}, spare = {0};
    mr_status status = put_tokens(hf, ids, count, &tokens, err);
    for (int i = 0; i < steps && status == MR_OK; i++) {
        const mr_hf_step *step = &hf->decoder.step[i];
        spare.count = spare.text.count = 0;
        status = mr_text_reserve(&spare.text, 0, err);
        if (status == MR_OK) status = decoder_of(step->what)(step, &tokens, &spare, err);
        mr_hf_pieces swapped = tokens;
        tokens = spare;
        spare = swapped;
    }
    for (idx i = 0; i < tokens.count && status == MR_OK; i++)
        status = mr_text_append(out, tokens.text.byte + tokens.piece[i].start,
                                tokens.piece[i].size, err);
    mr_hf_pieces_free(&tokens);
    mr_hf_pieces_free(&spare);
    return status;
}

mr_status mr_hf_decode(const void *model, const int32_t *ids, idx count, mr_text *out,
                       mr_err *err) {
    const mr_hf *hf = model;
    return mr_hf_decode_partly(hf, hf->decoder.count, ids, count, out, err);
}
