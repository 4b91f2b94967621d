/* Pieces to ids: a hash table with linear probing, at most half full.
 *
 * This look-up is the inner loop of tokenizing: the merge loop asks two to three times per
 * character whether two symbols together are a piece. So the answer "no" must be cheap: one hash
 * over a few bytes, one slot of eight bytes, no look at the piece.
 *
 * The hash has no secret, so a vocabulary could be built whose pieces collide, and every look-up
 * would walk through all of them. Such a file is refused (MR_PROBE_MAX) when it is opened. */
#include "tokenizer/vocab.h"

#include <string.h>

mr_status mr_vocab_open(mr_vocab *vocab, idx count, mr_err *err) {
    *vocab = (mr_vocab){0};
    /* A power of two makes the remainder a mask. Twice as many slots as pieces keeps the runs that
     * linear probing has to walk short, and leaves an empty slot to end every search. */
    idx slots = 2;
    while (slots < 2 * count) slots *= 2; /* count <= MR_VOCAB_MAX, so this cannot overflow */
    vocab->piece = mr_alloc(count, (idx)sizeof *vocab->piece, err);
    vocab->slot = mr_alloc(slots, (idx)sizeof *vocab->slot, err);
    if (vocab->piece == NULL || vocab->slot == NULL) {
        mr_vocab_close(vocab);
        return MR_BAD;
    }
    vocab->count = count;
    vocab->mask = (uint32_t)(slots - 1);
    return MR_OK;
}

void mr_vocab_close(mr_vocab *vocab) {
    mr_free(vocab->piece);
    mr_free(vocab->slot);
    *vocab = (mr_vocab){0};
}

/* Reads in the machine's byte order: hashes never leave this process. memcpy, because a piece can
 * start at any address; compilers make one load of it. */
static uint64_t word8(const char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static uint64_t word4(const char *bytes) {
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* One multiplication spreads low bits upwards, the shift brings them back down. The constant is
 * 2^64 divided by the golden ratio, made odd. */
static uint64_t mix(uint64_t x) {
    x *= UINT64_C(0x9E3779B97F4A7C15);
    return x ^ x >> 29;
}

/* Most pieces have fewer than nine bytes, so the hash reads whole words: the first and the last
 * of the piece, which overlap when it is short. No byte is left out, none outside is read. */
static uint32_t hash_of(const char *bytes, idx size) {
    uint64_t h = (uint64_t)size;
    if (size >= 8) {
        for (idx i = 0; i + 8 < size; i += 8) h = mix(h ^ word8(bytes + i));
        h = mix(h ^ word8(bytes + size - 8));
    } else if (size >= 4) {
        h = mix(h << 56 ^ (word4(bytes) << 32 | word4(bytes + size - 4)));
    } else if (size > 0) {
        uint64_t first = (unsigned char)bytes[0], middle = (unsigned char)bytes[size / 2];
        h = mix(h << 24 | first << 16 | middle << 8 | (unsigned char)bytes[size - 1]);
    }
    return (uint32_t)(mix(h) >> 32);
}

/* The slot that holds these bytes, or the empty one where they would go: searching and entering
 * are the same walk. Ends because at least half of the slots are empty. */
static mr_slot *slot_of(const mr_vocab *vocab, const char *bytes, idx size, uint32_t hash) {
    for (uint32_t i = hash & vocab->mask;; i = (i + 1) & vocab->mask) {
        mr_slot *slot = &vocab->slot[i];
        if (slot->id_plus_1 == 0) return slot;
        if (slot->hash != hash) continue; /* a neighbour that probing put here */
        const mr_piece *piece = &vocab->piece[slot->id_plus_1 - 1];
        if (piece->size == size && memcmp(piece->bytes, bytes, (size_t)size) == 0) return slot;
    }
}

/* Entered in the order of ids, so of two equal pieces the lower id is reported first. */
mr_status mr_vocab_index(mr_vocab *vocab, int32_t twins[2]) {
    for (idx id = 0; id < vocab->count; id++) {
        const mr_piece *piece = &vocab->piece[id];
        uint32_t hash = hash_of(piece->bytes, piece->size);
        mr_slot *slot = slot_of(vocab, piece->bytes, piece->size, hash);
        if (slot->id_plus_1 != 0) {
            twins[0] = slot->id_plus_1 - 1;
            twins[1] = (int32_t)id;
            return MR_BAD;
        }
        uint32_t probes = ((uint32_t)(slot - vocab->slot) - hash) & vocab->mask;
        if (probes > MR_PROBE_MAX) {
            twins[0] = twins[1] = (int32_t)id;
            return MR_BAD;
        }
        *slot = (mr_slot){.hash = hash, .id_plus_1 = (int32_t)id + 1};
        if (piece->size > vocab->longest) vocab->longest = piece->size;
    }
    return MR_OK;
}

int32_t mr_vocab_find(const mr_vocab *vocab, const char *bytes, idx size) {
    if (size > vocab->longest) return -1;
    return slot_of(vocab, bytes, size, hash_of(bytes, size))->id_plus_1 - 1;
}
