/* Fuzzing tekken.json. The file must list 256 bytes before anything else, which no fuzzer finds:
 * an input that starts with '+' is put between them and the end of the file. */
#include "tests/fuzz/tokenizer_parts.h"

#include "tokenizer/pretoken.h"

static char text[1 << 20];

static size_t put(size_t at, const char *format, int rank, const char *bytes) {
    return at + (size_t)snprintf(text + at, sizeof text - at, format, rank, bytes);
}

/* Everything up to the first rank after the bytes. */
static size_t head(void) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = put(0, "{\"config\":{\"pattern\":\"", 0, "");
    for (const char *p = MR_TEKKEN_PATTERN; *p != '\0'; p++) {
        if (*p == '\\') text[at++] = '\\';
        text[at++] = *p;
    }
    at = put(at, "\",\"num_vocab_tokens\":%d,\"default_vocab_size\":%s,"
             "\"default_num_special_tokens\":3,\"version\":\"v3\"},\"vocab\":[", 258, "260");
    for (int i = 0; i < 256; i++) {
        const char code[] = {alphabet[i >> 2], alphabet[(i & 3) << 4], '=', '=', '\0'};
        at = put(at, i > 0 ? ",{\"rank\":%d,\"token_bytes\":\"%s\",\"token_str\":null}"
                           : "{\"rank\":%d,\"token_bytes\":\"%s\",\"token_str\":null}", i, code);
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static size_t start;
    if (size == 0 || data[0] != '+') {
        fuzz_tokenizer_file(fuzz_file("tekken.json", data, size));
        return 0;
    }
    if (start == 0) start = head();
    if (size - 1 > sizeof text - start) return 0;
    memcpy(text + start, data + 1, size - 1);
    fuzz_tokenizer_file(fuzz_file("tekken.json", text, start + size - 1));
    return 0;
}
