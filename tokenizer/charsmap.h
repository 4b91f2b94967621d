/* A precompiled character map: which beginnings of a text are replaced by what. */
#ifndef MR_TOKENIZER_CHARSMAP_H
#define MR_TOKENIZER_CHARSMAP_H

#include "ref/base.h"

/* Views into the model file. {0}: no map, nothing is replaced. */
typedef struct {
    const char *units;   /* a trie: `count` little-endian words of 32 bits at any address */
    idx         count;
    const char *strings; /* the replacements, each with a NUL behind it; the last byte is NUL */
    idx         strings_size;
} mr_charsmap;

/* Takes apart normalizer_spec.precompiled_charsmap. Returns NULL, or what is wrong with it. */
const char *mr_charsmap_open(mr_charsmap *map, const char *blob, idx size);

/* Bytes at the start of text[0..bytes) that are replaced, the longest of several; then
 * *replacement is a NUL-terminated string. 0 when nothing is. */
idx mr_charsmap_longest(const mr_charsmap *map, const char *text, idx bytes,
                        const char **replacement);

#endif
