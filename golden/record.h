/* Writes tensors of a program under test into a trace, with nothing but the C library: copy this
 * one file into a port (C99, C++, CUDA, HIP, Objective-C; little-endian machines).
 *
 *     mr_record trace = mr_record_open("port.npz", meta);     meta: JSON text, see docs/RECORD.md
 *     const int64_t dims[3] = {tokens, heads, head_dim};
 *     cudaMemcpy(host, device_q, bytes, cudaMemcpyDeviceToHost);
 *     mr_record_add(&trace, "layers.0.q_rope", MR_REC_BF16, 3, dims, host);
 *     ...
 *     if (mr_record_close(&trace) != 0) fprintf(stderr, "%s\n", trace.error);
 *
 * Names and shapes are those of docs/MODEL.md, meta is described in docs/FORMATS.md. A name comes
 * once: rows of several calls (chunks, decoding) are put together by the caller, or go to one
 * trace per call. Data are row-major and are read before mr_record_add returns.
 *
 * Functions return 0, or -1 with the reason in `error`; after a failure the others do nothing and
 * mr_record_close reports it, so that checking there is enough. The trace is written to PATH.part
 * and gets its name when it is complete; the directory waits in PATH.dir. Nothing is kept in
 * memory. The file is an uncompressed zip of .npy arrays, as numpy.savez writes it. */
#ifndef MR_GOLDEN_RECORD_H
#define MR_GOLDEN_RECORD_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef enum {
    MR_REC_F64, MR_REC_F32, MR_REC_F16, MR_REC_BF16, MR_REC_I64, MR_REC_I32, MR_REC_U16,
    MR_REC_U8, MR_REC_F8_E4M3, MR_REC_F8_E5M2
} mr_record_dtype;

#define MR_RECORD_PATH 1024   /* bytes of a path, with its NUL */
#define MR_RECORD_NAME 512    /* bytes of a tensor's name, with its NUL */
#define MR_RECORD_RANK 8
#define MR_RECORD_COUNT 1000000   /* tensors that mistral-ref reads */

/* A trace being written. Only `error` and `count` are for the caller to read. */
typedef struct {
    FILE    *file, *directory;
    uint64_t at, listed;      /* bytes written so far to each of them */
    uint64_t count;           /* tensors, meta included */
    uint32_t crc[4][256];
    char     path[MR_RECORD_PATH];
    char     error[MR_RECORD_PATH + MR_RECORD_NAME + 128];   /* "" while all is well */
} mr_record;

/* ---- parts: not for the caller --------------------------------------------------------------- */

/* Keeps the first failure. `name` may be NULL. */
static inline int mr_record_fail(mr_record *r, const char *name, const char *what) {
    if (r->error[0] == '\0')
        snprintf(r->error, sizeof r->error, "%s: %s%s%s", r->path, name != NULL ? name : "",
                 name != NULL ? ": " : "", what);
    return -1;
}

/* The four tables of slicing: crc[k][b] is the CRC of byte b followed by k zero bytes. */
static inline void mr_record_tables(mr_record *r) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t c = b;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ ((c & 1u) != 0 ? 0xedb88320u : 0u);
        r->crc[0][b] = c;
    }
    for (int k = 1; k < 4; k++)
        for (uint32_t b = 0; b < 256; b++)
            r->crc[k][b] = r->crc[k - 1][b] >> 8 ^ r->crc[0][r->crc[k - 1][b] & 255u];
}

/* CRC-32 of zip, four bytes at a step; start with 0. */
static inline uint32_t mr_record_crc(const mr_record *r, uint32_t crc, const void *data,
                                     uint64_t bytes) {
    const unsigned char *p = (const unsigned char *)data;
    uint32_t c = ~crc;
    for (; bytes >= 4; bytes -= 4, p += 4) {
        c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        c = r->crc[3][c & 255u] ^ r->crc[2][c >> 8 & 255u] ^ r->crc[1][c >> 16 & 255u] ^
            r->crc[0][c >> 24];
    }
    for (; bytes > 0; bytes--, p++) c = c >> 8 ^ r->crc[0][(c ^ *p) & 255u];
    return ~c;
}

