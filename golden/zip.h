/* Zip archives over zlib: a reader for untrusted files, a writer that streams. No tensors here. */
#ifndef MR_GOLDEN_ZIP_H
#define MR_GOLDEN_ZIP_H

#include "ref/base.h"

/* Limits of the reader; the writer keeps to them. */
#define MR_ZIP_MEMBERS   65535      /* of an archive without zip64 records */
#define MR_ZIP_MEMBERS64 1000000    /* with them */
#define MR_ZIP_NAME      4096       /* bytes of a member's name */
#define MR_ZIP_RATIO     1100       /* deflate can not exceed 1032:1, so more is a forged size */

/* A member as the directory tells it, proved to agree with its local header. */
typedef struct {
    char    *name;      /* printable ASCII, relative, no ".." */
    int      method;    /* 0 stored, 8 deflated */
    bool     streamed;  /* flag bit 3: CRC and sizes follow the data */
    uint32_t crc;       /* of the inflated bytes */
    idx      packed;    /* bytes in the archive */
    idx      size;      /* bytes when inflated */
    idx      offset;    /* of the local header */
    idx      start;     /* of the data */
} mr_zip_member;

/* An open archive; {0} is a closed one. */
typedef struct {
    char          *path;
    int            fd;
    idx            bytes;    /* size of the file */
    idx            count;
    mr_zip_member *member;   /* in the order of the directory */
} mr_zip;

/* Reads and checks the directory and all local headers; every byte of the file must belong to
 * exactly one record. Names may repeat: what that means is the caller's business. Data are not
 * read. */
mr_status mr_zip_open(const char *path, mr_zip *zip, mr_err *err);
void      mr_zip_close(mr_zip *zip);   /* fine on {0} */

/* Reading of one member from its start to its end. The archive must stay open. */
typedef struct mr_zip_stream mr_zip_stream;
mr_status mr_zip_begin(const mr_zip *zip, idx i, mr_zip_stream **out, mr_err *err);
/* The next `bytes` bytes, all of them or an error. */
mr_status mr_zip_take(mr_zip_stream *stream, void *out, idx bytes, mr_err *err);
/* Proves that the member ends here, in the file and in the directory, and that its CRC is right. */
mr_status mr_zip_end(mr_zip_stream *stream, mr_err *err);
void      mr_zip_drop(mr_zip_stream *stream);   /* frees, at any point; NULL is fine */

/* NULL, or what is wrong with a member's name. */
const char *mr_zip_name_fault(const char *name, idx length);

typedef struct mr_zip_writer mr_zip_writer;
typedef struct {
    const void *data;
    idx         bytes;
} mr_zip_piece;

mr_status mr_zip_create(const char *path, mr_zip_writer **out, mr_err *err);
/* Deflates the pieces, one after the other, into one member. After a failure the archive can
 * only be abandoned. */
mr_status mr_zip_add(mr_zip_writer *writer, const char *name, const mr_zip_piece *piece, int pieces,
                     mr_err *err);
/* For messages, and to ask whether a member of that name is written already. */
const char *mr_zip_writer_path(const mr_zip_writer *writer);
bool        mr_zip_writer_has(const mr_zip_writer *writer, const char *name);
/* Writes the directory and gives the file its name. Frees the writer whatever happens. */
mr_status mr_zip_finish(mr_zip_writer *writer, mr_err *err);
void      mr_zip_abandon(mr_zip_writer *writer);   /* NULL is fine */

#endif
