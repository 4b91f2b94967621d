/* Writing a zip archive as a stream: a local header is patched once its member is deflated. */
#include "golden/zip.h"

#include <string.h>
#include <zlib.h>

#include "golden/lookup.h"
#include "golden/zip_parts.h"
#include "weights/atomic.h"

/* Level 1: activations are close to noise, and the masked half of attention scores shrinks at
 * any level. Measured: level 6 makes widened bf16 a tenth smaller, takes seven times as long for
 * it, and changes float noise by less than 1 %. */
#define LEVEL 1
#define OUTPUT ((idx)1 << 18)

#define VERSION 45            /* zip64 */
#define DEFLATED 8
#define DATE_1980_01_01 0x21  /* one date for all, so that equal tensors give equal files */
#define LOCAL_EXTRA 20        /* the zip64 extra field: id, length, size, packed size */

struct mr_zip_writer {
    mr_atomic      file;
    idx            at;        /* bytes written so far */
    idx            count, room;
    mr_zip_member *member;
    mr_lookup       names;
    bool           broken;    /* an add failed: the file holds half a member */
    bool           started;   /* z needs deflateEnd */
    z_stream       z;
    unsigned char *output;
};

mr_status mr_zip_create(const char *path, mr_zip_writer **out, mr_err *err) {
    *out = NULL;
    mr_zip_writer *w = mr_alloc(1, (idx)sizeof *w, err);
    if (w == NULL) return MR_BAD;
    w->output = mr_alloc(OUTPUT, 1, err);
    if (w->output == NULL) goto failed;
    w->z.zalloc = zip_alloc;
    w->z.zfree = zip_free;
    if (deflateInit2(&w->z, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        mr_fail(err, MR_BAD, "%s: out of memory for compression", path);
        goto failed;
    }
    w->started = true;
    if (mr_atomic_open(&w->file, path, err) != MR_OK) goto failed;
    *out = w;
    return MR_OK;
failed:
    mr_zip_abandon(w);
    return MR_BAD;
}

void mr_zip_abandon(mr_zip_writer *w) {
    if (w == NULL) return;
    mr_atomic_abandon(&w->file);
    if (w->started) deflateEnd(&w->z);
    for (idx i = 0; i < w->count; i++) mr_free(w->member[i].name);
    mr_lookup_free(&w->names);
    mr_free(w->member);
    mr_free(w->output);
    mr_free(w);
}

const char *mr_zip_writer_path(const mr_zip_writer *w) { return w->file.path; }

bool mr_zip_writer_has(const mr_zip_writer *w, const char *name) {
    return mr_lookup_find(&w->names, name) >= 0;
}

static mr_status put(mr_zip_writer *w, const void *data, idx bytes, mr_err *err) {
    mr_status status = mr_atomic_write(&w->file, data, bytes, err);
    if (status == MR_OK) w->at += bytes;   /* can not overflow: a file holds as many bytes */
    return status;
}

/* ---- one member ------------------------------------------------------------------------------ */

/* The sizes always stand in a zip64 extra field, because its room has to be reserved before they
 * are known. numpy does the same, so every reader of its archives accepts it. */
static unsigned char *local_header(unsigned char *p, const mr_zip_member *m) {
    p = put16(put32(p, LOCAL_SIGNATURE), VERSION);
    p = put16(put16(p, 0), DEFLATED);                     /* flags, method */
    p = put16(put16(p, 0), DATE_1980_01_01);              /* time, date */
    p = put32(p, m->crc);
    p = put32(put32(p, SATURATED32), SATURATED32);        /* both sizes: see the extra field */
    p = put16(put16(p, (uint32_t)strlen(m->name)), LOCAL_EXTRA);
    memcpy(p, m->name, strlen(m->name));
    p = put16(put16(p + strlen(m->name), 1), LOCAL_EXTRA - 4);
    return put64(put64(p, (uint64_t)m->size), (uint64_t)m->packed);
}

/* Gives one piece of at most ZLIB_PIECE bytes to zlib and writes what comes out. */
static mr_status deflate_piece(mr_zip_writer *w, mr_zip_member *m, const unsigned char *from,
                               idx bytes, int flush, mr_err *err) {
    int result;
    w->z.next_in = (Bytef *)(uintptr_t)from;   /* not written to: zlib's type predates const */
    w->z.avail_in = (uInt)bytes;
    do {
        w->z.next_out = w->output;
        w->z.avail_out = (uInt)OUTPUT;
        result = deflate(&w->z, flush);   /* fails only by Z_BUF_ERROR, "nothing to do" */
        idx got = OUTPUT - (idx)w->z.avail_out;
        if (put(w, w->output, got, err) != MR_OK) return MR_BAD;
        m->packed += got;
    } while (w->z.avail_out == 0 || (flush == Z_FINISH && result == Z_OK));
    return MR_OK;
}

static mr_status deflate_all(mr_zip_writer *w, mr_zip_member *m, const mr_zip_piece *piece,
                             int pieces, mr_err *err) {
    uLong crc = crc32(0, NULL, 0);
    deflateReset(&w->z);
    for (int i = 0; i < pieces; i++) {
        const unsigned char *from = piece[i].data;
        for (idx left = piece[i].bytes; left > 0; ) {
            idx n = left < ZLIB_PIECE ? left : ZLIB_PIECE;
            crc = crc32(crc, from, (uInt)n);
            if (deflate_piece(w, m, from, n, Z_NO_FLUSH, err) != MR_OK) return MR_BAD;
            from += n;
            left -= n;
        }
        m->size += piece[i].bytes;
    }
    m->crc = (uint32_t)crc;
    return deflate_piece(w, m, NULL, 0, Z_FINISH, err);
}

/* Appends an entry with a copy of the name. */
static mr_status new_member(mr_zip_writer *w, const char *name, mr_err *err) {
    idx length = (idx)strlen(name);
    const char *fault = mr_zip_name_fault(name, length);
    if (fault != NULL)
        return mr_fail(err, MR_BAD, "%s: member %.80s: %s", w->file.path, name, fault);
    if (mr_lookup_find(&w->names, name) >= 0)
        return mr_fail(err, MR_BAD, "%s: member %s is written twice", w->file.path, name);
    if (w->count == MR_ZIP_MEMBERS64)
        return mr_fail(err, MR_BAD, "%s: more than 1000000 members", w->file.path);
    if (w->count == w->room) {
        idx room = w->room > 0 ? 2 * w->room : 64;
        mr_zip_member *more = mr_resize(w->member, room, (idx)sizeof *more, err);
        if (more == NULL) return MR_BAD;
        w->member = more;
        w->room = room;
    }
    mr_zip_member *m = &w->member[w->count];
    *m = (mr_zip_member){.method = DEFLATED, .offset = w->at};
    m->name = mr_alloc(length + 1, 1, err);
    if (m->name == NULL) return MR_BAD;
    memcpy(m->name, name, (size_t)length);
    w->count++;   /* from here on abandon frees the name */
    return mr_lookup_add(&w->names, m->name, w->count - 1, err);
}

mr_status mr_zip_add(mr_zip_writer *w, const char *name, const mr_zip_piece *piece, int pieces,
                     mr_err *err) {
    unsigned char header[LOCAL_SIZE + MR_ZIP_NAME + LOCAL_EXTRA];
    if (w->broken) return mr_fail(err, MR_BAD, "%s: an earlier member failed", w->file.path);
    w->broken = true;   /* until all of it is written */
    if (new_member(w, name, err) != MR_OK) return MR_BAD;
    mr_zip_member *m = &w->member[w->count - 1];
    idx bytes = (idx)(local_header(header, m) - header);
    if (put(w, header, bytes, err) != MR_OK || deflate_all(w, m, piece, pieces, err) != MR_OK)
        return MR_BAD;
    local_header(header, m);   /* again, now with the CRC and the sizes */
    if (mr_atomic_patch(&w->file, m->offset, header, bytes, err) != MR_OK) return MR_BAD;
    w->broken = false;
    return MR_OK;
}

/* ---- the directory --------------------------------------------------------------------------- */

/* A number that does not fit its 32-bit field goes to the extra field. */
static unsigned char *widen(unsigned char *extra, idx value, uint32_t *field) {
    bool fits = (uint64_t)value < SATURATED32;
    *field = fits ? (uint32_t)value : SATURATED32;
    return fits ? extra : put64(extra, (uint64_t)value);
}

static unsigned char *central_entry(unsigned char *p, const mr_zip_member *m) {
    unsigned char extra[4 + 3 * 8], *end = extra + 4;
    uint32_t size, packed, offset;
    end = widen(end, m->size, &size);
    end = widen(end, m->packed, &packed);
    end = widen(end, m->offset, &offset);
    uint32_t wide = (uint32_t)(end - extra - 4), bytes = wide > 0 ? wide + 4 : 0;
    put16(put16(extra, 1), wide);

    p = put16(put16(put32(p, CENTRAL_SIGNATURE), VERSION), VERSION);   /* made by, needed */
    p = put16(put16(p, 0), DEFLATED);
    p = put16(put16(p, 0), DATE_1980_01_01);
    p = put32(put32(put32(p, m->crc), packed), size);
    p = put16(put16(put16(p, (uint32_t)strlen(m->name)), bytes), 0);   /* name, extra, comment */
    p = put32(put16(put16(p, 0), 0), 0);                               /* disk, attributes */
    p = put32(p, offset);
    memcpy(p, m->name, strlen(m->name));
    memcpy(p + strlen(m->name), extra, bytes);
    return p + strlen(m->name) + bytes;
}

/* The records at the end; the two of zip64 only when a number needs them. */
static unsigned char *end_records(unsigned char *p, idx count, idx offset, idx size) {
    bool big = (uint64_t)count >= SATURATED16 || (uint64_t)size >= SATURATED32 ||
               (uint64_t)offset >= SATURATED32;
    if (big) {
        p = put64(put32(p, END64_SIGNATURE), END64_SIZE - 12);
        p = put16(put16(p, VERSION), VERSION);
        p = put32(put32(p, 0), 0);                                     /* disks */
        p = put64(put64(p, (uint64_t)count), (uint64_t)count);
        p = put64(put64(p, (uint64_t)size), (uint64_t)offset);
        p = put32(put32(p, LOCATOR_SIGNATURE), 0);
        p = put32(put64(p, (uint64_t)offset + (uint64_t)size), 1);
    }
    uint32_t n = big ? SATURATED16 : (uint32_t)count;
    p = put16(put16(put32(p, END_SIGNATURE), 0), 0);
    p = put16(put16(p, n), n);
    p = put32(p, big ? SATURATED32 : (uint32_t)size);
    p = put32(p, big ? SATURATED32 : (uint32_t)offset);
    return put16(p, 0);
}

static mr_status put_directory(mr_zip_writer *w, mr_err *err) {
    idx room = END64_SIZE + LOCATOR_SIZE + END_SIZE;
    for (idx i = 0; i < w->count; i++) room += CENTRAL_SIZE + (idx)strlen(w->member[i].name) + 28;
    unsigned char *directory = mr_alloc(room, 1, err), *p = directory;
    if (directory == NULL) return MR_BAD;
    for (idx i = 0; i < w->count; i++) p = central_entry(p, &w->member[i]);
    p = end_records(p, w->count, w->at, (idx)(p - directory));
    mr_status status = put(w, directory, (idx)(p - directory), err);
    mr_free(directory);
    return status;
}

mr_status mr_zip_finish(mr_zip_writer *w, mr_err *err) {
    mr_status status = MR_OK;
    if (w->broken) status = mr_fail(err, MR_BAD, "%s: an earlier member failed", w->file.path);
    if (status == MR_OK) status = put_directory(w, err);
    if (status == MR_OK) status = mr_atomic_commit(&w->file, err);
    mr_zip_abandon(w);
    return status;
}
