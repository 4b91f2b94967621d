/* Reading one member: bounded input, bounded output, and proof that nothing was left over. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "golden/zip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "golden/zip_parts.h"

#define INPUT ((idx)1 << 16)

struct mr_zip_stream {
    const mr_zip        *zip;
    const mr_zip_member *member;
    idx                  at;         /* next byte of the file to read */
    idx                  unread;     /* packed bytes from there on */
    uLong                crc;        /* of the bytes handed out */
    bool                 ended;      /* deflate's last block is done */
    bool                 started;    /* z needs inflateEnd */
    z_stream             z;
    unsigned char       *input;
};

mr_status mr_zip_pread(const mr_zip *zip, idx offset, void *out, idx bytes, mr_err *err) {
    unsigned char *to = out;
    while (bytes > 0) {
        size_t  piece = (size_t)(bytes < ZLIB_PIECE ? bytes : ZLIB_PIECE);
        ssize_t got = pread(zip->fd, to, piece, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return mr_fail(err, MR_BAD, "%s: cannot read: %s", zip->path, strerror(errno));
        if (got == 0) return mr_zip_bad(zip, "it became shorter while it was read", err);
        to += got;
        offset += (idx)got;
        bytes -= (idx)got;
    }
    return MR_OK;
}

static mr_status no_memory(const mr_zip_stream *s, mr_err *err) {
    return mr_fail(err, MR_BAD, "%s: member %s: out of memory for inflating", s->zip->path,
                   s->member->name);
}

mr_status mr_zip_begin(const mr_zip *zip, idx i, mr_zip_stream **out, mr_err *err) {
    *out = NULL;
    mr_zip_stream *s = mr_alloc(1, (idx)sizeof *s, err);
    if (s == NULL) return MR_BAD;
    s->zip = zip;
    s->member = &zip->member[i];
    s->at = s->member->start;
    s->unread = s->member->packed;
    s->crc = crc32(0, NULL, 0);
    s->z.zalloc = zip_alloc;
    s->z.zfree = zip_free;
    s->input = mr_alloc(INPUT, 1, err);
    if (s->input == NULL) goto failed;
    /* Negative window bits: raw deflate, the zip format has its own header and checksum. */
    if (s->member->method != 0 && inflateInit2(&s->z, -MAX_WBITS) != Z_OK) {
        no_memory(s, err);
        goto failed;
    }
    s->started = s->member->method != 0;
    *out = s;
    return MR_OK;
failed:
    mr_zip_drop(s);
    return MR_BAD;
}

void mr_zip_drop(mr_zip_stream *stream) {
    if (stream == NULL) return;
    if (stream->started) inflateEnd(&stream->z);
    mr_free(stream->input);
    mr_free(stream);
}

static mr_status corrupt(const mr_zip_stream *s, mr_err *err) {
    return mr_zip_bad_member(s->zip, s->member, "has damaged compressed data", err);
}

/* Inflates up to `bytes` bytes; *got < bytes only at the end of the deflate stream. */
static mr_status inflate_some(mr_zip_stream *s, unsigned char *out, idx bytes, idx *got,
                              mr_err *err) {
    *got = 0;
    while (*got < bytes && !s->ended) {
        if (s->z.avail_in == 0 && s->unread > 0) {
            idx piece = s->unread < INPUT ? s->unread : INPUT;
            if (mr_zip_pread(s->zip, s->at, s->input, piece, err) != MR_OK) return MR_BAD;
            s->at += piece;
            s->unread -= piece;
            s->z.next_in = s->input;
            s->z.avail_in = (uInt)piece;
        }
        idx want = bytes - *got < ZLIB_PIECE ? bytes - *got : ZLIB_PIECE;
        s->z.next_out = out + *got;
        s->z.avail_out = (uInt)want;
        int result = inflate(&s->z, Z_NO_FLUSH);
        *got += want - (idx)s->z.avail_out;
        if (result == Z_MEM_ERROR) return no_memory(s, err);
        /* Z_BUF_ERROR, "no progress": input is offered whenever there is some, so it ran out. */
        if (result != Z_OK && result != Z_STREAM_END) return corrupt(s, err);
        s->ended = result == Z_STREAM_END;
    }
    return MR_OK;
}

static mr_status stored_some(mr_zip_stream *s, unsigned char *out, idx bytes, idx *got,
                             mr_err *err) {
    *got = bytes < s->unread ? bytes : s->unread;
    if (mr_zip_pread(s->zip, s->at, out, *got, err) != MR_OK) return MR_BAD;
    s->at += *got;
    s->unread -= *got;
    return MR_OK;
}

static mr_status take_some(mr_zip_stream *s, unsigned char *out, idx bytes, idx *got, mr_err *err) {
    return s->started ? inflate_some(s, out, bytes, got, err)
                      : stored_some(s, out, bytes, got, err);
}

mr_status mr_zip_take(mr_zip_stream *s, void *out, idx bytes, mr_err *err) {
    idx got;
    if (take_some(s, out, bytes, &got, err) != MR_OK) return MR_BAD;
    if (got < bytes)
        return mr_zip_bad_member(s->zip, s->member, "holds fewer bytes than it declares", err);
    const unsigned char *from = out;
    while (bytes > 0) {
        uInt piece = (uInt)(bytes < ZLIB_PIECE ? bytes : ZLIB_PIECE);
        s->crc = crc32(s->crc, from, piece);
        from += piece;
        bytes -= (idx)piece;
    }
    return MR_OK;
}

mr_status mr_zip_end(mr_zip_stream *s, mr_err *err) {
    unsigned char beyond;
    idx got;
    /* Asking for one byte more also makes zlib see the end-of-block code after the last byte. */
    if (take_some(s, &beyond, 1, &got, err) != MR_OK) return MR_BAD;
    if (got != 0 || s->unread != 0 || s->z.avail_in != 0)
        return mr_zip_bad_member(s->zip, s->member, "holds more bytes than it declares", err);
    if (s->crc != s->member->crc)
        return mr_fail(err, MR_BAD,
                       "%s: member %s: CRC is %08lx, expected %08lx: the data are damaged; "
                       "write the file again", s->zip->path, s->member->name, (unsigned long)s->crc,
                       (unsigned long)s->member->crc);
    return MR_OK;
}
