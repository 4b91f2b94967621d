/* The limits that readers carry: a file at the limit opens, one beyond it is refused with its own
 * message. The others are in tests/: header, tensors and names of safetensors (test_safetensors.c),
 * npy headers (test_npy.c), zip members and ratio (test_npz_big.c, test_npz_bad.c), nesting of chat
 * requests (test_pyjson.c), pieces of a tekken.json (test_tekken_bad.c). */
#include "tests/abuse/formats.h"

#include <stdarg.h>

static struct {
    unsigned char *byte;
    size_t         size, room;
} file;

static void put(const void *bytes, size_t count) {
    if (file.size + count > file.room) {
        file.room = 2 * (file.size + count);
        file.byte = realloc(file.byte, file.room);
        FUZZ(file.byte != NULL);
    }
    memcpy(file.byte + file.size, bytes, count);
    file.size += count;
}

static void say(const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    FUZZ(n >= 0 && (size_t)n < sizeof text);
    put(text, (size_t)n);
}

static void many(char byte, size_t count) {
    for (; count > 0; count--) put(&byte, 1);
}

/* ---- builders: each makes a file of size n in one respect ------------------------------------ */

static const char params[] =
    "\"dim\":8,\"n_layers\":1,\"head_dim\":4,\"hidden_dim\":4,\"n_heads\":2,\"n_kv_heads\":1,"
    "\"norm_eps\":1e-5,\"vocab_size\":9";

static void config_bytes(size_t n) {
    say("{%s}", params);
    many(' ', n - file.size);
}

static void config_depth(size_t n) {
    say("{%s,\"x\":", params);
    many('[', n - 1);
    many(']', n - 1);
    say("}");
}

static void scan_depth(size_t n) {
    say("{\"x\":");
    many('[', n);
    many(']', n);
    say(",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}");
}

static void rank(size_t n) {
    char text[512];
    int  length = snprintf(text, sizeof text, "{\"x\":{\"dtype\":\"U8\",\"shape\":[1");
    for (; n > 1; n--) length += snprintf(text + length, sizeof text - (size_t)length, ",1");
    length += snprintf(text + length, sizeof text - (size_t)length, "],\"data_offsets\":[0,1]}}");
    const unsigned char head[8] = {(unsigned char)length};
    put(head, sizeof head);
    put(text, (size_t)length);
    many('x', 1);
}

static void varint(uint64_t n) {
    for (; n > 127; n >>= 7) many((char)((n & 127) | 128), 1);
    many((char)n, 1);
}

static void piece(const char *text, size_t size, int kind) {
    size_t bytes = 1;
    for (uint64_t n = size; n > 127; n >>= 7) bytes++;
    say("\n");
    varint(1 + bytes + size + 2);
    say("\n");
    varint(size);
    put(text, size);
    say("\x18%c", kind);
}

static void spm_end(void) {
    piece("<unk>", 5, 2);
    put("\x12\x02\x18\x02\x1a\x0a\x0a\x08identity", 16);   /* BPE */
}

static void spm_piece(size_t n) {
    char *text = malloc(n);
    memset(text, 'a', n);
    piece(text, n, 1);
    free(text);
    spm_end();
}

static void spm_pieces(size_t n) {
    char text[32];
    for (size_t i = 1; i < n; i++) piece(text, (size_t)sprintf(text, "%zu", i), 1);
    spm_end();
}

static void line_bytes(size_t n) {
    say("{\"a\":1}");
    many(' ', n - file.size);
}

/* ---- */

static const struct {
    const char *format;
    size_t      limit;
    void      (*build)(size_t n);
    const char *what, *message;
} limits[] = {
    {"params", 1000000, config_bytes, "bytes of a configuration", "more than 1000000 bytes"},
    {"params", 64, config_depth, "nesting of JSON", "more than 64 levels"},
    {"hf", 64, scan_depth, "nesting of a skipped value", "damaged JSON"},
    {"safetensors", 8, rank, "dimensions", "at most 8 dimensions"},
    {"sentencepiece", 65536, spm_piece, "bytes of a piece", "65536"},
    {"sentencepiece", 1 << 20, spm_pieces, "pieces", "1048576"},
    {"jsonl", 16000000, line_bytes, "bytes of a line", "more than 16000000 bytes"},
};

int mr_abuse_limits(void) {
    int broken = 0;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (size_t more = 0; more < 2; more++) {
            const mr_abuse_format *f = mr_abuse_formats;
            mr_err err = {0};
            uint64_t hash = 0;
            while (strcmp(f->name, limits[i].format) != 0) f++;
            file.size = 0;
            limits[i].build(limits[i].limit + more);
            const mr_status status = f->read(file.byte, file.size, &hash, &err);
            const bool good = more == 0 ? status == MR_OK
                                        : status == MR_BAD && strstr(err.text, limits[i].message);
            if (!good) broken++;
            printf("%-14s %9zu %s: %s%s\n", f->name, limits[i].limit + more, limits[i].what,
                   status == MR_OK ? "accepted" : err.text, good ? "" : "   WRONG");
        }
    free(file.byte);
    return broken;
}
