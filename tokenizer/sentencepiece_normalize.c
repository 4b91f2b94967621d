/* From any bytes to the text that SentencePiece merges: user-defined pieces, the model's character
 * map, bad bytes and spaces. All Unicode rules a model may want (nmt_nfkc and its relatives) are in
 * its character map; the Mistral files have none, which is called identity.
 *
 * With the settings of all Mistral files, writing _ for U+2581:
 *     "Hello  World"  ->  "_Hello__World"      every space kept, one put in front
 *     " a"            ->  "__a"                also before a space
 *     "a\xFF"         ->  "_a\uFFFD"           one replacement per bad byte
 *     "\t\n"          ->  "_\t\n"              only U+0020 is a space
 * Upstream: normalizer.cc, Normalizer::Normalize and NormalizePrefix. */
#include <string.h>

#include "tokenizer/lists.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

/* One step of the walk: `used` bytes of the input become bytes[0..size). */
typedef struct {
    const char *bytes;
    idx         size, used;
} chunk;

/* The longest user-defined piece, else the longest thing that the map replaces, else one character,
 * else one bad byte. */
static chunk next_chunk(const mr_spm *spm, const char *text, idx bytes) {
    int32_t id;
    idx size = mr_matcher_longest(&spm->matcher, text, bytes, &id);
    if (size > 0) return (chunk){text, size, size};
    const char *replacement;
    size = mr_charsmap_longest(&spm->charsmap, text, bytes, &replacement);
    if (size > 0) return (chunk){replacement, (idx)strlen(replacement), size};
    size = mr_utf8_valid(text, bytes);
    if (size == 0) return (chunk){MR_UTF8_REPLACEMENT, 3, 1};
    return (chunk){text, size, size};
}

/* A user-defined piece that is one space counts as well: the library compares text, not origin. */
static bool is_space(const chunk *c) { return c->size == 1 && c->bytes[0] == ' '; }

/* The writers do not check for room: without a map every input byte becomes at most three, and the
 * dummy prefix or suffix adds three, so the caller reserves all of it once. */
static void put_byte(const mr_spm *spm, mr_text *out, char byte) {
    if (byte == ' ' && spm->escape_spaces) {
        memcpy(out->byte + out->count, MR_UTF8_SPACE, 3);
        out->count += 3;
    } else {
        out->byte[out->count++] = byte;
    }
}

/* Copies a chunk; with `after_space` its leading spaces are dropped. Returns whether what is
 * written now ends in a space, as far as collapsing runs of spaces is concerned. */
static bool put_chunk(const mr_spm *spm, mr_text *out, chunk c, bool after_space) {
    while (after_space && c.size > 0 && c.bytes[0] == ' ') {
        c.bytes++;
        c.size--;
    }
    if (c.size == 0) return after_space;
    for (idx i = 0; i < c.size; i++) put_byte(spm, out, c.bytes[i]);
    return spm->trim_spaces && c.bytes[c.size - 1] == ' ';
}

/* Removes what looks like spaces at the end, U+2581 that the user typed included, and the dummy
 * prefix if nothing else is left: as the library does. Nothing before `start` is touched. */
static void trim_end(const mr_spm *spm, mr_text *out, idx start) {
    const char *space = spm->escape_spaces ? MR_UTF8_SPACE : " ";
    idx size = spm->escape_spaces ? 3 : 1;
    while (out->count - start >= size
           && memcmp(out->byte + out->count - size, space, (size_t)size) == 0)
        out->count -= size;
}

mr_status mr_spm_normalize(const mr_spm *spm, const char *text, idx bytes, mr_text *out,
                           mr_err *err) {
    idx start = out->count, room;
    if (!mr_mul(bytes, 3, &room) || !mr_add(room, 3, &room)) room = MR_IDX_MAX;
    mr_status status = mr_text_reserve(out, room, err);
    if (status != MR_OK) return status;

    const char *end = text + bytes;
    /* Leading spaces go before the dummy prefix is written, so that only one remains. */
    if (spm->trim_spaces)
        for (chunk c; text < end; text += c.used) {
            c = next_chunk(spm, text, end - text);
            if (!is_space(&c)) break;
        }
    if (text == end) return MR_OK; /* nothing, or spaces only: no dummy prefix either */

    if (spm->dummy_prefix && !spm->whitespace_suffix) put_byte(spm, out, ' ');
    /* While trimming, the text starts as if after a space: a user-defined piece may bring one. */
    bool after_space = spm->trim_spaces;
    while (text < end) {
        chunk c = next_chunk(spm, text, end - text);
        /* A replacement can have any length; the three more are for the suffix. */
        if (spm->charsmap.count > 0 && mr_text_reserve(out, 3 * c.size + 3, err) != MR_OK)
            return MR_BAD;
        after_space = put_chunk(spm, out, c, after_space);
        text += c.used;
    }
    if (spm->trim_spaces) trim_end(spm, out, start);
    if (spm->dummy_prefix && spm->whitespace_suffix) put_byte(spm, out, ' ');
    return MR_OK;
}
