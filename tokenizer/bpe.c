/* Byte-pair encoding: repeatedly join the best pair of neighbours, found with a heap.
 *
 * The plain algorithm: among all neighbours that may join take the best pair, the leftmost of
 * equals; join it; start over. Literally done that is O(n^2). Here the candidates wait in a heap.
 * The heap holds candidates, not truths: a merge may make others stale, and those are recognised
 * when they come up instead of being searched for. That is what keeps the loop at O(n log n).
 *
 * Example, "ab" and "bc" are pieces of equal score, the text is "abc": both wait, "ab" comes first
 * because it is further left, and makes "ab" out of symbols 0 and 1. "bc" starts at symbol 1, which
 * is empty now, so it is dropped. The result is "ab", "c". */
#include "tokenizer/bpe.h"

void mr_bpe_free(mr_bpe *bpe) {
    mr_free(bpe->symbol);
    mr_free(bpe->heap);
    *bpe = (mr_bpe){0};
}

/* Doubling makes adding n symbols O(n) altogether. A product that does not fit asks for more than
 * any machine has, so that the allocator words the message. */
static mr_status more_symbols(mr_bpe *bpe, mr_err *err) {
    idx room;
    if (!mr_mul(bpe->room > 0 ? bpe->room : 64, 2, &room)) room = MR_IDX_MAX;
    mr_symbol *symbol = mr_resize(bpe->symbol, room, (idx)sizeof *symbol, err);
    if (symbol == NULL) return MR_BAD;
    bpe->symbol = symbol;
    bpe->room = room;
    return MR_OK;
}

mr_status mr_bpe_add(mr_bpe *bpe, idx start, idx bytes, int32_t id, bool frozen, mr_err *err) {
    /* Positions are 32-bit because the loop is bound by memory traffic. A single stretch of text
     * this long, without a place to cut it, is refused rather than wrapped. */
    if (bytes > INT32_MAX - start)
        return mr_fail(err, MR_BAD, "a stretch of text exceeds 2 GiB; tokenize it in parts");
    if (bpe->count == bpe->room && more_symbols(bpe, err) != MR_OK) return MR_BAD;
    int32_t i = (int32_t)bpe->count++; /* below 2^31: no symbol is empty when it is added */
    if (i > 0) bpe->symbol[i - 1].next = i;
    bpe->symbol[i] = (mr_symbol){.start = (int32_t)start, .bytes = (int32_t)bytes,
                                 .prev = i - 1, .next = -1, .id = id, .frozen = frozen};
    return MR_OK;
}

/* Heap order: no entry has a greater key than its children, entry i's being 4i + 1 to 4i + 4. Four
 * children lie side by side and the heap is half as deep as with two, so that a heap larger than
 * the cache costs half the misses. The moved entry is held aside and written once, at the end.
 *
 * Moves the candidate at `hole` towards the leaves until no child is smaller. */
static void sift_down(mr_candidate *heap, idx count, idx hole) {
    mr_candidate moved = heap[hole];
    for (idx child, first; (first = 4 * hole + 1) < count; hole = child) {
        idx end = first + 4 < count ? first + 4 : count;
        child = first;
        for (idx i = first + 1; i < end; i++)
            if (heap[i].key < heap[child].key) child = i;
        if (moved.key <= heap[child].key) break;
        heap[hole] = heap[child];
    }
    heap[hole] = moved;
}

/* Inserts at the end and moves towards the root. Room is there, see reserve_heap. */
static void push(mr_bpe *bpe, mr_candidate added) {
    mr_candidate *heap = bpe->heap;
    idx hole = bpe->heap_count++;
    for (idx parent; hole > 0; hole = parent) {
        parent = (hole - 1) / 4;
        if (heap[parent].key <= added.key) break;
        heap[hole] = heap[parent];
    }
    heap[hole] = added;
}

