/* A SentencePiece BPE model in memory, and the three things one does with it. */
#ifndef MR_TOKENIZER_SENTENCEPIECE_H
#define MR_TOKENIZER_SENTENCEPIECE_H

#include "tokenizer/charsmap.h"
#include "tokenizer/matcher.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

typedef struct {
    char      *file;     /* owned; pieces and unk_surface point into it */
    mr_vocab   vocab;
    mr_matcher matcher;  /* the USER_DEFINED pieces */

    /* trainer_spec and normalizer_spec, as far as they matter after training */
    int32_t     model_type;
    bool        byte_fallback, whitespace_suffix;
    bool        dummy_prefix, trim_spaces, escape_spaces;
    mr_charsmap charsmap;           /* of the normalizer; {0} in all Mistral files */
    const char *unk_surface, *bos_piece, *eos_piece;
    idx         unk_surface_size, bos_piece_size, eos_piece_size;

    int32_t     unk, bos, eos;      /* -1: none (unk always exists) */
    int32_t     byte_id[256];       /* with byte_fallback: the BYTE piece of each value */
    int32_t     unused_count;
    uint8_t     joint[1 << 13];     /* see mr_spm_may_join */
    const char *version;            /* "v1", "v2", "v3", "v7" */
} mr_spm;

/* Two characters end up in one piece only if some piece has them side by side. joint[] notes, for
 * all neighbouring characters of all pieces, the last byte of the one and eight bits made of the
 * other. Where the text shows a pair that is not noted, it can be cut and the parts be tokenized
 * one by one with the same result: real vocabularies have no piece with a space after a letter,
 * so the parts are words and the heap of the merge loop stays in the fastest memory. */
static inline uint32_t mr_spm_pair(const char *second, idx bytes) {
    uint32_t code = (unsigned char)second[0];
    if (code < 0x80) return code;
    for (idx i = 1; i < bytes; i++) code = code << 8 | (unsigned char)second[i];
    return 0x80 | (code * UINT32_C(0x9E3779B1)) >> 25;
}

static inline bool mr_spm_may_join(const mr_spm *spm, char last, const char *second, idx bytes) {
    uint32_t bit = (uint32_t)(unsigned char)last << 8 | mr_spm_pair(second, bytes);
    return spm->joint[bit >> 3] >> (bit & 7) & 1;
}

/* The text as the merge loop sees it: user-defined pieces verbatim, characters mapped, bad bytes
 * replaced, spaces written as U+2581, the dummy prefix added. Appends to *out. */
mr_status mr_spm_normalize(const mr_spm *spm, const char *text, idx bytes, mr_text *out,
                           mr_err *err);

mr_status mr_spm_encode(const void *model, const char *text, idx bytes, mr_ids *out, mr_err *err);

/* sentencepiece_decode.c: the text of one more id; the end of a text. */
mr_status mr_spm_stream(const void *model, mr_stream *stream, int32_t id, mr_text *out,
                        mr_err *err);
mr_status mr_spm_stream_end(const void *model, mr_stream *stream, mr_text *out, mr_err *err);

/* sentencepiece_check.c: everything that must hold before a parsed model can be used; also fills
 * what is derived from the pieces. */
mr_status mr_spm_check(mr_spm *spm, const char *path, mr_err *err);

/* The value of a byte piece "<0x00>" to "<0xFF>"; -1 for other texts. */
int mr_spm_byte_value(const mr_piece *piece);

/* The version by the rule of the file's name, else by the vocabulary; NULL when the name states
 * one that does not exist. */
const char *mr_spm_version(const mr_spm *spm, const char *path);

#endif
