/* The .npy header: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and nothing else. */
#include "golden/npy.h"

#include <stdio.h>
#include <string.h>

/* Format: numpy/lib/_format_impl.py describes it: magic, version, header length (2 bytes, from
 * version 2 on 4), dictionary padded with spaces and closed by a newline. */
static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

static const struct {
    const char *descr;
    mr_dtype    dtype;
} types[] = {
    {"<f8", MR_F64}, {"<f4", MR_F32}, {"<f2", MR_F16}, {"<i8", MR_I64}, {"<i4", MR_I32},
    {"<u2", MR_U16}, {"|u1", MR_U8}, {"<u1", MR_U8}, {"|b1", MR_U8},
};

mr_status mr_npy_length(const unsigned char *first, const char *what, idx *length, mr_err *err) {
    if (memcmp(first, magic, sizeof magic) != 0)
        return mr_fail(err, MR_BAD, "%s: not a .npy array: wrong magic; expected \\x93NUMPY", what);
    int major = first[6], minor = first[7];
    if (major < 1 || major > 3 || minor != 0)
        return mr_fail(err, MR_BAD, "%s: .npy version %d.%d, expected 1.0, 2.0 or 3.0", what, major,
                       minor);
    uint64_t total = 10 + (uint64_t)(first[8] | first[9] << 8);
    if (major > 1) total += 2 + ((uint64_t)first[10] << 16 | (uint64_t)first[11] << 24);
    if (total > MR_NPY_LIMIT)
        return mr_fail(err, MR_BAD, "%s: .npy header of %llu bytes, limit is %d", what,
                       (unsigned long long)total, MR_NPY_LIMIT);
    if (total < MR_NPY_FIRST)
        return mr_fail(err, MR_BAD, "%s: .npy header too short for a dictionary", what);
    *length = (idx)total;
    return MR_OK;
}

/* ---- the grammar ----------------------------------------------------------------------------- */

/* One pass from left to right; `at` never passes `end`. */
typedef struct {
    const char *at, *end;
    const char *what;
    mr_err     *err;
} reader;

static mr_status bad(reader *r, const char *expected) {
    char seen[24];
    idx  length = r->end - r->at < 20 ? r->end - r->at : 20;
    for (idx i = 0; i < length; i++)   /* the header may hold anything, the message may not */
        seen[i] = r->at[i] >= 0x20 && r->at[i] <= 0x7e ? r->at[i] : '?';
    seen[length] = '\0';
    return mr_fail(r->err, MR_BAD, "%s: bad .npy header: expected %s, found \"%s\"", r->what,
                   expected, seen);
}

static void skip(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t')) r->at++;
}

/* Takes one punctuation mark, after any space. */
static bool take(reader *r, char c) {
    skip(r);
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

/* A quoted text without escapes, cut to the room there is (no key or type of ours is that long). */
static bool text(reader *r, char *out, idx room) {
    skip(r);
    if (r->at == r->end || (*r->at != '\'' && *r->at != '"')) return false;
    char quote = *r->at++;
    idx  n = 0;
    for (; r->at < r->end && *r->at != quote; r->at++)
        if (n + 1 < room) out[n++] = *r->at >= 0x20 && *r->at <= 0x7e ? *r->at : '?';
    out[n] = '\0';
    return take(r, quote);
}

static bool word(reader *r, const char *expected) {
    idx n = (idx)strlen(expected);
    skip(r);
    if (r->end - r->at < n || memcmp(r->at, expected, (size_t)n) != 0) return false;
    r->at += n;
    return true;
}

/* A dimension: decimal digits without sign or leading zero. */
static mr_status number(reader *r, idx *out) {
    idx n = 0;
    skip(r);
    const char *start = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (!mr_mul(n, 10, &n) || !mr_add(n, *r->at - '0', &n))
            return mr_fail(r->err, MR_BAD, "%s: bad .npy header: a dimension is too large",
                           r->what);
    if (r->at == start || (*start == '0' && r->at - start > 1)) {
        r->at = start;
        return bad(r, "a dimension");
    }
    *out = n;
    return MR_OK;
}

/* () or (3,) or (3, 4) or (3, 4,): as in Python a tuple of one needs its comma, (3) is a number. */
static mr_status shape(reader *r, mr_tensor *t) {
    bool comma = false;
    t->rank = 0;
    if (!take(r, '(')) return bad(r, "a shape in parentheses");
    while (!take(r, ')')) {
        if (t->rank > 0 && !comma) return bad(r, "',' or ')' in the shape");
        if (t->rank == MR_MAX_RANK)
            return mr_fail(r->err, MR_BAD, "%s: more than %d dimensions", r->what, MR_MAX_RANK);
        if (number(r, &t->dim[t->rank]) != MR_OK) return MR_BAD;
        t->rank++;
        comma = take(r, ',');
    }
    return t->rank != 1 || comma ? MR_OK : bad(r, "a comma in the shape of rank 1");
}

/* What to do about the types that people do have. */
static const char *hint(const char *name) {
    if (name[0] == '>') return "big-endian: convert with a.astype(a.dtype.newbyteorder('<'))";
    if (name[0] == '<' && name[1] == 'U')
        return "text: save numpy.frombuffer(text.encode(), numpy.uint8)";
    if (name[0] == '|' && name[1] == 'O') return "pickled objects: save plain arrays only";
    return "convert to <f8, <f4, <f2, <i8, <i4, <u2, |u1 or |b1; for bf16 save the bits as <u2 "
           "under the name NAME.bf16, for fp8 as |u1 under NAME.f8_e4m3 or NAME.f8_e5m2";
}

static mr_status descr(reader *r, mr_tensor *t) {
    char name[32];
    skip(r);
    if (r->at < r->end && *r->at == '[')
        return mr_fail(r->err, MR_BAD, "%s: structured dtype; save one plain array per field",
                       r->what);
    if (!text(r, name, sizeof name)) return bad(r, "a dtype in quotes");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(name, types[i].descr) == 0) {
            t->dtype = types[i].dtype;
            return MR_OK;
        }
    return mr_fail(r->err, MR_BAD, "%s: dtype '%s' is not supported; %s", r->what, name,
                   hint(name));
}

