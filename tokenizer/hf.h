/* A tokenizer.json in memory: the steps a text goes through, and the vocabulary at their end.
 *
 *     text -> added tokens cut out -> normalizers -> added tokens cut out -> pre-tokenizers -> BPE
 *     ids -> tokens -> decoders -> text
 *
 * The truth is the `tokenizers` library: encode(text, add_special_tokens=False) and
 * decode(ids, skip_special_tokens=True). So unlike the other kinds this one finds added tokens,
 * control tokens among them, in the text: who must not let a user type "</s>" cuts it up first.
 * Truncation and padding, which serve batches, are ignored. Bytes that are not UTF-8, which the
 * library cannot be given, become one U+FFFD per maximal ill-formed part. */
#ifndef MR_TOKENIZER_HF_H
#define MR_TOKENIZER_HF_H

#include "tokenizer/bpe.h"
#include "tokenizer/matcher.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

#define MR_HF_STEPS 64               /* normalizers, pre-tokenizers, decoders: of each at most */
#define MR_MERGES_MAX ((idx)4 << 20) /* merges */

/* Views into the file; bytes is NULL when the file says null or nothing. */
typedef struct {
    const char *bytes;
    idx         size;
} mr_hf_string;

typedef enum {
    MR_HF_PREPEND, MR_HF_REPLACE, MR_HF_NFC, MR_HF_NFD, MR_HF_NFKC, MR_HF_NFKD, MR_HF_LOWERCASE,
    MR_HF_STRIP, MR_HF_BYTE_LEVEL, MR_HF_METASPACE, MR_HF_SPLIT, MR_HF_BYTE_FALLBACK, MR_HF_FUSE
} mr_hf_what;

/* What Replace and Split look for: a text, or one of a few regular expressions, each with its own
 * scanner. */
typedef enum {
    MR_HF_TEXT,   /* step.text */
    MR_HF_SPACES, /* two spaces or more */
    MR_HF_BLANK,  /* a White_Space character */
    MR_HF_DIGIT,  /* a numeric character */
    MR_HF_WORDS,  /* \w+ or a run of signs */
    MR_HF_GPT2, MR_HF_LLAMA3, MR_HF_QWEN2, MR_HF_TEKKEN
} mr_hf_pattern;

/* What Split does with a match: a piece of its own, dropped, glued to matches beside it, to the
 * text before it, to the text after it. */
typedef enum {
    MR_HF_ISOLATED, MR_HF_REMOVED, MR_HF_CONTIGUOUS, MR_HF_WITH_PREVIOUS, MR_HF_WITH_NEXT
} mr_hf_behaviour;

typedef enum { MR_HF_ALWAYS, MR_HF_FIRST, MR_HF_NEVER } mr_hf_scheme;

/* One normalizer, pre-tokenizer or decoder; which members count depends on `what`. */
typedef struct {
    mr_hf_what      what;
    mr_hf_pattern   pattern;
    mr_hf_behaviour behaviour;
    mr_hf_scheme    scheme;       /* Metaspace: where a space is put in front */
    bool            invert;       /* Split: the matches are the text, the rest the separators */
    bool            split;        /* Metaspace, ByteLevel: also cut into words */
    bool            prefix;       /* ByteLevel: a space in front */
    bool            left, right;  /* Strip, the normalizer */
    idx             start, stop;  /* Strip, the decoder: how many at most at each end */
    mr_hf_string    text, with;   /* to find or prepend; to write instead */
} mr_hf_step;

typedef struct {
    mr_hf_step step[MR_HF_STEPS];
    int        count;
} mr_hf_steps;

/* A slot of the table of merges. */
typedef struct {
    uint64_t pair; /* id of the left << 32 | id of the right; UINT64_MAX: empty */
    uint32_t rank;
    int32_t  id;   /* of both together */
} mr_hf_merge;

typedef struct {
    mr_vocab     vocab;         /* in the order of the file; a piece's `order` is its id */
    mr_hf_merge *merge;
    uint32_t     mask;
    int32_t      unk;           /* -1: unk_token is null; -2: it is no piece */
    int32_t      byte_id[256];  /* of "<0x00>" to "<0xFF>", -1 where there is none */
    bool         fuse_unk, byte_fallback, ignore_merges;
} mr_hf_model;

typedef struct {
    int32_t      id;
    bool         special, lstrip, rstrip, single_word, normalized;
    mr_hf_string content;
    idx          form_start, form_size; /* normalized, in mr_hf_added.forms; start -1: as content */
} mr_hf_token;

typedef struct {
    mr_hf_token *token;
    idx          count;
    mr_text      forms;
    mr_vocab     raw, normal;                 /* contents; what they look like when normalized */
    mr_matcher   raw_matcher, normal_matcher; /* of those looked for before and after */
} mr_hf_added;

