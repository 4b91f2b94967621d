/* Writing a safetensors file tensor by tensor: the header first, then data in file order, or what
 * comes and then the header, so that no more than a buffer of the file is ever in memory. */
#ifndef MR_WEIGHTS_STREAM_H
#define MR_WEIGHTS_STREAM_H

#include "weights/atomic.h"
#include "weights/tensors.h"
#include "weights/text.h"

/* {0} is a stream that is not open. */
typedef struct {
    mr_atomic      file;
    unsigned char *buffer;
    idx            held;                /* bytes waiting in the buffer */
    idx            expected, written;   /* bytes of data: promised by the header, handed over */
    mr_writer      text;                /* of a header that comes last, and the bytes kept for it */
    idx            room;
    idx            count;               /* its tensors */
} mr_saver;

/* Sorts tensors into the order of the file: wider types first, then by name, as the public library
 * does. */
void mr_saver_sort(mr_tensor *tensor, idx count);

/* Opens the file and writes the header for tensors in file order; their `data` are not looked at.
 * metadata: key, value, key, value, NULL; or NULL. Nothing is open after a failure. */
mr_status mr_saver_open(mr_saver *stream, const char *path, const mr_tensor *tensor, idx count,
                         const char *const *metadata, mr_err *err);

/* Appends data. After a failure only abandon makes sense. */
mr_status mr_saver_write(mr_saver *stream, const void *data, idx bytes, mr_err *err);

/* Without knowing the tensors: `room` bytes, a multiple of 8, are kept for the header; then come
 * tensors with their data, of different names; then the header, which lists the metadata last. With
 * its spaces it fills the room; if it is longer, the data are moved. `end` puts the file in place
 * and leaves {0}, as `commit` does. */
mr_status mr_saver_begin(mr_saver *stream, const char *path, idx room, mr_err *err);
mr_status mr_saver_add(mr_saver *stream, const mr_tensor *tensor, mr_err *err);
mr_status mr_saver_end(mr_saver *stream, const char *const *metadata, mr_err *err);

/* Puts the finished file in place. The stream is {0} afterwards, whatever happens. */
mr_status mr_saver_commit(mr_saver *stream, mr_err *err);
void      mr_saver_abandon(mr_saver *stream);

#endif