/* One `key: value`; `seen` has a bit per key. */
static mr_status entry(reader *r, mr_tensor *t, unsigned *seen) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    char key[32];
    int  k = 0;
    if (!text(r, key, sizeof key)) return bad(r, "a key in quotes");
    while (k < 3 && strcmp(key, keys[k]) != 0) k++;
    if (k == 3)
        return mr_fail(r->err, MR_BAD, "%s: bad .npy header: unknown key '%s'", r->what, key);
    if ((*seen & 1u << k) != 0)
        return mr_fail(r->err, MR_BAD, "%s: bad .npy header: key '%s' twice", r->what, key);
    *seen |= 1u << k;
    if (!take(r, ':')) return bad(r, "':' after a key");
    if (k == 0) return descr(r, t);
    if (k == 2) return shape(r, t);
    if (word(r, "True"))
        return mr_fail(r->err, MR_BAD, "%s: Fortran order; save numpy.ascontiguousarray(a)",
                       r->what);
    return word(r, "False") ? MR_OK : bad(r, "True or False");
}

mr_status mr_npy_parse(const unsigned char *header, idx length, const char *what, mr_tensor *tensor,
                       mr_err *err) {
    const char *bytes = (const char *)header;
    reader   r = {bytes + (header[6] == 1 ? 10 : 12), bytes + length, what, err};
    unsigned seen = 0;
    bool     comma = true;
    if (!take(&r, '{')) return bad(&r, "'{'");
    while (!take(&r, '}')) {
        if (!comma) return bad(&r, "',' or '}'");
        if (entry(&r, tensor, &seen) != MR_OK) return MR_BAD;
        comma = take(&r, ',');
    }
    skip(&r);
    if (r.at != r.end) return bad(&r, "nothing but spaces after '}'");
    if (seen != 7)
        return mr_fail(err, MR_BAD, "%s: bad .npy header: descr, fortran_order or shape is missing",
                       what);
    idx elements = mr_count(tensor->rank, tensor->dim), size;
    if (elements < 0 || !mr_mul(elements, mr_dtype_size(tensor->dtype), &size))
        return mr_fail(err, MR_BAD, "%s: the shape is too large: its size in bytes overflows",
                       what);
    return MR_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *descr_of(mr_dtype dtype) {
    if (dtype == MR_BF16) dtype = MR_U16;
    if (dtype == MR_F8_E4M3 || dtype == MR_F8_E5M2) dtype = MR_U8;
    size_t i = 0;
    while (types[i].dtype != dtype) i++;
    return types[i].descr;
}

idx mr_npy_format(const mr_tensor *t, unsigned char header[MR_NPY_FORMAT]) {
    char *out = (char *)header + 10;
    int   room = MR_NPY_FORMAT - 10;
    int   n = snprintf(out, (size_t)room, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                       descr_of(t->dtype));
    for (int i = 0; i < t->rank; i++)
        n += snprintf(out + n, (size_t)(room - n), "%td%s", t->dim[i], i + 1 < t->rank ? ", " : "");
    n += snprintf(out + n, (size_t)(room - n), "%s), }", t->rank == 1 ? "," : "");

    /* The data start at a multiple of 64 bytes, for readers that map the file. */
    idx length = (10 + (idx)n + 1 + 63) / 64 * 64;
    memset(out + n, ' ', (size_t)(length - 10 - n));
    header[length - 1] = '\n';
    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (unsigned char)((length - 10) & 0xff);
    header[9] = (unsigned char)((length - 10) >> 8);
    return length;
}
