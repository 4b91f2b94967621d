/* Tensors in .npz files: npy headers are checked against member sizes before data are allocated. */
#include "golden/npz.h"

#include <stdio.h>
#include <string.h>

#include "golden/lookup.h"
#include "golden/npy.h"
#include "golden/zip.h"

#define NPY ".npy"

/* Types that npy lacks: bits of another type, under a name that ends in the type's. */
static const struct {
    mr_dtype    dtype, bits;
    const char *ending;
} hidden[] = {
    {MR_BF16, MR_U16, ".bf16"}, {MR_F8_E4M3, MR_U8, ".f8_e4m3"}, {MR_F8_E5M2, MR_U8, ".f8_e5m2"},
};
enum { HIDDEN = sizeof hidden / sizeof *hidden, LONGEST_ENDING = 8 };

struct mr_npz {
    mr_zip     zip;
    idx        count;     /* of tensors whose name is set */
    mr_tensor *tensor;
    char     **name;      /* owned; tensor[i].name points to it */
    idx       *header;    /* bytes before the data of member i */
    mr_lookup   names;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* The hidden type that bits of this type under this name have, -1: none. */
static int hidden_by(mr_dtype bits, const char *name) {
    for (int k = 0; k < HIDDEN; k++)
        if (bits == hidden[k].bits && mr_ends_with(name, hidden[k].ending) &&
            strlen(name) > strlen(hidden[k].ending)) return k;
    return -1;
}

/* Inflates the npy header of member i and fills dtype and shape. */
static mr_status read_header(mr_npz *npz, idx i, mr_err *err) {
    const mr_zip_member *m = &npz->zip.member[i];
    mr_tensor     *t = &npz->tensor[i];
    mr_zip_stream *stream = NULL;
    unsigned char  first[MR_NPY_FIRST], *header = NULL;
    char what[512];
    idx  data = 0;
    snprintf(what, sizeof what, "%.250s: member %.250s", npz->zip.path, m->name);

    mr_status status = mr_zip_begin(&npz->zip, i, &stream, err);
    if (status == MR_OK) status = mr_zip_take(stream, first, sizeof first, err);
    if (status == MR_OK) status = mr_npy_length(first, what, &npz->header[i], err);
    if (status == MR_OK && npz->header[i] > m->size)
        status = mr_fail(err, MR_BAD, "%s: ends inside its .npy header", what);
    if (status != MR_OK) goto done;

    status = MR_BAD;
    header = mr_alloc(npz->header[i], 1, err);
    if (header == NULL) goto done;
    memcpy(header, first, sizeof first);
    status = mr_zip_take(stream, header + sizeof first, npz->header[i] - (idx)sizeof first, err);
    if (status == MR_OK) status = mr_npy_parse(header, npz->header[i], what, t, err);
    if (status != MR_OK) goto done;
    mr_mul(mr_count(t->rank, t->dim), mr_dtype_size(t->dtype), &data);   /* proved by the parser */
    if (data != m->size - npz->header[i])
        status = mr_fail(err, MR_BAD,
                         "%s: its shape needs %td bytes, the member holds %td; write the "
                         "file again", what, data, m->size - npz->header[i]);
done:
    mr_free(header);
    mr_zip_drop(stream);
    return status;
}

/* The tensor's name from the member's: without .npy, and without the ending of a hidden type, which
 * is then its type. */
static mr_status read_name(mr_npz *npz, idx i, mr_err *err) {
    const char *member = npz->zip.member[i].name;
    mr_tensor  *t = &npz->tensor[i];
    idx length = (idx)strlen(member);
    if (!mr_ends_with(member, NPY) || length == (idx)strlen(NPY))
        return mr_fail(err, MR_BAD,
                       "%s: member %s: expected a name ending in .npy; save arrays only",
                       npz->zip.path, member);
    length -= (idx)strlen(NPY);
    npz->name[i] = mr_alloc(length + 1, 1, err);
    if (npz->name[i] == NULL) return MR_BAD;
    memcpy(npz->name[i], member, (size_t)length);
    const int k = hidden_by(t->dtype, npz->name[i]);
    if (k >= 0) {
        t->dtype = hidden[k].dtype;
        npz->name[i][length - (idx)strlen(hidden[k].ending)] = '\0';
    }
    t->name = npz->name[i];
    npz->count = i + 1;
    if (mr_lookup_find(&npz->names, t->name) >= 0)
        return mr_fail(err, MR_BAD, "%s: tensor %s is there twice; write the file again",
                       npz->zip.path, t->name);
    return mr_lookup_add(&npz->names, t->name, i, err);
}

mr_status mr_npz_open(const char *path, mr_npz **out, mr_err *err) {
    *out = NULL;
    mr_npz *npz = mr_alloc(1, (idx)sizeof *npz, err);
    if (npz == NULL) return MR_BAD;
    mr_status status = mr_zip_open(path, &npz->zip, err);
    if (status != MR_OK) goto failed;
    idx n = npz->zip.count;
    status = MR_BAD;
    if ((npz->tensor = mr_alloc(n, (idx)sizeof *npz->tensor, err)) == NULL) goto failed;
    if ((npz->name = mr_alloc(n, (idx)sizeof *npz->name, err)) == NULL) goto failed;
    if ((npz->header = mr_alloc(n, (idx)sizeof *npz->header, err)) == NULL) goto failed;
    status = MR_OK;
    for (idx i = 0; i < n && status == MR_OK; i++) {
        status = read_header(npz, i, err);
        if (status == MR_OK) status = read_name(npz, i, err);
    }
    if (status != MR_OK) goto failed;
    *out = npz;
    return MR_OK;
failed:
    mr_npz_close(npz);
    return status;
}

void mr_npz_close(mr_npz *npz) {
    if (npz == NULL) return;
    for (idx i = 0; i < npz->count; i++) mr_free(npz->name[i]);
    mr_lookup_free(&npz->names);
    mr_free(npz->header);
    mr_free(npz->name);
    mr_free(npz->tensor);
    mr_zip_close(&npz->zip);
    mr_free(npz);
}

idx mr_npz_count(const mr_npz *npz) { return npz->count; }

const mr_tensor *mr_npz_tensor(const mr_npz *npz, idx i) { return &npz->tensor[i]; }

idx mr_npz_find(const mr_npz *npz, const char *name) { return mr_lookup_find(&npz->names, name); }

mr_status mr_npz_read(mr_npz *npz, idx i, void *data, mr_err *err) {
    mr_zip_stream *stream = NULL;
    mr_status status = MR_BAD;
    /* The header is inflated a second time, because the CRC covers it. */
    unsigned char *header = mr_alloc(npz->header[i], 1, err);
    if (header == NULL) goto done;
    status = mr_zip_begin(&npz->zip, i, &stream, err);
    if (status == MR_OK) status = mr_zip_take(stream, header, npz->header[i], err);
    if (status == MR_OK)
        status = mr_zip_take(stream, data, npz->zip.member[i].size - npz->header[i], err);
    if (status == MR_OK) status = mr_zip_end(stream, err);
done:
    mr_zip_drop(stream);
    mr_free(header);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct mr_npz_writer {
    mr_zip_writer *zip;
};

mr_status mr_npz_create(const char *path, mr_npz_writer **out, mr_err *err) {
    *out = NULL;
    mr_npz_writer *writer = mr_alloc(1, (idx)sizeof *writer, err);
    if (writer == NULL) return MR_BAD;
    mr_status status = mr_zip_create(path, &writer->zip, err);
    if (status == MR_OK) *out = writer;
    else mr_free(writer);
    return status;
}

/* What could be written but would not be read back as the same tensor. */
static mr_status check(const mr_npz_writer *writer, const mr_tensor *t, idx *bytes, mr_err *err) {
    const char *path = mr_zip_writer_path(writer->zip);
    idx length = t->name != NULL ? (idx)strlen(t->name) : 0;
    if (length < 1 || length > MR_ZIP_NAME - LONGEST_ENDING - (idx)strlen(NPY))
        return mr_fail(err, MR_BAD, "%s: a tensor needs a name of 1 to 4084 bytes", path);
    const int k = hidden_by(t->dtype, t->name);
    if (k >= 0)
        return mr_fail(err, MR_BAD, "%s: tensor %s: %s under a name ending in %s would be read as "
                       "%s; choose another name", path, t->name, mr_dtype_name(t->dtype),
                       hidden[k].ending, mr_dtype_name(hidden[k].dtype));
    bool valid = t->rank >= 0 && t->rank <= MR_MAX_RANK;
    idx  elements = valid ? mr_count(t->rank, t->dim) : -1;
    if (elements < 0 || !mr_mul(elements, mr_dtype_size(t->dtype), bytes))
        return mr_fail(err, MR_BAD, "%s: tensor %s: impossible shape", path, t->name);
    if (t->data == NULL && *bytes > 0)
        return mr_fail(err, MR_BAD, "%s: tensor %s: has no data", path, t->name);
    return MR_OK;
}

mr_status mr_npz_add(mr_npz_writer *writer, const mr_tensor *tensor, mr_err *err) {
    char name[MR_ZIP_NAME + 1], own[MR_ZIP_NAME + 1] = "";
    unsigned char header[MR_NPY_FORMAT];
    idx bytes;
    if (check(writer, tensor, &bytes, err) != MR_OK) return MR_BAD;
    for (int k = -1; k < HIDDEN; k++) {   /* no name comes twice, whatever the types */
        const char *ending = k < 0 ? "" : hidden[k].ending;
        snprintf(name, sizeof name, "%s%s" NPY, tensor->name, ending);
        if (mr_zip_writer_has(writer->zip, name))
            return mr_fail(err, MR_BAD, "%s: tensor %s is written twice",
                           mr_zip_writer_path(writer->zip), tensor->name);
        if (k < 0 || hidden[k].dtype == tensor->dtype) memcpy(own, name, strlen(name) + 1);
    }
    mr_zip_piece piece[] = {
        {header, mr_npy_format(tensor, header)},
        {tensor->data, bytes},
    };
    return mr_zip_add(writer->zip, own, piece, 2, err);
}

mr_status mr_npz_finish(mr_npz_writer *writer, mr_err *err) {
    mr_status status = mr_zip_finish(writer->zip, err);
    mr_free(writer);
    return status;
}

void mr_npz_abandon(mr_npz_writer *writer) {
    if (writer == NULL) return;
    mr_zip_abandon(writer->zip);
    mr_free(writer);
}
