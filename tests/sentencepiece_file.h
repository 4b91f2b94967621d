/* SentencePiece models written field by field, opened, and asked. */
#ifndef MR_TESTS_SENTENCEPIECE_FILE_H
#define MR_TESTS_SENTENCEPIECE_FILE_H

#include "tests/scratch.h"

#include "tests/ids.h"

#define SP "\xE2\x96\x81" /* U+2581, how a piece writes a space */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

/* A model file, written field by field. */
static struct {
    char byte[1 << 22];
    idx  count;
} file;

static inline void put(const char *bytes, idx count) {
    assert_true(file.count + count <= (idx)sizeof file.byte);
    memmove(file.byte + file.count, bytes, (size_t)count);
    file.count += count;
}

/* A fixed width in bytes is legal for a varint: it lets a length be filled in afterwards. */
static inline void put_varint(uint64_t value, int width) {
    for (; value > 127 || width > 1; value >>= 7, width--)
        put((char[]){(char)((value & 127) | 128)}, 1);
    put((char[]){(char)value}, 1);
}

static inline void put_number(unsigned number, uint64_t value) {
    put_varint(number << 3, 1);
    put_varint(value, 1);
}

static inline void put_bytes(unsigned number, const char *bytes, idx count) {
    put_varint(number << 3 | 2, 1);
    put_varint((uint64_t)count, 3);
    put(bytes, count);
}

/* Turns what follows `from` into a message of that field. */
static inline void close_message(unsigned number, idx from) {
    static char inside[sizeof file.byte];
    idx size = file.count - from;
    memcpy(inside, file.byte + from, (size_t)size);
    file.count = from;
    put_bytes(number, inside, size);
}

static inline void put_piece(const char *piece, idx bytes, float score, int type) {
    idx from = file.count;
    uint32_t word;
    memcpy(&word, &score, 4);
    put_bytes(1, piece, bytes);
    put_varint(2 << 3 | 5, 1);
    for (int i = 0; i < 4; i++) put((char[]){(char)(word >> 8 * i)}, 1);
    if (type != NORMAL) put_number(3, (uint64_t)type); /* NORMAL is the default */
    close_message(1, from);
}

#define PIECE(text, score, type) put_piece(text, (idx)sizeof text - 1, score, type)

/* Starts a file with settings as in the Mistral files (identity, nothing trimmed), the reserved
 * pieces and `bytes` byte pieces. */
static inline void start(unsigned model_type, bool byte_fallback, int bytes) {
    file.count = 0;
    put_number(3, model_type);
    put_number(35, byte_fallback);
    put_number(43, UINT64_MAX); /* pad_id -1 takes ten bytes; not a field we use */
    close_message(2, 0);
    put_bytes(3, "\n\bidentity\x20", 12); /* field 1 the name, field 4 (trimming) = 0 */
    PIECE("<unk>", 0, UNKNOWN);
    PIECE("<s>", 0, CONTROL);
    PIECE("</s>", 0, CONTROL);
    for (int i = 0; i < bytes; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i & 255);
        put_piece(name, 6, 0, BYTE);
    }
}

/* The model of most tests. Byte pieces have ids 3 to 258; d, e and f are no pieces. */
static inline void tiny(void) {
    start(2, true, 256);
    PIECE(SP, -9, NORMAL), PIECE("a", -9, NORMAL), PIECE("b", -9, NORMAL);        /* 259 260 261 */
    PIECE("ab", -1, NORMAL), PIECE("ba", -1, NORMAL);                    /* 262 263: equal score */
    PIECE("aba", -2, NORMAL), PIECE(SP "a", -3, NORMAL);                              /* 264 265 */
    PIECE("[X]", 0, USER), PIECE("[X]a", 0, USER);                                    /* 266 267 */
    PIECE("cd", -1, UNUSED), PIECE("cde", -2, UNUSED), PIECE("cdef", -3, NORMAL); /* 268 269 270 */
    PIECE("c", -9, NORMAL), PIECE("\xC3\xA9", -9, NORMAL);                            /* 271 272 */
}

/* Opens what was written. The name can state the version. */
static inline mr_status open_file(const char *name, mr_tokenizer **t, mr_err *err) {
    return mr_tokenizer_open(scratch_write(name, file.byte, (size_t)file.count), t, err);
}

static inline mr_tokenizer *good(const char *name) {
    mr_err err = {0};
    mr_tokenizer *t;
    if (open_file(name, &t, &err) != MR_OK) fail_msg("%s", err.text);
    return t;
}

static inline void refused(const char *name, const char *reason) {
    mr_err err = {0};
    mr_tokenizer *t;
    check_refused(open_file(name, &t, NULL), MR_BAD, &err, "");
    check_refused(open_file(name, &t, &err), MR_BAD, &err, reason);
    assert_null(t);
}

#endif
