/* The header of a safetensors file: u64 length, JSON, data; every rule checked before a byte of
 * data is used. */
#include "weights/header.h"

#include <stdlib.h>
#include <string.h>

#include "weights/json.h"

/* What the checks need to know of the file. Offsets in the header count from the start of the
 * data. */
typedef struct {
    const char          *path;
    const unsigned char *data;     /* first byte after the header */
    idx                  bytes;    /* of the data */
    mr_err              *err;
} file;

/* The bytes [begin, end) of the data that one tensor says are its own. */
typedef struct {
    idx         begin, end;
    const char *name;
} span;

bool mr_name_hostile(const char *name) {
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f) return true;
    return false;
}

int mr_tensor_by_name(const void *a, const void *b) {
    return strcmp(((const mr_tensor *)a)->name, ((const mr_tensor *)b)->name);
}

/* Order in the file, for check_cover. */
static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;      /* empty tensors come first */
}

/* Types of the format that no equation here can use: known, so that the message can say what to
 * do. */
static bool foreign_type(const char *name) {
    static const char *const foreign[] = {"BOOL", "I8", "I16", "U32", "U64", "C64", "F8_E8M0",
                                          "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4", "F6_E2M3",
                                          "F6_E3M2"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (strcmp(name, foreign[i]) == 0) return true;
    return false;
}

static mr_status read_dtype(const file *f, const json_t *entry, mr_tensor *t) {
    const json_t *value = json_object_get(entry, "dtype");
    const char   *word = json_string_value(value);
    if (word == NULL)
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': dtype: expected a string, found %s",
                       f->path, t->name, mr_json_kind(value));
    if (mr_dtype_parse(word, &t->dtype)) return MR_OK;
    if (foreign_type(word))
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s' has dtype %s, which this program "
                       "cannot use; convert it to BF16, F16 or F32", f->path, t->name, word);
    return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s' has an unknown dtype '%.20s'; expected "
                   "F64, F32, F16, BF16, I64, I32, U16, U8, F8_E4M3 or F8_E5M2", f->path, t->name,
                   word);
}

/* A JSON integer that is a size: jansson has refused what does not fit 64 signed bits. */
static bool read_size(const json_t *value, idx *out) {
    json_int_t wide = json_integer_value(value);
    if (!json_is_integer(value) || wide < 0 || (json_int_t)(idx)wide != wide) return false;
    *out = (idx)wide;
    return true;
}

/* [] is a single number, and a dimension of 0 makes an empty tensor; both are allowed. */
static mr_status read_shape(const file *f, const json_t *entry, mr_tensor *t) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': shape: expected a list, found %s",
                       f->path, t->name, mr_json_kind(shape));
    size_t rank = json_array_size(shape);
    if (rank > MR_MAX_RANK)
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': expected at most %d dimensions, found "
                       "%zu", f->path, t->name, MR_MAX_RANK, rank);
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++)
        if (!read_size(json_array_get(shape, i), &t->dim[i]))
            return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': dimension %zu is not a size of 0 "
                           "or more", f->path, t->name, i);
    return MR_OK;
}

/* The place in the data: inside the file, and exactly as long as shape and dtype say. */
static mr_status read_place(const file *f, const json_t *entry, mr_tensor *t, span *place) {
    const json_t *pair = json_object_get(entry, "data_offsets");
    if (!json_is_array(pair) || json_array_size(pair) != 2 ||
        !read_size(json_array_get(pair, 0), &place->begin) ||
        !read_size(json_array_get(pair, 1), &place->end))
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': data_offsets: expected [begin, end], "
                       "two sizes", f->path, t->name);
    if (place->begin > place->end)
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': data_offsets begin at %td after their "
                       "end %td", f->path, t->name, place->begin, place->end);
    if (place->end > f->bytes)
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s' ends at byte %td of the data, but the "
                       "file has %td; it is cut short, fetch it again", f->path, t->name,
                       place->end, f->bytes);
    idx bytes = mr_count(t->rank, t->dim);
    if (bytes < 0 || !mr_mul(bytes, mr_dtype_size(t->dtype), &bytes))
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': the size of its shape overflows",
                       f->path, t->name);
    if (bytes != place->end - place->begin)
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': shape and dtype %s need %td bytes, "
                       "data_offsets give %td", f->path, t->name, mr_dtype_name(t->dtype), bytes,
                       place->end - place->begin);
    place->name = t->name;
    t->data = f->data + place->begin;
    return MR_OK;
}

/* In this order: the place is checked against shape and type. */
static mr_status read_tensor(const file *f, const json_t *entry, mr_tensor *t, span *place) {
    if (!json_is_object(entry))
        return mr_fail(f->err, MR_BAD, "%s: tensor '%.200s': expected an object, found %s", f->path,
                       t->name, mr_json_kind(entry));
    if (read_dtype(f, entry, t) || read_shape(f, entry, t)) return MR_BAD;
    return read_place(f, entry, t, place);
}

/* Sorted by place, the tensors cover the data from 0 to its end: no byte without an owner, none
 * with two. */
static mr_status check_cover(const file *f, span *place, idx count) {
    idx covered = 0;
    qsort(place, (size_t)count, sizeof *place, by_place);
    for (idx i = 0; i < count; i++) {
        if (place[i].begin > covered)
            return mr_fail(f->err, MR_BAD, "%s: a gap: bytes %td to %td of the data, before tensor "
                           "'%.200s', belong to no tensor", f->path, covered, place[i].begin,
                           place[i].name);
        if (place[i].begin < covered)
            return mr_fail(f->err, MR_BAD, "%s: tensors '%.200s' and '%.200s' overlap at byte %td "
                           "of the data", f->path, place[i - 1].name, place[i].name,
                           place[i].begin);
        covered = place[i].end;
    }
    if (covered == f->bytes) return MR_OK;
    return mr_fail(f->err, MR_BAD, "%s: the last tensor ends at byte %td of the data, but the file "
                   "has %td", f->path, covered, f->bytes);
}