/* The n low bytes of x, little-endian; returns the place after them. */
static inline unsigned char *mr_record_put(unsigned char *p, uint64_t x, int n) {
    for (int i = 0; i < n; i++) p[i] = (unsigned char)(x >> 8 * i & 255u);
    return p + n;
}

/* Pieces, because some C libraries fail on one write of more than 2 GiB. */
static inline int mr_record_write(mr_record *r, FILE *file, uint64_t *at, const void *data,
                                  uint64_t bytes) {
    const unsigned char *p = (const unsigned char *)data;
    while (bytes > 0) {
        const size_t n = bytes < ((uint64_t)1 << 26) ? (size_t)bytes : (size_t)1 << 26;
        if (fwrite(p, 1, n, file) != n)
            return mr_record_fail(r, NULL, "cannot write (disk full?)");
        p += n;
        bytes -= n;
        *at += n;
    }
    return 0;
}

/* Bytes per element, numpy's type and what follows the name of a member; 0 for no known type. */
static inline unsigned mr_record_type(mr_record_dtype dtype, const char **descr, const char **end) {
    static const struct { unsigned size; const char *descr, *ending; } types[] = {
        {8, "<f8", ""}, {4, "<f4", ""}, {2, "<f2", ""}, {2, "<u2", ".bf16"}, {8, "<i8", ""},
        {4, "<i4", ""}, {2, "<u2", ""}, {1, "|u1", ""}, {1, "|u1", ".f8_e4m3"},
        {1, "|u1", ".f8_e5m2"},
    };
    if ((unsigned)dtype >= sizeof types / sizeof *types) return 0;
    *descr = types[(unsigned)dtype].descr;
    *end = types[(unsigned)dtype].ending;
    return types[(unsigned)dtype].size;
}

/* What mistral-ref's reader refuses in a name, or NULL. */
static inline const char *mr_record_name_fault(const char *name, mr_record_dtype dtype) {
    const size_t length = name != NULL ? strlen(name) : 0;
    if (length == 0) return "a tensor needs a name";
    if (length >= MR_RECORD_NAME) return "the name is too long";
    if (name[0] == '/' || strstr(name, "..") != NULL) return "a name has no leading / and no ..";
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x21 || name[i] > 0x7e) return "a name is printable ASCII without spaces";
    if (dtype == MR_REC_U16 && length >= 5 && strcmp(name + length - 5, ".bf16") == 0)
        return "U16 under a name ending in .bf16 would be read as BF16";
    return NULL;
}

/* The product of the dimensions and `bytes`, at most 2^62; -1 when a dimension is negative or the
 * product is larger. */
static inline int64_t mr_record_bytes(int rank, const int64_t *dims, unsigned bytes) {
    const int64_t limit = (int64_t)1 << 62;
    int64_t product = (int64_t)bytes;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || (dims[i] > 0 && product > limit / dims[i])) return -1;
        product *= dims[i];
    }
    return product;
}

