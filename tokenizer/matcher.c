/* Longest match over sorted keys, narrowing a range by binary search, byte by byte.
 *
 * Example: keys "[REF]", "[REFERENCE_DOC_1]", "[REFERENCE_DOC_10]", text "[REFERENCE_DOC_1]!".
 * After 4 bytes the range is all three; byte 5 is 'E', which drops the first; byte 17 is ']',
 * which drops the third; the second ends there and is noted as the longest so far; nothing is left
 * that could be longer. A step costs O(log keys), a search at most as many steps as the longest
 * key has bytes, whatever the length of the text. */
#include "tokenizer/matcher.h"

#include <stdlib.h>
#include <string.h>

/* Byte order, a key before its own extensions: so the key that ends at a given depth is always the
 * first of its range. Keys differ, duplicates were refused, so the result is never 0 for two. */
static int by_bytes(const void *left, const void *right) {
    const mr_match_key *a = left, *b = right;
    int32_t common = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->bytes, b->bytes, (size_t)common);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

mr_status mr_matcher_open(mr_matcher *matcher, const mr_vocab *vocab, mr_err *err) {
    idx count = 0;
    for (idx id = 0; id < vocab->count; id++)
        count += vocab->piece[id].type == MR_PIECE_USER_DEFINED;
    matcher->key = mr_alloc(count, (idx)sizeof *matcher->key, err);
    if (matcher->key == NULL) return MR_BAD;

    /* first[b + 1] counts the keys with first byte b, then becomes the sum up to them. */
    for (idx id = 0; id < vocab->count; id++) {
        const mr_piece *piece = &vocab->piece[id];
        if (piece->type != MR_PIECE_USER_DEFINED) continue;
        matcher->key[matcher->count++] = (mr_match_key){piece->bytes, piece->size, (int32_t)id};
        matcher->first[(unsigned char)piece->bytes[0] + 1]++;
    }
    for (int b = 0; b < 256; b++) matcher->first[b + 1] += matcher->first[b];
    qsort(matcher->key, (size_t)count, sizeof *matcher->key, by_bytes);
    return MR_OK;
}

void mr_matcher_close(mr_matcher *matcher) {
    mr_free(matcher->key);
    *matcher = (mr_matcher){0};
}

/* First key of [low, high) whose byte at `depth` is at least `byte`. All keys of the range agree
 * before `depth` and are longer than it, so that byte exists and ascends. */
static idx lower_bound(const mr_matcher *matcher, idx low, idx high, idx depth, int byte) {
    while (low < high) {
        idx middle = low + (high - low) / 2;
        if ((unsigned char)matcher->key[middle].bytes[depth] < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

idx mr_matcher_search(const mr_matcher *matcher, const char *text, idx bytes, int32_t *id) {
    int lead = (unsigned char)text[0]; /* the table replaces the first binary search */
    idx low = matcher->first[lead], high = matcher->first[lead + 1], longest = 0;
    for (idx depth = 1; low < high; depth++) {
        /* Invariant: keys low..high-1 are those whose first `depth` bytes match the text. */
        if (matcher->key[low].size == depth) {
            longest = depth;
            *id = matcher->key[low++].id;
        }
        if (depth == bytes) break; /* the text ends; longer keys cannot match */
        int byte = (unsigned char)text[depth];
        low = lower_bound(matcher, low, high, depth, byte);
        high = lower_bound(matcher, low, high, depth, byte + 1);
    }
    return longest;
}
