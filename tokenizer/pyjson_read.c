/* json.loads: what Python accepts, no more and no less, up to two limits. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/pyjson.h"

typedef struct {
    mr_py_arena *arena;
    const char  *start, *at, *end;
    idx          depth;
    bool         malformed; /* JSONDecodeError, as opposed to a limit */
    mr_err      *err;
} reader;

static mr_status broken(reader *r, const char *what) {
    r->malformed = true;
    return mr_fail(r->err, MR_BAD, "not JSON: byte %td: expected %s", r->at - r->start, what);
}

static void skip_blanks(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool next_is(const reader *r, char byte) { return r->at < r->end && *r->at == byte; }
static bool digit_at(const reader *r, idx ahead) {
    return r->end - r->at > ahead && r->at[ahead] >= '0' && r->at[ahead] <= '9';
}

/* ---- strings ------------------------------------------------------------------------------- */

/* Four hexadecimal digits at `at`; -1 when they are not there. */
static long hex4(const char *at, const char *end) {
    long code = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        if (c >= '0' && c <= '9') code = code * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f') code = code * 16 + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') code = code * 16 + (c - 'A' + 10);
        else return -1;
    }
    return code;
}

/* UTF-8 of any code point; a lone surrogate gets the three bytes its number would have. */
static idx put_code(char *out, long code) {
    const unsigned long c = (unsigned long)code;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const idx size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (idx i = size - 1; i > 0; i--) out[i] = (char)(0x80 | (c >> 6 * (size - 1 - i) & 0x3F));
    out[0] = (char)((size == 2 ? 0xC0 : size == 3 ? 0xE0 : 0xF0) | c >> 6 * (size - 1));
    return size;
}

/* What follows a backslash. A high surrogate joins only a low one that follows as an escape. */
static mr_status escape(reader *r, char *out, idx *size) {
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *known = r->at < r->end && *r->at != '\0' ? strchr(letters, *r->at) : NULL;
    if (known != NULL) {
        out[0] = bytes[known - letters];
        *size = 1;
        r->at++;
        return MR_OK;
    }
    long code = next_is(r, 'u') ? hex4(r->at + 1, r->end) : -1;
    if (code < 0) return broken(r, "a valid escape");
    r->at += 5;
    if (code >= 0xD800 && code < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' &&
        r->at[1] == 'u') {
        const long low = hex4(r->at + 2, r->end);
        if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            r->at += 6;
        }
    }
    *size = put_code(out, code);
    return MR_OK;
}

/* Bytes up to the closing quote; escapes only ever shrink, so this is room enough. */
static idx raw_length(const reader *r) {
    idx n = 0;
    while (n < r->end - r->at && r->at[n] != '"') n += r->at[n] == '\\' ? 2 : 1;
    return n;
}

static mr_status string(reader *r, mr_py_span *out) {
    r->at++;
    char *byte = mr_py_alloc(r->arena, raw_length(r), 1, r->err);
    if (byte == NULL) return MR_BAD;
    idx count = 0, size = 0;
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20) return broken(r, "no control character in a string");
        if (*r->at != '\\') {
            byte[count++] = *r->at++;
            continue;
        }
        r->at++;
        if (escape(r, byte + count, &size)) return MR_BAD;
        count += size;
    }
    if (r->at == r->end) return broken(r, "a closing quote");
    r->at++;
    *out = (mr_py_span){byte, count};
    return MR_OK;
}

/* ---- numbers and words --------------------------------------------------------------------- */

/* A copy that ends in NUL, as strtod needs it: the arena has room for one, and is zero. */
static mr_status real_number(reader *r, const char *from, mr_py *out) {
    const idx count = r->at - from;
    char *copy = mr_py_alloc(r->arena, count, 1, r->err);
    if (copy == NULL) return MR_BAD;
    memcpy(copy, from, (size_t)count);
    out->kind = MR_PY_FLOAT;
    out->real = strtod(copy, NULL); /* too large gives infinity, as float() does */
    return MR_OK;
}

/* A fraction or an exponent without digits does not belong to the number. */
static mr_status number(reader *r, mr_py *out) {
    const char *from = r->at;
    bool real = false;
    if (*r->at == '-') r->at++;
    if (!digit_at(r, 0)) return broken(r, "a digit");
    if (*r->at == '0') r->at++;
    else while (digit_at(r, 0)) r->at++;
    if (next_is(r, '.') && digit_at(r, 1)) {
        real = true;
        r->at++;
        while (digit_at(r, 0)) r->at++;
    }
    if (next_is(r, 'e') || next_is(r, 'E')) {
        const bool sign = r->end - r->at > 1 && (r->at[1] == '+' || r->at[1] == '-');
        if (digit_at(r, sign ? 2 : 1)) {
            real = true;
            r->at += sign ? 2 : 1;
            while (digit_at(r, 0)) r->at++;
        }
    }
    if (real) return real_number(r, from, out);

    out->kind = MR_PY_INT;
    out->text = (mr_py_span){from, r->at - from};
    if (mr_py_is(out->text, "-0")) out->text = (mr_py_span){"0", 1};
    if (out->text.count - (*from == '-') > MR_PY_DIGITS)
        return mr_fail(r->err, MR_BAD, "JSON: an integer of more than %td digits", MR_PY_DIGITS);
    return MR_OK;
}

