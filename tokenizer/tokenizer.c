/* The public functions: find the file, pick the kind, pass every call on to it.
 *
 * What is common to all kinds is done once, here: empty texts, ids out of range, and that a failed
 * call leaves the caller's list as it was. A kind is a table of functions (kind.h); adding one
 * means a file that defines such a table and its name in kinds[] below. */
#include "tokenizer/tokenizer.h"

#include "tokenizer/file.h"
#include "tokenizer/kind.h"
#include "tokenizer/lists.h"

struct mr_tokenizer {
    const mr_tokenizer_type *kind;
    void                    *model; /* the kind's own, opaque here */
};

/* Asked in order; a kind that recognises anything would have to come last. */
static const mr_tokenizer_type *const kinds[] = {&mr_kind_sentencepiece, &mr_kind_tekken,
                                                 &mr_kind_hf};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* By content, not by name: files get renamed. NULL when nobody recognises it. */
static const mr_tokenizer_type *kind_of(const mr_tokenizer_file *file) {
    for (int i = 0; i < KINDS; i++)
        if (kinds[i]->recognise(file->bytes, file->size)) return kinds[i];
    return NULL;
}

mr_status mr_tokenizer_open(const char *path, mr_tokenizer **out, mr_err *err) {
    mr_tokenizer_file file;
    *out = NULL;
    mr_status status = mr_tokenizer_file_read(path, &file, err);
    if (status != MR_OK) return status;

    /* The messages name file.path: when `path` was a folder, that says which file was chosen. */
    mr_tokenizer *tokenizer = mr_alloc(1, (idx)sizeof *tokenizer, err);
    if (tokenizer == NULL) {
        status = MR_BAD;
    } else if ((tokenizer->kind = kind_of(&file)) == NULL) {
        status = mr_fail(err, MR_BAD, "%s: expected a SentencePiece model, a tekken.json or a "
                         "tokenizer.json, found %s", file.path,
                         file.size == 0 ? "an empty file" : "another or a damaged JSON file");
    } else {
        char *bytes = file.bytes;
        file.bytes = NULL; /* the model's from here on */
        status = tokenizer->kind->open(file.path, bytes, file.size, &tokenizer->model, err);
    }
    mr_tokenizer_file_free(&file);
    if (status == MR_OK) *out = tokenizer;
    else mr_free(tokenizer);
    return status;
}

void mr_tokenizer_close(mr_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    tokenizer->kind->close(tokenizer->model);
    mr_free(tokenizer);
}

idx mr_tokenizer_size(const mr_tokenizer *tokenizer) {
    return tokenizer->kind->size(tokenizer->model);
}

int32_t mr_tokenizer_bos(const mr_tokenizer *tokenizer) {
    return tokenizer->kind->bos(tokenizer->model);
}

int32_t mr_tokenizer_eos(const mr_tokenizer *tokenizer) {
    return tokenizer->kind->eos(tokenizer->model);
}

const char *mr_tokenizer_kind(const mr_tokenizer *tokenizer) {
    return tokenizer->kind->name;
}

const char *mr_tokenizer_version(const mr_tokenizer *tokenizer) {
    return tokenizer->kind->version(tokenizer->model);
}

const char *mr_tokenizer_unicode(const mr_tokenizer *tokenizer) {
    return tokenizer->kind->unicode != NULL ? tokenizer->kind->unicode(tokenizer->model) : "";
}

int32_t mr_tokenizer_control(const mr_tokenizer *tokenizer, const char *text) {
    return tokenizer->kind->control(tokenizer->model, text);
}

/* A question, not a conversion: an id that does not exist is answered with NULL, not refused. */
const char *mr_tokenizer_piece(const mr_tokenizer *tokenizer, int32_t id, idx *bytes) {
    idx size = 0;
    const char *piece = NULL;
    if (id >= 0 && id < mr_tokenizer_size(tokenizer))
        piece = tokenizer->kind->piece(tokenizer->model, id, &size);
    if (bytes != NULL) *bytes = size;
    return piece;
}

