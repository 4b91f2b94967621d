/* Walking a double-array trie that a stranger built.
 *
 *   blob     size of the trie in bytes (32 bits, little-endian), the trie, the strings
 *   unit     bits 0-7, 31  the byte that leads here; bit 31 set: no byte does
 *            bit 8         a key ends here: its value is the unit at the end of the offset
 *            bits 9-31     the offset to what follows; bit 9 set: times 256
 *   value    bits 0-30     where in the strings the replacement starts
 *
 * A node is a position. The next one is position ^ offset ^ byte, if the unit there carries that
 * byte; so one table serves all nodes, interleaved. Nothing in the file promises that positions
 * stay inside the table or values inside the strings: every one is compared before it is used, and
 * what points outside does not match. One step per byte of text, so a walk always ends.
 *
 * Upstream: Darts-clone, commonPrefixSearch; normalizer.cc, NormalizePrefix. */
#include "tokenizer/charsmap.h"

#include <string.h>

static uint32_t word_at(const char *bytes) {
    const unsigned char *b = (const unsigned char *)bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static uint32_t unit_at(const mr_charsmap *map, uint32_t node) {
    return word_at(map->units + 4 * (idx)node);
}

static uint32_t offset_of(uint32_t unit) { return unit >> 10 << (unit >> 6 & 8); }

const char *mr_charsmap_open(mr_charsmap *map, const char *blob, idx size) {
    *map = (mr_charsmap){0};
    if (size == 0) return NULL;
    if (size < 4) return "it is shorter than its header";
    uint32_t trie = word_at(blob);
    if (trie > (uint64_t)size - 4) return "its trie is larger than the map";
    if (trie == 0 || trie % 4 != 0) return "its trie is not made of 32-bit units";
    map->units = blob + 4;
    map->count = (idx)trie / 4;
    map->strings = map->units + trie;
    map->strings_size = size - 4 - (idx)trie;
    if (map->strings_size == 0 || map->strings[map->strings_size - 1] != '\0')
        return "its last replacement has no end";
    return NULL;
}

idx mr_charsmap_longest(const mr_charsmap *map, const char *text, idx bytes,
                        const char **replacement) {
    idx longest = 0;
    if (map->count == 0) return 0;
    uint32_t node = offset_of(unit_at(map, 0));
    for (idx i = 0; i < bytes; i++) {
        uint32_t byte = (unsigned char)text[i];
        node ^= byte;
        if (node >= (uint64_t)map->count) break;
        uint32_t unit = unit_at(map, node);
        if ((unit & UINT32_C(0x800000FF)) != byte) break;
        node ^= offset_of(unit);
        if (node >= (uint64_t)map->count) break;
        if (!(unit >> 8 & 1)) continue;
        uint32_t value = unit_at(map, node) & UINT32_C(0x7FFFFFFF);
        if (value >= (uint64_t)map->strings_size) continue;
        longest = i + 1;
        *replacement = map->strings + value;
    }
    return longest;
}
