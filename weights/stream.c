/* The safetensors writer: header from names and shapes, then the data; or both as they come. */
#include "weights/stream.h"

#include <stdlib.h>
#include <string.h>

#include "weights/header.h"
#include "weights/text.h"

#define BUFFER ((idx)1 << 18)   /* rows can be a few bytes: one system call each would be slow */

/* Place of a type in the file, widest first. The order inside one width is the public library's,
 * so that equal tensors make equal files. */
static int type_place(mr_dtype dtype) {
    static const mr_dtype order[] = {MR_I64, MR_F64, MR_F32, MR_I32, MR_BF16, MR_F16, MR_U16,
                                     MR_F8_E4M3, MR_F8_E5M2, MR_U8};
    int place = 0;
    while (place < MR_DTYPES && order[place] != dtype) place++;
    return place;
}

static int by_type_and_name(const void *a, const void *b) {
    const mr_tensor *x = a, *y = b;
    int order = type_place(x->dtype) - type_place(y->dtype);
    return order != 0 ? order : strcmp(x->name, y->name);
}

void mr_saver_sort(mr_tensor *tensor, idx count) {
    qsort(tensor, (size_t)count, sizeof *tensor, by_type_and_name);
}

/* What the reader would refuse must not be written. */
static mr_status check_tensor(const char *path, const mr_tensor *t, mr_err *err) {
    if (mr_name_hostile(t->name) || (idx)strlen(t->name) > MR_MAX_NAME ||
        strcmp(t->name, "__metadata__") == 0)
        return mr_fail(err, MR_BAD, "%s: a tensor cannot have this name: control characters, over "
                       "%td bytes, or __metadata__", path, MR_MAX_NAME);
    if (t->rank < 0 || t->rank > MR_MAX_RANK)
        return mr_fail(err, MR_BAD, "%s: tensor '%.200s': expected 0 to %d dimensions, found %d",
                       path, t->name, MR_MAX_RANK, t->rank);
    return MR_OK;
}

/* Sorted by type first, equal names need not be neighbours: a copy is sorted by name alone. */
static mr_status check_unique(const char *path, const mr_tensor *tensor, idx count, mr_err *err) {
    mr_status  status = MR_OK;
    mr_tensor *sorted = mr_alloc(count, sizeof *sorted, err);
    if (sorted == NULL) return MR_BAD;
    if (count > 0) memcpy(sorted, tensor, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, mr_tensor_by_name);
    for (idx i = 1; i < count && status == MR_OK; i++)
        if (strcmp(sorted[i - 1].name, sorted[i].name) == 0)
            status = mr_fail(err, MR_BAD, "%s: two tensors are called '%.200s'", path,
                             sorted[i].name);
    mr_free(sorted);
    return status;
}

/* ,"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]} */
static mr_status add_tensor(mr_writer *text, const char *path, const mr_tensor *t, idx *offset) {
    if (check_tensor(path, t, text->err)) return MR_BAD;
    idx bytes = mr_count(t->rank, t->dim), end;
    if (bytes < 0 || !mr_mul(bytes, mr_dtype_size(t->dtype), &bytes) ||
        !mr_add(*offset, bytes, &end))
        return mr_fail(text->err, MR_BAD, "%s: tensor '%.200s': the size of its shape overflows",
                       path, t->name);
    if (text->length > 1) mr_writer_add(text, ",");
    mr_writer_quote(text, t->name);
    mr_writer_add(text, ":{\"dtype\":\"%s\",\"shape\":[", mr_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) mr_writer_add(text, i > 0 ? ",%td" : "%td", t->dim[i]);
    mr_writer_add(text, "],\"data_offsets\":[%td,%td]}", *offset, end);
    *offset = end;
    return text->status;
}

static void add_metadata(mr_writer *text, const char *const *metadata) {
    if (metadata == NULL || metadata[0] == NULL) return;
    mr_writer_add(text, text->length > 1 ? ",\"__metadata__\":{" : "\"__metadata__\":{");
    for (idx i = 0; metadata[i] != NULL; i += 2) {
        if (i > 0) mr_writer_add(text, ",");
        mr_writer_quote(text, metadata[i]);
        mr_writer_add(text, ":");
        mr_writer_quote(text, metadata[i + 1]);
    }
    mr_writer_add(text, "}");
}

/* The end of the JSON text, padded with spaces so that the data start at a multiple of 8. */
static mr_status end_header(mr_writer *text, const char *path) {
    mr_writer_add(text, "}");
    while (text->status == MR_OK && text->length % 8 != 0) mr_writer_add(text, " ");
    if (text->status == MR_OK && text->length > MR_MAX_HEADER)
        return mr_fail(text->err, MR_BAD, "%s: a header of %td bytes is over the limit of %td",
                       path, text->length, MR_MAX_HEADER);
    return text->status;
}

/* *data gets the size of the data. */
static mr_status make_header(mr_writer *text, const char *path, const mr_tensor *tensor, idx count,
                             const char *const *metadata, idx *data) {
    *data = 0;
    mr_writer_add(text, "{");
    add_metadata(text, metadata);
    for (idx i = 0; i < count; i++)
        if (add_tensor(text, path, &tensor[i], data)) return MR_BAD;
    return end_header(text, path);
}