/* The header of a .npy array, a multiple of 64 bytes; 384 is more than rank 8 can need. */
static inline uint64_t mr_record_npy(unsigned char header[384], const char *descr, int rank,
                                     const int64_t *dims) {
    char *text = (char *)header + 10;
    const int room = 384 - 10;
    int n = snprintf(text, (size_t)room, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     descr);
    for (int i = 0; i < rank; i++)
        n += snprintf(text + n, (size_t)(room - n), "%lld%s", (long long)dims[i],
                      rank == 1 ? "," : i + 1 < rank ? ", " : "");
    n += snprintf(text + n, (size_t)(room - n), "), }");
    const int length = (10 + n + 1 + 63) / 64 * 64;
    memset(text + n, ' ', (size_t)(length - 10 - n));
    header[length - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    mr_record_put(header + 8, (uint64_t)(length - 10), 2);
    return (uint64_t)length;
}

/* The fields that a local header and a directory entry share, `version` to the extra's length. */
static inline unsigned char *mr_record_fields(unsigned char *p, uint32_t crc, uint64_t size,
                                              uint64_t name, uint64_t extra) {
    const uint64_t shown = size < 0xffffffffu ? size : 0xffffffffu;
    p = mr_record_put(p, 45, 2);                                      /* version: zip64 */
    p = mr_record_put(mr_record_put(p, 0, 2), 0, 2);                  /* flags, method: stored */
    p = mr_record_put(mr_record_put(p, 0, 2), 0x21, 2);               /* 1980-01-01 */
    p = mr_record_put(p, crc, 4);
    p = mr_record_put(mr_record_put(p, shown, 4), shown, 4);
    return mr_record_put(mr_record_put(p, name, 2), extra, 2);
}

/* Local header into the file, entry into the directory. */
static inline int mr_record_headers(mr_record *r, const char *member, uint32_t crc,
                                    uint64_t size) {
    unsigned char p[128], extra[32], *q, *end = extra + 4;
    const uint64_t length = strlen(member), offset = r->at;
    const int big = size >= 0xffffffffu, far_away = offset >= 0xffffffffu;
    if (big) end = mr_record_put(mr_record_put(end, size, 8), size, 8);
    mr_record_put(mr_record_put(extra, 1, 2), (uint64_t)(end - extra - 4), 2);
    q = mr_record_put(p, 0x04034b50, 4);
    q = mr_record_fields(q, crc, size, length, big ? 20 : 0);
    if (mr_record_write(r, r->file, &r->at, p, (uint64_t)(q - p)) != 0 ||
        mr_record_write(r, r->file, &r->at, member, length) != 0 ||
        mr_record_write(r, r->file, &r->at, extra, big ? 20 : 0) != 0)
        return -1;

    if (far_away) end = mr_record_put(end, offset, 8);
    const uint64_t bytes = big || far_away ? (uint64_t)(end - extra) : 0;
    mr_record_put(mr_record_put(extra, 1, 2), (uint64_t)(end - extra - 4), 2);
    q = mr_record_put(mr_record_put(p, 0x02014b50, 4), 45, 2);
    q = mr_record_fields(q, crc, size, length, bytes);
    q = mr_record_put(mr_record_put(q, 0, 8), 0, 2);          /* comment, disk, attributes */
    q = mr_record_put(q, far_away ? 0xffffffffu : offset, 4);
    if (mr_record_write(r, r->directory, &r->listed, p, (uint64_t)(q - p)) != 0 ||
        mr_record_write(r, r->directory, &r->listed, member, length) != 0)
        return -1;
    return mr_record_write(r, r->directory, &r->listed, extra, bytes);
}

/* Copies the directory behind the members and closes it with the records at the end. */
static inline int mr_record_end(mr_record *r) {
    unsigned char buffer[4096], *p = buffer;
    const uint64_t offset = r->at, size = r->listed, count = r->count;
    const int big = count >= 0xffffu || size >= 0xffffffffu || offset >= 0xffffffffu;
    if (fflush(r->directory) != 0 || fseek(r->directory, 0, SEEK_SET) != 0)
        return mr_record_fail(r, NULL, "cannot write the directory");
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, r->directory)) > 0; )
        if (mr_record_write(r, r->file, &r->at, buffer, n) != 0) return -1;
    if (r->at - offset != size) return mr_record_fail(r, NULL, "cannot read the directory back");
    if (big) {
        p = mr_record_put(mr_record_put(p, 0x06064b50, 4), 44, 8);
        p = mr_record_put(mr_record_put(mr_record_put(p, 45, 2), 45, 2), 0, 8);
        p = mr_record_put(mr_record_put(p, count, 8), count, 8);
        p = mr_record_put(mr_record_put(p, size, 8), offset, 8);
        p = mr_record_put(mr_record_put(p, 0x07064b50, 4), 0, 4);
        p = mr_record_put(mr_record_put(p, offset + size, 8), 1, 4);
    }
    p = mr_record_put(mr_record_put(p, 0x06054b50, 4), 0, 4);
    p = mr_record_put(mr_record_put(p, big ? 0xffffu : count, 2), big ? 0xffffu : count, 2);
    p = mr_record_put(p, big ? 0xffffffffu : size, 4);
    p = mr_record_put(mr_record_put(p, big ? 0xffffffffu : offset, 4), 0, 2);
    return mr_record_write(r, r->file, &r->at, buffer, (uint64_t)(p - buffer));
}

/* ---- for the caller -------------------------------------------------------------------------- */

