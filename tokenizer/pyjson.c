/* The memory of Python's JSON values, and looking things up in them. */
#include "tokenizer/pyjson.h"

#include <string.h>

/* One piece of memory; `used` of `room` bytes are given away. The chain starts at the newest. */
struct mr_py_block {
    mr_py_block *older;
    idx          used, room;
    char        *byte;
};

#define FIRST_BLOCK ((idx)4096)
#define LARGEST_STEP ((idx)1 << 20)
#define ALIGNMENT ((idx)16)

/* Blocks double up to a limit: few calls for a long conversation, little waste for a short one. */
static mr_py_block *grow(mr_py_arena *arena, idx bytes, mr_err *err) {
    idx room = arena->block == NULL ? FIRST_BLOCK : arena->block->room;
    if (arena->block != NULL && room < LARGEST_STEP) room *= 2;
    if (room < bytes) room = bytes;
    mr_py_block *block = mr_alloc(1, (idx)sizeof *block, err);
    if (block == NULL) return NULL;
    block->byte = mr_alloc(room, 1, err);
    if (block->byte == NULL) {
        mr_free(block);
        return NULL;
    }
    block->room = room;
    block->older = arena->block;
    arena->block = block;
    return block;
}

void *mr_py_alloc(mr_py_arena *arena, idx count, idx size, mr_err *err) {
    idx bytes, rounded;
    if (!mr_mul(count, size, &bytes) || !mr_add(bytes, ALIGNMENT, &rounded)) {
        mr_fail(err, MR_BAD, "%td values of %td bytes do not fit in memory", count, size);
        return NULL;
    }
    rounded -= rounded % ALIGNMENT; /* at least one byte more than asked: a place for a NUL */
    mr_py_block *block = arena->block;
    if (block == NULL || block->room - block->used < rounded) block = grow(arena, rounded, err);
    if (block == NULL) return NULL;
    void *memory = block->byte + block->used;
    block->used += rounded;
    return memory;
}

void mr_py_free(mr_py_arena *arena) {
    while (arena->block != NULL) {
        mr_py_block *block = arena->block;
        arena->block = block->older;
        mr_free(block->byte);
        mr_free(block);
    }
}

bool mr_py_is(mr_py_span span, const char *text) {
    return mr_py_equal(span, (mr_py_span){text, (idx)strlen(text)});
}

bool mr_py_equal(mr_py_span a, mr_py_span b) {
    return a.count == b.count && (a.count == 0 || memcmp(a.byte, b.byte, (size_t)a.count) == 0);
}

const mr_py *mr_py_get(const mr_py *value, const char *key) {
    if (value == NULL || value->kind != MR_PY_DICT) return NULL;
    for (const mr_py *entry = value->first; entry != NULL; entry = entry->next)
        if (mr_py_is(entry->key, key)) return entry;
    return NULL;
}
