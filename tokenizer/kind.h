/* What every kind of tokenizer provides; tokenizer.c calls through this table and nothing else. */
#ifndef MR_TOKENIZER_KIND_H
#define MR_TOKENIZER_KIND_H

#include "tokenizer/tokenizer.h"

/* The functions mirror tokenizer.h one to one, except that ids and sizes are already checked to
 * be in range. `model` is what open made. */
typedef struct {
    const char *name;

    /* Whether a file that starts so is of this kind. */
    bool (*recognise)(const char *bytes, idx size);

    /* Takes over `bytes` (from mr_alloc), also when it fails. */
    mr_status (*open)(const char *path, char *bytes, idx size, void **model, mr_err *err);
    void (*close)(void *model);

    idx (*size)(const void *model);
    int32_t (*bos)(const void *model);
    int32_t (*eos)(const void *model);
    const char *(*version)(const void *model);
    const char *(*unicode)(const void *model); /* NULL: no Unicode tables */
    int32_t (*control)(const void *model, const char *text);
    const char *(*piece)(const void *model, int32_t id, idx *bytes);
    mr_status (*encode)(const void *model, const char *text, idx bytes, mr_ids *out, mr_err *err);

    /* One id at a time; the end of a text. tokenizer.c restores *stream and *out when a call fails,
     * and frees stream->waiting after the end. */
    mr_status (*stream)(const void *model, mr_stream *stream, int32_t id, mr_text *out,
                        mr_err *err);
    mr_status (*stream_end)(const void *model, mr_stream *stream, mr_text *out, mr_err *err);

    /* All at once. NULL: id by id through stream and stream_end, which makes the two agree. */
    mr_status (*decode)(const void *model, const int32_t *ids, idx count, mr_text *out,
                        mr_err *err);
} mr_tokenizer_type;

extern const mr_tokenizer_type mr_kind_sentencepiece, mr_kind_tekken, mr_kind_hf;

#endif
