/* The vocabulary: pieces by id, and ids by the bytes of a piece. */
#ifndef MR_TOKENIZER_VOCAB_H
#define MR_TOKENIZER_VOCAB_H

#include "ref/base.h"

/* Limits, checked before anything is allocated. Real vocabularies have at most 131,072 pieces of
 * at most 128 bytes; the limits leave room and still bound the work that a hostile file causes. */
#define MR_VOCAB_MAX ((idx)1 << 20) /* pieces */
#define MR_PIECE_MAX ((idx)1 << 16) /* bytes of one piece */
#define MR_PROBE_MAX 512            /* slots that a look-up may have to try; a dozen is usual */

/* SentencePiece's numbering, kept because it is what the file stores. */
typedef enum {
    MR_PIECE_NORMAL = 1,
    MR_PIECE_UNKNOWN,
    MR_PIECE_CONTROL,
    MR_PIECE_USER_DEFINED,
    MR_PIECE_UNUSED,
    MR_PIECE_BYTE
} mr_piece_type;

typedef struct {
    const char *bytes;  /* a view into the file; any bytes, NUL too; no NUL after them */
    int32_t     size;
    uint32_t    order;  /* merge priority: smaller merges first */
    int32_t     type;   /* mr_piece_type */
    int32_t     unused; /* SentencePiece: counts the UNUSED pieces from 0; -1: another one */
} mr_piece;

/* A slot of the open-addressing table. Comparing 32 bits of hash first makes a failed look-up,
 * the common case of the merge loop, cost one cache line and no look at the piece itself. */
typedef struct {
    uint32_t hash;
    int32_t  id_plus_1; /* 0: empty */
} mr_slot;

typedef struct {
    mr_piece *piece;
    idx       count;
    mr_slot  *slot;
    uint32_t  mask;      /* number of slots - 1, a power of two less one */
    idx       longest;   /* bytes of the longest piece: longer candidates need no look-up */
} mr_vocab;

/* Room for `count` pieces; the caller fills piece[] and then calls index. */
mr_status mr_vocab_open(mr_vocab *vocab, idx count, mr_err *err);
void      mr_vocab_close(mr_vocab *vocab);

/* Enters all pieces. MR_OK, or MR_BAD with the ids of the first two equal pieces in twins[]; the
 * same id twice means that this piece and hundreds of others want the same slot, which does not
 * happen by accident. The caller words the message, since only it knows the file. */
mr_status mr_vocab_index(mr_vocab *vocab, int32_t twins[2]);

/* The id of a piece, -1 when there is none. */
int32_t mr_vocab_find(const mr_vocab *vocab, const char *bytes, idx size);

#endif