static void put_length(unsigned char *eight, idx length) {
    for (int i = 0; i < 8; i++) eight[i] = (unsigned char)((uint64_t)length >> 8 * i & 0xff);
}

mr_status mr_saver_open(mr_saver *s, const char *path, const mr_tensor *tensor, idx count,
                         const char *const *metadata, mr_err *err) {
    mr_writer text = {.err = err};
    unsigned char length[8];
    *s = (mr_saver){0};
    mr_status status = count <= MR_MAX_TENSORS ? check_unique(path, tensor, count, err)
        : mr_fail(err, MR_BAD, "%s: %td tensors are over the limit of %td", path, count,
                  MR_MAX_TENSORS);
    if (status == MR_OK) status = make_header(&text, path, tensor, count, metadata, &s->expected);
    put_length(length, text.length);

    if (status == MR_OK) s->buffer = mr_alloc(BUFFER, 1, err);
    if (status == MR_OK) status = s->buffer != NULL ? mr_atomic_open(&s->file, path, err) : MR_BAD;
    if (status == MR_OK) status = mr_atomic_write(&s->file, length, 8, err);
    if (status == MR_OK) status = mr_atomic_write(&s->file, text.data, text.length, err);
    mr_writer_free(&text);
    if (status != MR_OK) mr_saver_abandon(s);
    return status;
}

/* Hands the waiting bytes over; they are gone from the buffer even when that fails. */
static mr_status flush(mr_saver *s, mr_err *err) {
    idx held = s->held;
    s->held = 0;
    return held > 0 ? mr_atomic_write(&s->file, s->buffer, held, err) : MR_OK;
}

/* Large pieces go past the buffer, so that a mapped tensor is written from where it is. */
mr_status mr_saver_write(mr_saver *s, const void *data, idx bytes, mr_err *err) {
    if (bytes > s->expected - s->written)
        return mr_fail(err, MR_BAD, "%s: internal: more data than the header says", s->file.path);
    s->written += bytes;
    if (bytes > BUFFER - s->held && flush(s, err)) return MR_BAD;
    if (bytes >= BUFFER) return mr_atomic_write(&s->file, data, bytes, err);
    if (bytes > 0) memcpy(s->buffer + s->held, data, (size_t)bytes);
    s->held += bytes;
    return MR_OK;
}

/* A file whose header and data disagree never gets its name. */
mr_status mr_saver_commit(mr_saver *s, mr_err *err) {
    mr_status status = flush(s, err);
    if (status == MR_OK && s->written != s->expected)
        status = mr_fail(err, MR_BAD, "%s: internal: less data than the header says", s->file.path);
    if (status == MR_OK) status = mr_atomic_commit(&s->file, err);
    mr_saver_abandon(s);
    return status;
}

void mr_saver_abandon(mr_saver *s) {
    mr_atomic_abandon(&s->file);
    mr_free(s->buffer);
    mr_writer_free(&s->text);
    *s = (mr_saver){0};
}

/* ---- the header last ------------------------------------------------------------------------- */

mr_status mr_saver_begin(mr_saver *s, const char *path, idx room, mr_err *err) {
    *s = (mr_saver){.room = room, .text = {.err = err}};
    mr_writer_add(&s->text, "{");
    s->buffer = mr_alloc(BUFFER, 1, err);
    mr_status status = s->buffer != NULL ? s->text.status : MR_BAD;
    if (status == MR_OK) status = mr_atomic_open(&s->file, path, err);
    if (status == MR_OK) memset(s->buffer, ' ', (size_t)BUFFER);
    for (idx left = 8 + room; left > 0 && status == MR_OK; left -= BUFFER)
        status = mr_atomic_write(&s->file, s->buffer, left < BUFFER ? left : BUFFER, err);
    if (status != MR_OK) mr_saver_abandon(s);
    return status;
}

mr_status mr_saver_add(mr_saver *s, const mr_tensor *tensor, mr_err *err) {
    s->text.err = err;
    if (++s->count > MR_MAX_TENSORS)
        return mr_fail(err, MR_BAD, "%s: more than %td tensors", s->file.path, MR_MAX_TENSORS);
    if (add_tensor(&s->text, s->file.path, tensor, &s->expected)) return MR_BAD;
    return mr_saver_write(s, tensor->data, s->expected - s->written, err);
}

/* The spaces of the room that the text leaves stay behind it. A text that is too long moves all
 * data up, which costs as much as writing them again. */
mr_status mr_saver_end(mr_saver *s, const char *const *metadata, mr_err *err) {
    unsigned char length[8];
    s->text.err = err;
    add_metadata(&s->text, metadata);
    mr_status status = end_header(&s->text, s->file.path);
    if (status == MR_OK) status = flush(s, err);
    if (status == MR_OK && s->text.length > s->room) {
        status = mr_atomic_move(&s->file, 8 + s->room, s->written, 8 + s->text.length, err);
        s->room = s->text.length;
    }
    put_length(length, s->room);
    if (status == MR_OK) status = mr_atomic_patch(&s->file, 0, length, 8, err);
    if (status == MR_OK)
        status = mr_atomic_patch(&s->file, 8, s->text.data, s->text.length, err);
    if (status == MR_OK) return mr_saver_commit(s, err);
    mr_saver_abandon(s);
    return status;
}
