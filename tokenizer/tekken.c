/* The kind "tekken": Mistral's byte-level tokenizer of 2024 and later, read from tekken.json. */
#include "tokenizer/tekken.h"

#include <string.h>

#include "tokenizer/kind.h"
#include "tokenizer/pretoken.h"
#include "tokenizer/stream.h"

/* Also the way out of a failed open: everything not yet opened is still zero. */
static void tekken_close(void *model) {
    mr_tekken *tekken = model;
    mr_vocab_close(&tekken->vocab);
    mr_vocab_close(&tekken->special);
    mr_free(tekken->classes);
    mr_free(tekken->blob);
    mr_free(tekken);
}

/* The file is 15 MB and mostly blanks; what is needed of it is copied to a tenth of that. */
static mr_status tekken_open(const char *path, char *bytes, idx size, void **model, mr_err *err) {
    mr_tekken *tekken = mr_alloc(1, (idx)sizeof *tekken, err);
    mr_status status = MR_BAD;
    if (tekken != NULL) status = mr_tekken_read(tekken, path, bytes, size, err);
    mr_free(bytes);
    if (status == MR_OK && (tekken->classes = mr_pretoken_classes(err)) == NULL) status = MR_BAD;
    if (status == MR_OK) *model = tekken;
    else if (tekken != NULL) tekken_close(tekken);
    return status;
}

static idx tekken_size(const void *model) {
    const mr_tekken *tekken = model;
    return tekken->special.count + tekken->vocab.count;
}

static int32_t tekken_bos(const void *model) { return ((const mr_tekken *)model)->bos; }

static int32_t tekken_eos(const void *model) { return ((const mr_tekken *)model)->eos; }

static const char *tekken_version(const void *model) {
    return ((const mr_tekken *)model)->version;
}

static const char *tekken_unicode(const void *model) {
    (void)model;
    return MR_UNICODE_VERSION;
}

/* All special tokens are controls here, whatever the file calls them: none comes from text. */
static int32_t tekken_control(const void *model, const char *text) {
    return mr_vocab_find(&((const mr_tekken *)model)->special, text, (idx)strlen(text));
}

static const char *tekken_piece(const void *model, int32_t id, idx *bytes) {
    const mr_tekken *tekken = model;
    const idx special = tekken->special.count;
    const mr_piece *piece = id < special ? &tekken->special.piece[id]
                                         : &tekken->vocab.piece[id - special];
    *bytes = piece->size;
    return piece->bytes;
}

/* The bytes of a token. A special one has no text, and ends a character that is not complete: the
 * original decodes the tokens before it and after it on their own. */
static mr_status tekken_stream(const void *model, mr_stream *stream, int32_t id, mr_text *out,
                               mr_err *err) {
    const mr_tekken *tekken = model;
    if (id < tekken->special.count) return mr_stream_flush(stream, MR_BAD_PART, out, err);
    const mr_piece *piece = &tekken->vocab.piece[id - tekken->special.count];
    return mr_stream_bytes(stream, piece->bytes, piece->size, MR_BAD_PART, out, err);
}

static mr_status tekken_stream_end(const void *model, mr_stream *stream, mr_text *out,
                                   mr_err *err) {
    (void)model;
    return mr_stream_flush(stream, MR_BAD_PART, out, err);
}

const mr_tokenizer_type mr_kind_tekken = {
    .name = "tekken", .recognise = mr_tekken_recognise, .open = tekken_open,
    .close = tekken_close, .size = tekken_size, .bos = tekken_bos, .eos = tekken_eos,
    .version = tekken_version, .unicode = tekken_unicode, .control = tekken_control,
    .piece = tekken_piece, .encode = mr_tekken_encode, .stream = tekken_stream,
    .stream_end = tekken_stream_end,
};
