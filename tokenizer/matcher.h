/* Longest match first: which user-defined piece, if any, starts here? */
#ifndef MR_TOKENIZER_MATCHER_H
#define MR_TOKENIZER_MATCHER_H

#include "tokenizer/vocab.h"

typedef struct {
    const char *bytes;
    int32_t     size;
    int32_t     id;
} mr_match_key;

/* The keys in byte order: all keys with a common beginning are neighbours, so that a match is a
 * range that narrows with every byte. No tree, no pointers, and no recursion. */
typedef struct {
    mr_match_key *key;
    idx           count;
    int32_t       first[257]; /* keys that start with byte b: first[b] .. first[b + 1] */
} mr_matcher;

/* Collects the USER_DEFINED pieces of a vocabulary; `matcher` starts as zeros. */
mr_status mr_matcher_open(mr_matcher *matcher, const mr_vocab *vocab, mr_err *err);
void      mr_matcher_close(mr_matcher *matcher);

/* Bytes of the longest key at the start of text[0..bytes), 0 when there is none; *id its id. */
idx mr_matcher_search(const mr_matcher *matcher, const char *text, idx bytes, int32_t *id);

/* Nearly always no key starts with this byte: decided here, without a call. */
static inline idx mr_matcher_longest(const mr_matcher *matcher, const char *text, idx bytes,
                                     int32_t *id) {
    unsigned lead = (unsigned char)text[0];
    if (matcher->first[lead] == matcher->first[lead + 1]) return 0;
    return mr_matcher_search(matcher, text, bytes, id);
}

#endif