static bool word(reader *r, const char *text) {
    const size_t length = strlen(text);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, text, length) != 0) return false;
    r->at += length;
    return true;
}

static double named_real(const char *text) { return strtod(text, NULL); }

static mr_status scalar(reader *r, mr_py *out) {
    out->kind = MR_PY_FLOAT;
    if (word(r, "NaN")) out->real = named_real("nan");
    else if (word(r, "Infinity")) out->real = named_real("inf");
    else if (word(r, "-Infinity")) out->real = named_real("-inf");
    else if (word(r, "null")) out->kind = MR_PY_NULL;
    else if (word(r, "true")) out->kind = MR_PY_TRUE;
    else if (word(r, "false")) out->kind = MR_PY_FALSE;
    else if (next_is(r, '-') || digit_at(r, 0)) return number(r, out);
    else return broken(r, "a value");
    return MR_OK;
}

/* ---- lists and dicts ----------------------------------------------------------------------- */

static int by_key(const void *left, const void *right) {
    const mr_py *a = *(mr_py *const *)left, *b = *(mr_py *const *)right;
    if (a->key.count != b->key.count) return a->key.count < b->key.count ? -1 : 1;
    const int order = a->key.count > 0 ? memcmp(a->key.byte, b->key.byte, (size_t)a->key.count) : 0;
    return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

/* Equal keys: the first entry takes over the last one's value, the others leave the chain. */
static void keep_last(mr_py *dict, mr_py **sorted) {
    idx gone = 0;
    for (idx i = 0, j; i < dict->items; i = j) {
        for (j = i + 1; j < dict->items && mr_py_equal(sorted[j]->key, sorted[i]->key); j++) {
            sorted[j]->order = -1;
            gone++;
        }
        if (j == i + 1) continue;
        mr_py *first = sorted[i], *next = first->next;
        const idx order = first->order;
        *first = *sorted[j - 1];
        first->next = next;
        first->order = order;
    }
    for (mr_py **link = &dict->first; gone > 0 && *link != NULL; )
        if ((*link)->order < 0) *link = (*link)->next;
        else link = &(*link)->next;
    dict->items -= gone;
}

static mr_status unite_keys(reader *r, mr_py *dict) {
    if (dict->items < 2) return MR_OK;
    mr_py **sorted = mr_alloc(dict->items, (idx)sizeof *sorted, r->err);
    if (sorted == NULL) return MR_BAD;
    idx n = 0;
    for (mr_py *entry = dict->first; entry != NULL; entry = entry->next) sorted[n++] = entry;
    qsort(sorted, (size_t)n, sizeof *sorted, by_key);
    keep_last(dict, sorted);
    mr_free(sorted);
    return MR_OK;
}

static mr_status value(reader *r, mr_py *out);

static mr_status key(reader *r, mr_py *entry) {
    if (!next_is(r, '"')) return broken(r, "a key in quotes");
    if (string(r, &entry->key)) return MR_BAD;
    skip_blanks(r);
    if (!next_is(r, ':')) return broken(r, "a colon");
    r->at++;
    skip_blanks(r);
    return MR_OK;
}

static mr_status container(reader *r, mr_py *out) {
    const bool dict = *r->at == '{';
    const char close = dict ? '}' : ']';
    mr_py **link = &out->first;
    out->kind = dict ? MR_PY_DICT : MR_PY_LIST;
    if (++r->depth > MR_PY_DEPTH)
        return mr_fail(r->err, MR_BAD, "JSON: more than %td levels of nesting", MR_PY_DEPTH);
    r->at++;
    skip_blanks(r);
    for (bool more = !next_is(r, close); more; r->at += more) {
        mr_py *item = mr_py_alloc(r->arena, 1, (idx)sizeof *item, r->err);
        if (item == NULL) return MR_BAD;
        skip_blanks(r);
        if (dict && key(r, item)) return MR_BAD;
        item->order = out->items++;
        if (value(r, item)) return MR_BAD;
        *link = item;
        link = &item->next;
        skip_blanks(r);
        more = next_is(r, ',');
        if (!more && !next_is(r, close)) return broken(r, "a comma or the end");
    }
    r->at++;
    r->depth--;
    return dict ? unite_keys(r, out) : MR_OK;
}

static mr_status value(reader *r, mr_py *out) {
    if (next_is(r, '{') || next_is(r, '[')) return container(r, out);
    if (!next_is(r, '"')) return scalar(r, out);
    out->kind = MR_PY_STRING;
    return string(r, &out->text);
}

mr_status mr_py_read(mr_py_arena *arena, const char *text, idx bytes, const mr_py **out,
                     bool *malformed, mr_err *err) {
    reader r = {.arena = arena, .start = text, .at = text, .end = text + bytes, .err = err};
    mr_py *document = mr_py_alloc(arena, 1, (idx)sizeof *document, err);
    mr_status status = document == NULL ? MR_BAD : MR_OK;
    skip_blanks(&r);
    if (status == MR_OK) status = value(&r, document);
    if (status == MR_OK) {
        skip_blanks(&r);
        if (r.at != r.end) status = broken(&r, "nothing after the value");
    }
    *out = status == MR_OK ? document : NULL;
    if (malformed != NULL) *malformed = r.malformed;
    return status;
}
