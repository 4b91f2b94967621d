/* A small tekken.json, written by hand so that tests can bend every part of it. */
#ifndef MR_TESTS_TEKKEN_FILE_H
#define MR_TESTS_TEKKEN_FILE_H

#include "tests/scratch.h"

#include "tokenizer/pretoken.h"
#include "tokenizer/tokenizer.h"

/* Tokens after the 256 bytes; the last one is beyond the cut. */
static const char *const tekken_tokens[] = {"ab", "abc", " a", "\xC3\xA9", "bc", "??", "cut"};
enum { TEKKEN_TOKENS = 7, TEKKEN_USED = 256 + 6, TEKKEN_SPECIAL = 22 };

static struct {
    char text[1 << 16];
    int  size;
} tekken;

static inline void tekken_put(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int left = (int)sizeof tekken.text - tekken.size;
    int size = vsnprintf(tekken.text + tekken.size, (size_t)left, format, arguments);
    va_end(arguments);
    assert_true(size >= 0 && size < left);
    tekken.size += size;
}

/* Base64 of up to three bytes at a time. */
static inline void tekken_base64(const char *bytes, int size) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < size; i += 3) {
        unsigned bits = 0;
        for (int k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < size ? (unsigned char)bytes[i + k] : 0);
        for (int k = 0; k < 4; k++)
            tekken_put("%c", i + k > size ? '=' : alphabet[bits >> (18 - 6 * k) & 63]);
    }
}

static inline void tekken_entry(int rank, const char *bytes, int size) {
    tekken_put("%s{\"rank\":%d,\"token_bytes\":\"", rank > 0 ? "," : "", rank);
    tekken_base64(bytes, size);
    tekken_put("\",\"token_str\":null}");
}

/* The whole file; `more` are further sections, starting with a comma. */
static inline void tekken_write(const char *version, const char *more) {
    tekken.size = 0;
    tekken_put("{\"config\":{\"pattern\":\"");
    for (const char *p = MR_TEKKEN_PATTERN; *p != '\0'; p++)
        tekken_put("%s%c", *p == '\\' ? "\\" : "", *p);
    tekken_put("\",\"num_vocab_tokens\":%d,\"default_vocab_size\":%d,"
               "\"default_num_special_tokens\":%d,\"version\":\"%s\"},\"vocab\":[",
               256 + TEKKEN_TOKENS, TEKKEN_SPECIAL + TEKKEN_USED, TEKKEN_SPECIAL, version);
    for (int i = 0; i < 256; i++) tekken_entry(i, (char[]){(char)i}, 1);
    for (int i = 0; i < TEKKEN_TOKENS; i++)
        tekken_entry(256 + i, tekken_tokens[i], (int)strlen(tekken_tokens[i]));
    tekken_put("]%s}", more);
}

/* Replaces the only place where `old` stands. */
static inline void tekken_edit(const char *old, const char *new) {
    char *at = strstr(tekken.text, old), rest[sizeof tekken.text];
    assert_non_null(at);
    assert_null(strstr(at + 1, old));
    snprintf(rest, sizeof rest, "%s", at + strlen(old));
    tekken.size = (int)(at - tekken.text);
    tekken_put("%s%s", new, rest);
}

static inline mr_status tekken_open(mr_tokenizer **t, mr_err *err) {
    const char *path = scratch_write("tekken.json", tekken.text, (size_t)tekken.size);
    return mr_tokenizer_open(path, t, err);
}

static inline mr_tokenizer *tekken_good(void) {
    mr_err err = {0};
    mr_tokenizer *t;
    if (tekken_open(&t, &err) != MR_OK) fail_msg("%s", err.text);
    return t;
}

#endif
