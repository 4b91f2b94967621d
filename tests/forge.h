/* A small zip archive built byte by byte, so that each of its fields can be forged. */
#ifndef MR_TESTS_FORGE_H
#define MR_TESTS_FORGE_H

#include "tests/scratch.h"

#include <zlib.h>

#include "golden/npz.h"

/* Opens and reads everything; the hash covers names, types, shapes and data. */
static inline mr_status read_all(const void *data, size_t bytes, uLong *hash, mr_err *err) {
    mr_npz *npz;
    *hash = crc32(0, NULL, 0);
    mr_status status = mr_npz_open(scratch_write("t.npz", data, bytes), &npz, err);
    if (status != MR_OK) return status;
    for (idx i = 0; i < mr_npz_count(npz) && status == MR_OK; i++) {
        const mr_tensor *t = mr_npz_tensor(npz, i);
        idx size = mr_count(t->rank, t->dim) * mr_dtype_size(t->dtype);
        void *out = malloc((size_t)size + 1);
        status = mr_npz_read(npz, i, out, err);
        if (status != MR_OK) size = 0;   /* what was written before the failure means nothing */
        *hash = crc32(*hash, (const Bytef *)t->name, (uInt)strlen(t->name) + 1);
        *hash = crc32(*hash, (const Bytef *)&t->dtype, sizeof t->dtype);
        *hash = crc32(*hash, (const Bytef *)t->dim, (uInt)((size_t)t->rank * sizeof *t->dim));
        *hash = crc32(*hash, out, (uInt)size);
        free(out);
    }
    mr_npz_close(npz);
    return status;
}

static inline void refuse(const void *data, size_t bytes, const char *text) {
    uLong hash;
    mr_err err = {0};
    check_refused(read_all(data, bytes, &hash, &err), MR_BAD, &err, text);
}

/* ---- a small archive, written here ----------------------------------------------------------- */

static unsigned char archive[1 << 17];
static size_t        length, local[2], central[2], end;   /* places of its records */

/* Appends a number of that many bytes, least first. */
static inline void number(int bytes, uint64_t value) {
    for (; bytes > 0; bytes--, value >>= 8) archive[length++] = (unsigned char)(value & 255);
}

static inline void change(size_t at, int bytes, uint64_t value) {
    size_t keep = length;
    length = at;
    number(bytes, value);
    length = keep;
}

static inline void append(const void *data, size_t bytes) {
    memcpy(archive + length, data, bytes);
    length += bytes;
}

/* Two stored members "dd/x.npy" and "dd/y.npy": [7, 8] and [9, 10] as |u1. */
static inline void build(void) {
    unsigned char npy[66];
    length = 0;
    memset(npy, ' ', sizeof npy);
    memcpy(npy, "\x93NUMPY\1\0\66\0{'descr':'|u1','fortran_order':False,'shape':(2,)}", 60);
    for (int i = 0; i < 2; i++) {
        npy[64] = (unsigned char)(7 + 2 * i);
        npy[65] = (unsigned char)(8 + 2 * i);
        local[i] = length;
        append("PK\3\4\24\0\0\0\0\0\0\0\x21\0", 14);
        number(4, crc32(0, npy, sizeof npy));
        number(4, sizeof npy);
        number(4, sizeof npy);
        number(4, 8);   /* length of the name, no extra field */
        append(i == 0 ? "dd/x.npy" : "dd/y.npy", 8);
        append(npy, sizeof npy);
    }
    size_t directory = length;
    for (int i = 0; i < 2; i++) {
        central[i] = length;
        append("PK\1\2\24\0", 6);
        append(archive + local[i] + 4, 26);
        number(6, 0);   /* comment, disk, internal attributes */
        number(4, 0);
        number(4, local[i]);
        append(archive + local[i] + 30, 8);
    }
    end = length;
    append("PK\5\6\0\0\0\0\2\0\2\0", 12);
    number(4, end - directory);
    number(4, directory);
    number(2, 0);
}

/* Puts the zip64 end record and its locator before the end record, whose numbers become
 * saturated. */
static inline void build64(void) {
    build();
    size_t directory = central[0];
    length = end;
    append("PK\6\6\54\0\0\0\0\0\0\0\55\0\55\0\0\0\0\0\0\0\0\0", 24);
    number(8, 2);
    number(8, 2);
    number(8, end - directory);
    number(8, directory);
    append("PK\6\7\0\0\0\0", 8);
    number(8, end);
    number(4, 1);
    append("PK\5\6\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0", 22);
}

#endif