/* Takes the best candidate out; the last one fills the hole. The heap is not empty. */
static mr_candidate pop(mr_bpe *bpe) {
    mr_candidate best = bpe->heap[0], last = bpe->heap[--bpe->heap_count];
    if (bpe->heap_count > 0) {
        bpe->heap[0] = last;
        sift_down(bpe->heap, bpe->heap_count, 0);
    }
    return best;
}

/* n symbols start with at most n - 1 candidates, and each of at most n - 1 merges takes one away
 * and adds at most two: 2n is enough, and the loop itself cannot run out of memory. */
static mr_status reserve_heap(mr_bpe *bpe, mr_err *err) {
    idx room;
    if (!mr_mul(bpe->room, 2, &room)) room = MR_IDX_MAX;
    if (bpe->heap_room >= 2 * bpe->count) return MR_OK;
    mr_candidate *heap = mr_resize(bpe->heap, room, (idx)sizeof *heap, err);
    if (heap == NULL) return MR_BAD;
    bpe->heap = heap;
    bpe->heap_room = room;
    return MR_OK;
}

/* Asks whether symbols `left` and `right` (neighbours, or -1 beyond an end) may join. The caller's
 * rule never sees a frozen symbol, so it needs no notion of freezing. Symbol indices are below
 * 2^31: as the low half of the key they order ties from left to right. */
static bool candidate(const mr_bpe *bpe, const char *text, mr_bpe_join *join, void *rule,
                      int32_t left, int32_t right, mr_candidate *found) {
    if (left < 0 || right < 0) return false;
    const mr_symbol *a = &bpe->symbol[left], *b = &bpe->symbol[right];
    mr_join joined;
    if (a->frozen || b->frozen || !join(rule, text, a, b, &joined)) return false;
    *found = (mr_candidate){.key = (uint64_t)joined.order << 32 | (uint32_t)left,
                            .bytes = a->bytes + b->bytes, .id = joined.id};
    return true;
}

mr_status mr_bpe_merge(mr_bpe *bpe, const char *text, mr_bpe_join *join, void *rule, mr_err *err) {
    if (bpe->count < 2) return MR_OK;
    if (reserve_heap(bpe, err) != MR_OK) return MR_BAD;
    mr_candidate next;

    /* All pairs first, then one O(n) pass that makes a heap of them. */
    bpe->heap_count = 0;
    for (int32_t i = 1; i < bpe->count; i++)
        if (candidate(bpe, text, join, rule, i - 1, i, &next)) bpe->heap[bpe->heap_count++] = next;
    for (idx i = (bpe->heap_count + 2) / 4 - 1; i >= 0; i--)
        sift_down(bpe->heap, bpe->heap_count, i);

    /* Invariant: every pair of neighbours that may join has a candidate with their present
     * lengths in the heap. So when the heap is empty, nothing may join. */
    while (bpe->heap_count > 0) {
        mr_candidate best = pop(bpe);
        int32_t l = (int32_t)(uint32_t)best.key; /* the low half of the key */
        mr_symbol *left = &bpe->symbol[l];
        /* Stale when left is gone, or when it or its neighbour has grown since: lengths only
         * grow, so equal lengths mean that these are the same two symbols. */
        if (left->bytes == 0 || left->next < 0) continue;
        mr_symbol *right = &bpe->symbol[left->next];
        if (left->bytes + right->bytes != best.bytes) continue;

        /* Join: the left symbol takes over the bytes and the successor of the right one. */
        left->bytes = best.bytes;
        left->id = best.id;
        left->next = right->next;
        right->bytes = 0;
        if (left->next >= 0) bpe->symbol[left->next].prev = l;

        /* Two new pairs of neighbours. The order of the questions can matter to a rule that keeps
         * notes, as SentencePiece's does on unused pieces: left pair first. */
        if (candidate(bpe, text, join, rule, left->prev, l, &next)) push(bpe, next);
        if (candidate(bpe, text, join, rule, l, left->next, &next)) push(bpe, next);
    }
    return MR_OK;
}
