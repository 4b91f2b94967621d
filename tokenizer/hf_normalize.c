/* The normalizers, one after the other over the whole text.
 *
 * `first` follows the library's alignments as far as ids depend on them: the bytes at the start
 * of the text that stand for the first character of the original. What a character turns into
 * stands for it; what replaces several stands for the last of them. */
#include <string.h>

#include "tokenizer/hf_unicode.h"
#include "tokenizer/lists.h"

/* One character of the file's ByteLevel alphabet: printable bytes of Latin-1 stand for themselves,
 * the other 68 are numbered from U+0100. */
static uint32_t byte_code(unsigned byte) {
    if (byte >= 0x21 && byte <= 0x7E) return byte;
    if (byte >= 0xAE) return byte;
    if (byte >= 0xA1 && byte <= 0xAC) return byte;
    if (byte <= 0x20) return 0x100 + byte;               /* 00-20: numbers 0 to 32 */
    return byte <= 0xA0 ? 0x100 + 33 + byte - 0x7F : 0x143; /* 7F-A0: 33 to 66; AD: 67 */
}

int mr_hf_byte_of(uint32_t code) {
    if (code > 0x143) return -1;
    if (code == 0x143) return 0xAD;
    if (code >= 0x100) return (int)(code <= 0x120 ? code - 0x100 : code - 0x100 - 33 + 0x7F);
    return byte_code(code) == code ? (int)code : -1;
}

/* The caller has reserved two bytes. */
void mr_hf_put_byte(mr_text *out, char byte) {
    uint32_t code = byte_code((unsigned char)byte);
    if (code < 0x80) {
        out->byte[out->count++] = (char)code;
    } else {
        out->byte[out->count++] = (char)(0xC0 | code >> 6);
        out->byte[out->count++] = (char)(0x80 | (code & 0x3F));
    }
}

/* All of these append the new text of in[0..size) to *out. */
static mr_status put_bytes(const char *in, idx size, mr_text *out, mr_err *err) {
    idx room;
    if (!mr_mul(size, 2, &room)) room = MR_IDX_MAX;
    if (mr_text_reserve(out, room, err) != MR_OK) return MR_BAD;
    for (idx i = 0; i < size; i++) mr_hf_put_byte(out, in[i]);
    return MR_OK;
}

static mr_status put_lower(const char *in, idx size, mr_text *out, mr_err *err) {
    mr_status status = MR_OK;
    for (idx at = 0, step; at < size && status == MR_OK; at += step)
        status = mr_hf_put_lower(out, mr_hf_code(in + at, &step), err);
    return status;
}

/* What maps characters one by one: `first` is the length of what its own characters become. */
static mr_status map(const mr_hf_step *step, const mr_text *in, mr_text *out, idx *first,
                     mr_err *err) {
    mr_status (*put)(const char *, idx, mr_text *, mr_err *) =
        step->what == MR_HF_LOWERCASE ? put_lower : put_bytes;
    idx before = *first;
    mr_status status = put(in->byte, before, out, err);
    *first = out->count;
    return status == MR_OK ? put(in->byte + before, in->count - before, out, err) : status;
}

static mr_status prepend(const mr_hf_step *step, const mr_text *in, mr_text *out, idx *first,
                         mr_err *err) {
    mr_status status = mr_text_append(out, step->text.bytes, step->text.size, err);
    if (*first > 0) *first += step->text.size;
    return status == MR_OK ? mr_text_append(out, in->byte, in->count, err) : status;
}

static mr_status replace(const mr_hf_step *step, const mr_text *in, mr_text *out, idx *first,
                         mr_err *err) {
    idx before = *first;
    bool match;
    *first = 0;
    for (idx at = 0, size; at < in->count; at += size) {
        size = mr_hf_span(NULL, step, in->byte + at, in->count - at, &match);
        mr_status status = match ? mr_text_append(out, step->with.bytes, step->with.size, err)
                                 : mr_text_append(out, in->byte + at, size, err);
        if (status != MR_OK) return status;
        if (at + size <= before) *first = out->count;
        else if (!match && at < before) *first = out->count - (at + size - before);
    }
    return MR_OK;
}

static mr_status strip(const mr_hf_step *step, const mr_text *in, mr_text *out, idx *first,
                       mr_err *err) {
    idx from = 0, to = in->count, size;
    while (step->left && from < to && mr_hf_is_blank(mr_hf_code(in->byte + from, &size)))
        from += size;
    while (step->right && to > from) {
        size = mr_hf_step_back(in->byte + to);
        idx same;
        if (!mr_hf_is_blank(mr_hf_code(in->byte + to - size, &same))) break;
        to -= size;
    }
    *first = *first > from ? *first - from : 0;
    if (*first > to - from) *first = to - from;
    return mr_text_append(out, in->byte + from, to - from, err);
}

static mr_status run(const mr_hf_step *step, const mr_text *in, mr_text *out, idx *first,
                     mr_err *err) {
    switch (step->what) {
    case MR_HF_PREPEND:    return prepend(step, in, out, first, err);
    case MR_HF_REPLACE:    return replace(step, in, out, first, err);
    case MR_HF_STRIP:      return strip(step, in, out, first, err);
    case MR_HF_LOWERCASE:
    case MR_HF_BYTE_LEVEL: return map(step, in, out, first, err);
    default: return mr_hf_put_form(out, step->what, in->byte, in->count, first, err);
    }
}

/* An empty text stays empty, also under Prepend. */
mr_status mr_hf_normalize(const mr_hf_steps *steps, mr_text *text, idx *first, mr_err *err) {
    mr_text spare = {0};
    mr_status status = MR_OK;
    for (int i = 0; i < steps->count && status == MR_OK && text->count > 0; i++) {
        spare.count = 0;
        status = mr_text_reserve(&spare, 0, err);
        if (status == MR_OK) status = run(&steps->step[i], text, &spare, first, err);
        mr_text swapped = *text;
        *text = spare;
        spare = swapped;
    }
    mr_text_free(&spare);
    return status;
}