/* What decoding needs of an id. */
typedef struct {
    const char *bytes; /* NULL: no token has this id */
    int32_t     size;
    bool        skipped; /* special */
} mr_hf_name;

/* How a text comes out id by id: bytes as soon as they make a character; token by token, where a
 * run of byte tokens waits for its end; or, with any other decoders, all of it at the end. */
typedef enum { MR_HF_WAITS, MR_HF_FLOWS_BYTES, MR_HF_FLOWS_TOKENS } mr_hf_flow;

typedef struct {
    char       *file;    /* owned; strings point into it */
    mr_hf_model model;
    mr_hf_added added;
    mr_hf_steps normalizer, pretokenizer, decoder;
    mr_hf_flow  flow;
    bool        spaced;  /* there is no decoder: tokens are joined with spaces */
    mr_hf_name *name;    /* by id */
    idx         ids;
    uint8_t    *classes; /* of characters: see pretoken.h */
    int32_t     bos, eos;
    const char *version;
} mr_hf;

/* A text cut into pieces. `first` is how many bytes of a piece stand for the first character of
 * the whole original text: Metaspace and its prepend_scheme "first" ask for it. */
typedef struct {
    idx start, size, first;
} mr_hf_piece;

typedef struct {
    mr_text      text;
    mr_hf_piece *piece;
    idx          count, room;
} mr_hf_pieces;

/* Adds a piece unless it is empty, as the library does. */
mr_status mr_hf_pieces_add(mr_hf_pieces *pieces, idx start, idx size, idx first, mr_err *err);
void      mr_hf_pieces_free(mr_hf_pieces *pieces);

/* Runs all normalizers over *text; *first as in mr_hf_piece, is kept up to date. */
mr_status mr_hf_normalize(const mr_hf_steps *steps, mr_text *text, idx *first, mr_err *err);

/* Runs all pre-tokenizers over *pieces, using *spare. */
mr_status mr_hf_pretokenize(const mr_hf *hf, mr_hf_pieces *pieces, mr_hf_pieces *spare,
                            mr_err *err);

/* The span at the start of text[0..bytes), bytes >= 1: a match of the step's pattern, or all that
 * comes before the next one. */
idx mr_hf_span(const uint8_t *classes, const mr_hf_step *step, const char *text, idx bytes,
               bool *match);

/* Appends the character that byte-level tokenizers write for a byte. */
void mr_hf_put_byte(mr_text *out, char byte);

/* The byte that a character stands for, -1 when it stands for none. */
int mr_hf_byte_of(uint32_t code);

/* The next part of a text with added tokens in it: text[0..bytes) from *start, *size, which may be
 * empty, and then the token *index, -1 at the end of the text. */
typedef struct {
    const mr_hf *hf;
    bool         normal;  /* look for those that are normalized, in normalized text */
    const char  *text;
    idx          bytes;
    idx          at;      /* where to look on */
    idx          done;    /* up to here the text belongs to parts already given out */
    idx          blanks_from, blanks_to; /* a run of White_Space seen before */
} mr_hf_cut;

bool mr_hf_cut_next(mr_hf_cut *cut, idx *start, idx *size, idx *index);

/* The id of a piece, -1 when there is none; and whether two symbols may join, for mr_bpe_merge
 * with the model as the rule. */
int32_t mr_hf_find(const mr_hf_model *model, const char *bytes, idx size);
bool    mr_hf_join(void *rule, const char *text, const mr_symbol *left, const mr_symbol *right,
                   mr_join *join);

mr_status mr_hf_encode(const void *model, const char *text, idx bytes, mr_ids *out, mr_err *err);
mr_status mr_hf_decode(const void *model, const int32_t *ids, idx count, mr_text *out,
                       mr_err *err);
mr_status mr_hf_stream(const void *model, mr_stream *stream, int32_t id, mr_text *out,
                       mr_err *err);
mr_status mr_hf_stream_end(const void *model, mr_stream *stream, mr_text *out, mr_err *err);

/* Parts of decoding that a stream needs: the first `steps` decoders only; the bytes of a token all
 * of whose characters stand for one, else the token as it is; the value of "<0x41>", -1 for other
 * tokens. */
mr_status mr_hf_decode_partly(const mr_hf *hf, int steps, const int32_t *ids, idx count,
                              mr_text *out, mr_err *err);
mr_status mr_hf_put_token_bytes(const char *token, idx bytes, mr_text *out, mr_err *err);
int       mr_hf_byte_value(const char *token, idx size);

/* How the decoders of this file can be streamed. */
mr_hf_flow mr_hf_flow_of(const mr_hf *hf);

void mr_hf_model_close(mr_hf_model *model);
void mr_hf_added_close(mr_hf_added *added);

#endif