/* Adds a tensor. dims: its `rank` sizes, may be NULL for rank 0; data: on the host. */
static inline int mr_record_add(mr_record *r, const char *name, mr_record_dtype dtype, int rank,
                                const int64_t *dims, const void *data) {
    unsigned char header[384];
    char member[MR_RECORD_NAME + 16];
    const char *descr = "", *ending = "", *fault = mr_record_name_fault(name, dtype);
    const unsigned width = mr_record_type(dtype, &descr, &ending);
    if (r->error[0] != '\0') return -1;
    if (r->file == NULL) return mr_record_fail(r, name, "the trace is closed");
    if (fault != NULL) return mr_record_fail(r, name, fault);
    if (width == 0) return mr_record_fail(r, name, "no such dtype");
    if (rank < 0 || rank > MR_RECORD_RANK || (rank > 0 && dims == NULL))
        return mr_record_fail(r, name, "rank is 0 to 8, with that many sizes");
    const int64_t bytes = mr_record_bytes(rank, dims, width);
    if (bytes < 0) return mr_record_fail(r, name, "impossible shape");
    if (bytes > 0 && data == NULL) return mr_record_fail(r, name, "has no data");
    if (r->count == MR_RECORD_COUNT) return mr_record_fail(r, name, "more than 1000000 tensors");

    snprintf(member, sizeof member, "%s%s.npy", name, ending);
    const uint64_t head = mr_record_npy(header, descr, rank, dims);
    uint32_t crc = mr_record_crc(r, 0, header, head);
    crc = mr_record_crc(r, crc, data, (uint64_t)bytes);
    if (mr_record_headers(r, member, crc, head + (uint64_t)bytes) != 0 ||
        mr_record_write(r, r->file, &r->at, header, head) != 0 ||
        mr_record_write(r, r->file, &r->at, data, (uint64_t)bytes) != 0)
        return -1;
    r->count++;
    return 0;
}

/* Begins a trace. meta_json: JSON text, or NULL for none. */
static inline mr_record mr_record_open(const char *path, const char *meta_json) {
    mr_record r;
    char part[MR_RECORD_PATH + 8], directory[MR_RECORD_PATH + 8];
    const uint16_t one = 1;
    memset(&r, 0, sizeof r);
    if (path == NULL || strlen(path) >= MR_RECORD_PATH || *(const unsigned char *)&one != 1) {
        mr_record_fail(&r, NULL, "needs a path of less than 1024 bytes, a little-endian machine");
        return r;
    }
    snprintf(r.path, sizeof r.path, "%s", path);
    snprintf(part, sizeof part, "%s.part", path);
    snprintf(directory, sizeof directory, "%s.dir", path);
    mr_record_tables(&r);
    r.file = fopen(part, "wb");
    if (r.file != NULL) r.directory = fopen(directory, "wb+");
    if (r.directory == NULL) mr_record_fail(&r, NULL, "cannot create this file");
    const int64_t bytes = meta_json != NULL ? (int64_t)strlen(meta_json) : 0;
    if (meta_json != NULL) mr_record_add(&r, "meta", MR_REC_U8, 1, &bytes, meta_json);
    return r;
}

/* Completes the trace and gives it its name. On failure PATH is what it was. */
static inline int mr_record_close(mr_record *r) {
    char part[MR_RECORD_PATH + 8], directory[MR_RECORD_PATH + 8];
    const int opened = r->file != NULL, listed = r->directory != NULL;
    snprintf(part, sizeof part, "%s.part", r->path);
    snprintf(directory, sizeof directory, "%s.dir", r->path);
    if (!opened) mr_record_fail(r, NULL, "the trace is closed");
    if (r->error[0] == '\0') mr_record_end(r);
    if (opened && fclose(r->file) != 0) mr_record_fail(r, NULL, "cannot write (disk full?)");
    if (listed) fclose(r->directory);
    r->file = r->directory = NULL;
    if (listed) remove(directory);
#ifdef _WIN32
    if (r->error[0] == '\0') remove(r->path);   /* there rename does not replace */
#endif
    if (r->error[0] == '\0' && rename(part, r->path) != 0)
        mr_record_fail(r, NULL, "cannot give the trace its name");
    if (opened && r->error[0] != '\0') remove(part);
    return r->error[0] == '\0' ? 0 : -1;
}

#endif
