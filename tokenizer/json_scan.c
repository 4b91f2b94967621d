/* JSON (RFC 8259), walked over once from left to right.
 *
 * Safety rests on the same rule as in protobuf.c: `at` moves only after a comparison with `end`.
 * Depth is a counter and one bit per level, so that a million brackets cost nothing. */
#include "tokenizer/json_scan.h"

#include <string.h>

#include "tokenizer/utf8.h"

mr_scan mr_scan_open(const char *bytes, idx size) {
    return (mr_scan){.start = bytes, .at = bytes, .end = bytes + size};
}

mr_scan mr_scan_inside(const mr_scan *outer, const char *from, const char *to) {
    return (mr_scan){.start = outer->start, .at = from, .end = to};
}

bool mr_scan_fail(mr_scan *in, const char *problem) {
    if (in->problem == NULL) in->problem = problem;
    return false;
}

/* At the end of the text that is the better reason. */
static bool wanted(mr_scan *in, const char *problem) {
    return mr_scan_fail(in, in->at == in->end ? "the file ends too early" : problem);
}

/* Most blanks of these files are runs of spaces: an indentation. */
static void blanks(mr_scan *in) {
    const char *at = in->at, *end = in->end;
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    in->at = at;
}

char mr_scan_peek(mr_scan *in) {
    if (in->problem != NULL) return '\0';
    blanks(in);
    return in->at < in->end ? *in->at : '\0';
}

static bool take(mr_scan *in, char wanted) {
    if (mr_scan_peek(in) != wanted) return false;
    in->at++;
    return true;
}

bool mr_scan_enter(mr_scan *in, char bracket) {
    in->fresh = true;
    if (take(in, bracket)) return true;
    return mr_scan_fail(in, bracket == '{' ? "an object was expected" : "a list was expected");
}

/* The comma between two members; none before the first. Says whether there is a next one. */
static bool member(mr_scan *in, char bracket) {
    bool first = in->fresh;
    in->fresh = false;
    if (take(in, bracket)) return false;
    if (first || take(in, ',')) return in->problem == NULL;
    return wanted(in, "a comma or a closing bracket was expected");
}

bool mr_scan_item(mr_scan *in) { return member(in, ']'); }

bool mr_scan_key(mr_scan *in, mr_span *key) {
    if (!member(in, '}') || !mr_scan_string(in, key)) return false;
    return take(in, ':') || wanted(in, "a colon was expected");
}

/* The value of four hexadecimal digits, -1 when they are not. */
static int32_t hex4(const char *digits) {
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = 16 * value + digit;
    }
    return value;
}

/* Bytes of the escape that starts at a backslash; 0 when there is no such escape. */
static idx escape_size(const char *at, idx left) {
    if (left >= 2 && at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL) return 2;
    return left >= 6 && at[1] == 'u' && hex4(at + 2) >= 0 ? 6 : 0;
}

bool mr_scan_string(mr_scan *in, mr_span *text) {
    if (!take(in, '"')) return wanted(in, "a string was expected");
    const char *at = in->at, *end = in->end;
    *text = (mr_span){.bytes = at};
    while (at < end && *at != '"') {
        unsigned char c = (unsigned char)*at;
        idx size = 1;
        if (c == '\\') {
            text->escaped = true;
            size = escape_size(at, end - at);
        } else if (c < 0x20) {
            size = 0;
        } else if (c >= 0x80) {
            size = mr_utf8_valid(at, end - at);
        }
        if (size == 0) {
            in->at = at;
            return mr_scan_fail(in, c == '\\' ? "a string has an escape that does not exist"
                                : c < 0x20 ? "a string has a control character"
                                           : "a string is not UTF-8");
        }
        at += size;
    }
    in->at = at;
    if (at == end) return mr_scan_fail(in, "the file ends inside a string");
    text->size = at - text->bytes;
    in->at++;
    return true;
}

static void digits(mr_scan *in) {
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
}

/* A number as a span; says whether it is an integer. */
static bool number(mr_scan *in, mr_span *text, bool *integer) {
    mr_scan_peek(in);
    const char *from = in->at;
    if (in->at < in->end && *in->at == '-') in->at++;
    const char *first = in->at;
    digits(in);
    idx count = in->at - first;
    if (count == 0 || (count > 1 && *first == '0'))
        return mr_scan_fail(in, "a number was expected");
    *integer = true;
    if (in->at < in->end && *in->at == '.') {
        *integer = false;
        const char *fraction = ++in->at;
        digits(in);
        if (in->at == fraction) return mr_scan_fail(in, "a number ends after its point");
    }
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        *integer = false;
        in->at++;
        if (in->at < in->end && (*in->at == '+' || *in->at == '-')) in->at++;
        const char *exponent = in->at;
        digits(in);
        if (in->at == exponent) return mr_scan_fail(in, "a number has an empty exponent");
    }
    *text = (mr_span){.bytes = from, .size = in->at - from};
    return true;
}