/* A failure half way must not leave half a result behind: what was appended is taken back. */
mr_status mr_tokenizer_encode(const mr_tokenizer *tokenizer, const char *text, idx bytes,
                              mr_ids *out, mr_err *err) {
    idx before = out->count;
    if (bytes < 0) return mr_fail(err, MR_BAD, "a text of %td bytes cannot be encoded", bytes);
    if (bytes == 0) return MR_OK;
    mr_status status = tokenizer->kind->encode(tokenizer->model, text, bytes, out, err);
    if (status != MR_OK) out->count = before;
    return status;
}

/* Puts back what a failed call found. Memory that a list gained meanwhile stays with it. */
static void undo(mr_stream *stream, const mr_stream *before, mr_text *out, idx count) {
    mr_ids waiting = stream->waiting;
    waiting.count = before->waiting.count;
    *stream = *before;
    stream->waiting = waiting;
    mr_text_cut(out, count);
}

static mr_status check_id(const mr_tokenizer *tokenizer, int32_t id, idx position, idx count,
                          mr_err *err) {
    idx size = mr_tokenizer_size(tokenizer);
    if (id >= 0 && id < size) return MR_OK;
    return mr_fail(err, MR_BAD, "id %d (number %td of %td) is out of range: this tokenizer has "
                   "ids 0 to %td", (int)id, position, count, size - 1);
}

mr_status mr_tokenizer_stream(const mr_tokenizer *tokenizer, mr_stream *stream, int32_t id,
                              mr_text *out, mr_err *err) {
    mr_stream before = *stream;
    idx count = out->count;
    mr_status status = check_id(tokenizer, id, 1, 1, err);
    if (status == MR_OK) status = mr_text_reserve(out, 0, err); /* ends in NUL even when empty */
    if (status == MR_OK)
        status = tokenizer->kind->stream(tokenizer->model, stream, id, out, err);
    if (status != MR_OK) undo(stream, &before, out, count);
    return status;
}

mr_status mr_tokenizer_stream_end(const mr_tokenizer *tokenizer, mr_stream *stream, mr_text *out,
                                  mr_err *err) {
    mr_stream before = *stream;
    idx count = out->count;
    mr_status status = mr_text_reserve(out, 0, err);
    if (status == MR_OK)
        status = tokenizer->kind->stream_end(tokenizer->model, stream, out, err);
    if (status != MR_OK) {
        undo(stream, &before, out, count);
        return status;
    }
    mr_ids_free(&stream->waiting);
    *stream = (mr_stream){0};
    return MR_OK;
}

/* All ids through a stream of their own. */
static mr_status decode_by_stream(const mr_tokenizer *tokenizer, const int32_t *ids, idx count,
                                  mr_text *out, mr_err *err) {
    const mr_tokenizer_type *kind = tokenizer->kind;
    mr_stream stream = {0};
    mr_status status = MR_OK;
    for (idx i = 0; i < count && status == MR_OK; i++)
        status = kind->stream(tokenizer->model, &stream, ids[i], out, err);
    if (status == MR_OK) status = kind->stream_end(tokenizer->model, &stream, out, err);
    mr_ids_free(&stream.waiting);
    return status;
}

mr_status mr_tokenizer_decode(const mr_tokenizer *tokenizer, const int32_t *ids, idx count,
                              mr_text *out, mr_err *err) {
    /* Checked before anything is written; the kinds index their pieces without looking again. */
    const mr_tokenizer_type *kind = tokenizer->kind;
    idx before = out->count;
    for (idx i = 0; i < count; i++)
        if (check_id(tokenizer, ids[i], i + 1, count, err) != MR_OK) return MR_BAD;
    mr_status status = mr_text_reserve(out, 0, err); /* no ids: still a text that ends in NUL */
    if (status == MR_OK)
        status = kind->decode != NULL ? kind->decode(tokenizer->model, ids, count, out, err)
                                      : decode_by_stream(tokenizer, ids, count, out, err);
    if (status != MR_OK) mr_text_cut(out, before);
    return status;
}
