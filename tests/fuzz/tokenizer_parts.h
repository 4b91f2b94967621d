/* What must hold of a tokenizer, wherever its file came from. */
#ifndef MR_TESTS_FUZZ_TOKENIZER_PARTS_H
#define MR_TESTS_FUZZ_TOKENIZER_PARTS_H

#include "tests/fuzz/fuzz.h"

/* Id by id gives what all at once gives, or both refuse. */
static inline void fuzz_decode(const mr_tokenizer *t, const int32_t *ids, idx count,
                               mr_text *whole) {
    mr_text parts = {0};
    mr_stream stream = {0};
    mr_err err = {0}, other = {0};
    mr_status status = mr_tokenizer_decode(t, ids, count, whole, &err), streamed = MR_OK;
    for (idx i = 0; i < count && streamed == MR_OK; i++)
        streamed = mr_tokenizer_stream(t, &stream, ids[i], &parts, &other);
    const mr_status end = mr_tokenizer_stream_end(t, &stream, &parts, &other);
    if (streamed == MR_OK) streamed = end;
    FUZZ(status == streamed);
    if (status != MR_OK) {
        fuzz_refused(status, &err);
        FUZZ(whole->count == 0);
    } else {
        FUZZ(whole->count == parts.count);
        FUZZ(whole->count == 0 || memcmp(whole->byte, parts.byte, (size_t)parts.count) == 0);
    }
    mr_text_free(&parts);
}

/* Any bytes can be encoded, to ids that exist and can be decoded. */
static inline void fuzz_encode(const mr_tokenizer *t, const char *text, idx bytes, mr_ids *ids,
                               mr_text *back) {
    mr_err err = {0};
    FUZZ_OK(mr_tokenizer_encode(t, text, bytes, ids, &err), &err);
    for (idx i = 0; i < ids->count; i++)
        FUZZ(ids->id[i] >= 0 && ids->id[i] < mr_tokenizer_size(t));
    fuzz_decode(t, ids->id, ids->count, back);
}

/* A file that may be a tokenizer: it is refused, or it works. */
static inline void fuzz_tokenizer_file(const char *path) {
    static const char text[] = "Hello,  w\xC3\xB6rld 123\n\xE2\x96\x81 [INST] \xF0\x9F\x99\x82\xFF";
    mr_tokenizer *t;
    mr_err err = {0};
    const mr_status status = mr_tokenizer_open(path, &t, &err);
    if (status != MR_OK) {
        FUZZ(t == NULL);
        fuzz_refused(status, &err);
        return;
    }
    const idx size = mr_tokenizer_size(t);
    FUZZ(size > 0 && mr_tokenizer_bos(t) < size && mr_tokenizer_eos(t) < size);
    for (idx i = 0; i < size; i++) {
        idx bytes;
        FUZZ(mr_tokenizer_piece(t, (int32_t)i, &bytes) != NULL && bytes >= 0);
    }
    mr_ids ids = {0};
    mr_text back = {0};
    mr_err refused = {0};
    if (mr_tokenizer_encode(t, text, (idx)sizeof text - 1, &ids, &refused) == MR_OK) {
        fuzz_decode(t, ids.id, ids.count, &back);
        for (idx i = 0; i < ids.count; i++) FUZZ(ids.id[i] >= 0 && ids.id[i] < size);
    } else {
        fuzz_refused(refused.code, &refused);
    }
    mr_ids_free(&ids);
    mr_text_free(&back);
    mr_tokenizer_close(t);
}

#endif
