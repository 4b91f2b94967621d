/* The merge loop of byte-pair encoding, for every kind of tokenizer that has one.
 *
 * Kinds differ in which neighbours may join and which join first: SentencePiece asks whether the
 * joined bytes are a piece and prefers the higher score; Tekken prefers the lower rank;
 * tokenizer.json looks up the pair of ids. They say so through one function, mr_bpe_join. */
#ifndef MR_TOKENIZER_BPE_H
#define MR_TOKENIZER_BPE_H

#include "ref/base.h"

#define MR_BPE_NO_ID (-1)

/* A run of bytes that is one piece so far. Symbols form a list by index, and merging never moves
 * one: the left of the two grows and keeps its index, the right one becomes empty. */
typedef struct {
    int32_t start, bytes; /* where in the text; bytes == 0: merged into its left neighbour */
    int32_t prev, next;   /* -1 at the ends */
    int32_t id;           /* of the piece; MR_BPE_NO_ID for a character nobody looked up */
    bool    frozen;       /* never merges */
} mr_symbol;

typedef struct {
    uint32_t order; /* smaller merges first; equal ones from left to right */
    int32_t  id;    /* of the joined piece */
} mr_join;

/* May two neighbours join? Asked once each time two symbols become neighbours. `rule` is the
 * caller's; the bytes of both are contiguous at text + left->start. */
typedef bool mr_bpe_join(void *rule, const char *text, const mr_symbol *left,
                         const mr_symbol *right, mr_join *join);

typedef struct {
    uint64_t key;       /* order << 32 | index of the left symbol: one comparison orders both */
    int32_t  bytes, id; /* of the joined piece */
} mr_candidate;

/* Working memory, reused from text to text. Start with {0}. */
typedef struct {
    mr_symbol    *symbol;
    idx           count, room;
    mr_candidate *heap;
    idx           heap_count, heap_room;
} mr_bpe;

void mr_bpe_free(mr_bpe *bpe);

/* Appends a symbol after the last; set count = 0 to start a new text. */
mr_status mr_bpe_add(mr_bpe *bpe, idx start, idx bytes, int32_t id, bool frozen, mr_err *err);

/* Merges until nothing joins. O(n log n) joins for n symbols. Afterwards the result is the list
 * that starts at symbol 0 (if there is one) and follows `next`. */
mr_status mr_bpe_merge(mr_bpe *bpe, const char *text, mr_bpe_join *join, void *rule, mr_err *err);

#endif