/* Nothing is made of the metadata, but the format allows strings only. */
static mr_status check_metadata(const file *f, const json_t *metadata) {
    const char *key;
    json_t     *value;
    if (!json_is_object(metadata))
        return mr_fail(f->err, MR_BAD, "%s: __metadata__: expected an object, found %s", f->path,
                       mr_json_kind(metadata));
    json_object_foreach((json_t *)metadata, key, value)
        if (!json_is_string(value))
            return mr_fail(f->err, MR_BAD, "%s: __metadata__: expected strings only, found %s",
                           f->path, mr_json_kind(value));
    return MR_OK;
}

/* Counts the tensors and the bytes of their names, and refuses what the limits exclude. */
static mr_status check_names(const file *f, json_t *root, idx *count, idx *letters) {
    const char *key;
    json_t     *entry;
    *count = *letters = 0;
    json_object_foreach(root, key, entry) {
        if (strcmp(key, "__metadata__") == 0) {
            if (check_metadata(f, entry)) return MR_BAD;
            continue;
        }
        idx length = (idx)strlen(key);
        if (++*count > MR_MAX_TENSORS)
            return mr_fail(f->err, MR_BAD, "%s: more than %td tensors", f->path, MR_MAX_TENSORS);
        if (length > MR_MAX_NAME)
            return mr_fail(f->err, MR_BAD, "%s: tensor number %td has a name of %td bytes, the "
                           "limit is %td", f->path, *count, length, MR_MAX_NAME);
        if (mr_name_hostile(key))
            return mr_fail(f->err, MR_BAD, "%s: the name of tensor number %td has a control "
                           "character in it", f->path, *count);
        *letters += length + 1;         /* bounded by the header, cannot overflow */
    }
    return MR_OK;
}

/* Fills out->tensor and *place; what was allocated before a failure is released by the caller. */
static mr_status read_entries(const file *f, json_t *root, mr_header *out, span **place) {
    const char *key;
    json_t     *entry;
    idx         count, letters, n = 0;
    if (check_names(f, root, &count, &letters)) return MR_BAD;
    out->tensor = mr_alloc(count, sizeof *out->tensor, f->err);
    out->names = mr_alloc(letters, 1, f->err);
    *place = mr_alloc(count, sizeof **place, f->err);
    if (out->tensor == NULL || out->names == NULL || *place == NULL) return MR_BAD;

    char *name = out->names;
    json_object_foreach(root, key, entry) {
        if (strcmp(key, "__metadata__") == 0) continue;
        size_t bytes = strlen(key) + 1;
        out->tensor[n].name = memcpy(name, key, bytes);
        name += bytes;
        if (read_tensor(f, entry, &out->tensor[n], &(*place)[n])) return MR_BAD;
        n++;
    }
    out->count = count;
    if (check_cover(f, *place, count)) return MR_BAD;
    qsort(out->tensor, (size_t)count, sizeof *out->tensor, mr_tensor_by_name);
    return MR_OK;
}

/* Length and form of the header, without looking inside. Any JSON parser would let white space
 * through on both sides; the format allows spaces behind it and nothing else. */
static mr_status check_frame(const char *path, const unsigned char *bytes, idx size, idx *length,
                             mr_err *err) {
    uint64_t n = 0;
    if (size < 8)
        return mr_fail(err, MR_BAD, "%s: %td bytes are too few for a safetensors file, which "
                       "starts with 8 bytes of header length", path, size);
    for (int i = 7; i >= 0; i--) n = n << 8 | bytes[i];     /* little endian */
    if (n > (uint64_t)MR_MAX_HEADER)
        return mr_fail(err, MR_BAD, "%s: a header of %llu bytes is over the limit of %td; is this "
                       "a safetensors file?", path, (unsigned long long)n, MR_MAX_HEADER);
    *length = (idx)n;
    if (*length > size - 8)
        return mr_fail(err, MR_BAD, "%s: the header should have %td bytes, but only %td follow; "
                       "the file is cut short, fetch it again", path, *length, size - 8);
    idx last = *length - 1;
    while (last >= 0 && bytes[8 + last] == ' ') last--;
    if (last < 1 || bytes[8] != '{' || bytes[8 + last] != '}')
        return mr_fail(err, MR_BAD, "%s: the header must start with '{' and end with '}' and "
                       "spaces", path);
    return MR_OK;
}

/* One exit: JSON tree and places are temporary, and *out is {0} unless all rules hold. */
mr_status mr_header_read(const char *path, const unsigned char *bytes, idx size, mr_header *out,
                         mr_err *err) {
    idx     length = 0;
    json_t *root = NULL;
    span   *place = NULL;
    *out = (mr_header){0};
    mr_status status = check_frame(path, bytes, size, &length, err);
    if (status == MR_OK) status = mr_json_text(path, (const char *)bytes + 8, length, &root, err);
    if (status == MR_OK) {
        file f = {path, bytes + 8 + length, size - 8 - length, err};
        status = read_entries(&f, root, out, &place);
    }
    if (status != MR_OK) mr_header_free(out);
    json_decref(root);
    mr_free(place);
    return status;
}

void mr_header_free(mr_header *header) {
    mr_free(header->tensor);
    mr_free(header->names);
    *header = (mr_header){0};
}