bool mr_scan_integer(mr_scan *in, idx *value) {
    mr_span text;
    bool integer;
    char first = mr_scan_peek(in);
    if (first != '-' && (first < '0' || first > '9'))
        return mr_scan_fail(in, "an integer was expected");
    if (!number(in, &text, &integer)) return false;
    if (!integer) return mr_scan_fail(in, "an integer was expected, without point or exponent");
    idx sum = 0;
    for (idx i = first == '-'; i < text.size; i++)
        if (!mr_mul(sum, 10, &sum) || !mr_add(sum, text.bytes[i] - '0', &sum))
            return mr_scan_fail(in, "an integer is too large");
    *value = first == '-' ? -sum : sum;
    return true;
}

/* A value that is neither an object nor a list. */
static bool scalar(mr_scan *in) {
    static const char *const words[] = {"true", "false", "null"};
    mr_span text;
    bool integer;
    char first = mr_scan_peek(in);
    if (first == '"') return mr_scan_string(in, &text);
    for (int i = 0; i < 3; i++) {
        idx size = (idx)strlen(words[i]);
        if (in->end - in->at < size || memcmp(in->at, words[i], (size_t)size) != 0) continue;
        in->at += size;
        return true;
    }
    if (first == '-' || (first >= '0' && first <= '9')) return number(in, &text, &integer);
    return wanted(in, "a value was expected");
}

/* Bit d of `lists` says whether level d is a list; one turn of the loop per value. */
bool mr_scan_skip(mr_scan *in) {
    uint64_t lists = 0;
    int depth = 0;
    mr_span key;
    do {
        char first = mr_scan_peek(in);
        if (first == '{' || first == '[') {
            if (depth == MR_SCAN_DEPTH) return mr_scan_fail(in, "values are nested too deeply");
            lists = lists << 1 | (first == '[');
            depth++;
            mr_scan_enter(in, first);
        } else if (!scalar(in)) {
            return false;
        }
        /* Up from every level that ends here, to where another value follows. */
        while (depth > 0 && !(lists & 1 ? mr_scan_item(in) : mr_scan_key(in, &key))) {
            if (in->problem != NULL) return false;
            lists >>= 1;
            depth--;
        }
    } while (depth > 0);
    return true;
}

bool mr_scan_finish(mr_scan *in) {
    if (mr_scan_peek(in), in->problem != NULL) return false;
    return in->at == in->end || mr_scan_fail(in, "something follows the end of the JSON text");
}

/* UTF-8 of a code point; never longer than the escape it came from. */
static idx put_code(uint32_t code, char *out) {
    idx size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint32_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (idx i = size - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(lead[size] | code);
    return size;
}

idx mr_span_text(const mr_span *span, char *out) {
    static const char letters[] = "bfnrt", values[] = "\b\f\n\r\t";
    const char *at = span->bytes, *end = at + span->size;
    idx size = 0;
    while (at < end) {
        if (*at != '\\') {
            out[size++] = *at++;
        } else if (at[1] != 'u') {
            const char *letter = strchr(letters, at[1]);
            out[size++] = letter != NULL ? values[letter - letters] : at[1];
            at += 2;
        } else {
            uint32_t code = (uint32_t)hex4(at + 2);
            at += 6;
            if (code >= 0xDC00 && code < 0xE000) return -1;
            if (code >= 0xD800 && code < 0xDC00) {
                bool pair = end - at >= 6 && at[0] == '\\' && at[1] == 'u';
                uint32_t low = pair ? (uint32_t)hex4(at + 2) : 0;
                if (low < 0xDC00 || low >= 0xE000) return -1;
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
            size += put_code(code, out + size);
        }
    }
    return size;
}

/* Keys are rarely escaped, and those we look for are short. */
bool mr_span_is(const mr_span *span, const char *text) {
    char plain[1024];
    idx size = (idx)strlen(text);
    if (!span->escaped)
        return span->size == size && memcmp(span->bytes, text, (size_t)size) == 0;
    if (span->size > (idx)sizeof plain) return false;
    idx plain_size = mr_span_text(span, plain);
    return plain_size == size && memcmp(plain, text, (size_t)size) == 0;
}
