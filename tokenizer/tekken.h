/* A Tekken model in memory, and what one does with it. */
#ifndef MR_TOKENIZER_TEKKEN_H
#define MR_TOKENIZER_TEKKEN_H

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

/* Ids 0 .. special.count - 1 are special, all others are special.count + rank. */
typedef struct {
    char       *blob;     /* owned: the bytes of all tokens, then the texts of the special ones */
    mr_vocab    vocab;    /* by rank; ranks 0 to 255 are the single bytes */
    mr_vocab    special;  /* by id; found by name only, never in text */
    uint8_t    *classes;  /* of characters: see pretoken.h */
    int32_t     bos, eos; /* -1: none */
    const char *version;  /* "v1", ... "v15" */
} mr_tekken;

/* tekken_read.c: fills *tekken from the file, whose bytes are overwritten on the way. */
mr_status mr_tekken_read(mr_tekken *tekken, const char *path, char *bytes, idx size, mr_err *err);

/* Whether a JSON text has the keys of a tekken.json. */
bool mr_tekken_recognise(const char *bytes, idx size);

mr_status mr_tekken_encode(const void *model, const char *text, idx bytes, mr_ids *out,
                           mr_err *err);

#endif
