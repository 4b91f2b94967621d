/* Text to token ids and back. The kinds of tokenizer sit behind this one header. An open tokenizer
 * is never written to: threads may share it. */
#ifndef MR_TOKENIZER_TOKENIZER_H
#define MR_TOKENIZER_TOKENIZER_H

#include "ref/base.h"

typedef struct mr_tokenizer mr_tokenizer;

/* Growing results. Start with {0}; encode and decode append; free with the functions below. */
typedef struct {
    int32_t *id;
    idx      count, room;
} mr_ids;

typedef struct {
    char *byte;          /* bytes may include NUL; one extra NUL follows for convenience */
    idx   count, room;
} mr_text;

void mr_ids_free(mr_ids *ids);
void mr_text_free(mr_text *text);

/* Opens a tokenizer file, or finds one in a model's folder (tokenizer/file.h says which of
 * several). MR_BAD when there is none or it is broken. */
mr_status mr_tokenizer_open(const char *path, mr_tokenizer **out, mr_err *err);
void      mr_tokenizer_close(mr_tokenizer *tokenizer);

/* Is there one, readable or not? Otherwise to do without is no loss. */
bool mr_tokenizer_there(const char *path);

/* ---- facts -------------------------------------------------------------------------------- */

idx     mr_tokenizer_size(const mr_tokenizer *tokenizer); /* number of ids */
int32_t mr_tokenizer_bos(const mr_tokenizer *tokenizer);  /* -1 when there is none */
int32_t mr_tokenizer_eos(const mr_tokenizer *tokenizer);

/* "sentencepiece-bpe", "tekken", "tokenizer.json"; "v1", "v2", "v3", "v7", ...; and the version of
 * the Unicode tables in use, "" when none are. */
const char *mr_tokenizer_kind(const mr_tokenizer *tokenizer);
const char *mr_tokenizer_version(const mr_tokenizer *tokenizer);
const char *mr_tokenizer_unicode(const mr_tokenizer *tokenizer);

/* The id of a control or special token by its exact text ("[INST]", "</s>"), -1 when there is
 * none. */
int32_t mr_tokenizer_control(const mr_tokenizer *tokenizer, const char *text);

/* The piece of an id as stored ("\xE2\x96\x81the", "<0x0A>"), its length in *bytes; NULL when the
 * id is out of range. */
const char *mr_tokenizer_piece(const mr_tokenizer *tokenizer, int32_t id, idx *bytes);

/* ---- conversion --------------------------------------------------------------------------- */

/* Appends the ids of text[0..bytes) to *out. Any bytes are accepted. No BOS, no EOS. Control
 * pieces never come from text, except with a tokenizer.json: see tokenizer/hf.h. */
mr_status mr_tokenizer_encode(const mr_tokenizer *tokenizer, const char *text, idx bytes,
                              mr_ids *out, mr_err *err);

/* Appends the text of ids[0..count) to *out. MR_BAD when an id is out of range. */
mr_status mr_tokenizer_decode(const mr_tokenizer *tokenizer, const int32_t *ids, idx count,
                              mr_text *out, mr_err *err);

/* Decoding one id at a time. {0} starts a text; what is appended from call to call, and at the end
 * by stream_end, is together what decode gives for all the ids at once. A failed call changes
 * nothing. */
typedef struct {
    char   byte[4];  /* the beginning of a character that is not complete yet */
    int    bytes;
    bool   begun, past_start, prefix_gone; /* a kind's own: what happened since the text began */
    mr_ids waiting;  /* a kind's own: ids whose text depends on what follows; empty for most */
} mr_stream;

/* Appends the text that is now certain. MR_BAD when the id is out of range. */
mr_status mr_tokenizer_stream(const mr_tokenizer *tokenizer, mr_stream *stream, int32_t id,
                              mr_text *out, mr_err *err);

/* Appends what was waiting, and leaves *stream as {0}; call it also when the rest is not wanted. */
mr_status mr_tokenizer_stream_end(const mr_tokenizer *tokenizer, mr_stream *stream, mr_text *out,
                                  mr_err *err);

#endif
