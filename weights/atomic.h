/* Crash-safe writing: a file appears under its name complete and on disk, or not at all. */
#ifndef MR_WEIGHTS_ATOMIC_H
#define MR_WEIGHTS_ATOMIC_H

#include "ref/base.h"

/* A file being written. {0} is a file that is not open; `path` and `temporary` are owned. */
typedef struct {
    int   fd;          /* of the temporary file, opened for reading and writing */
    char *path;        /* the name asked for */
    char *temporary;   /* its name until commit: PATH.tmp-PID-N, same folder so that rename is
                        * atomic */
} mr_atomic;

/* Creates the temporary file, with the mode bits of an older PATH if there is one. A PATH that
 * exists and is no regular file (a folder, a device) is refused; a symbolic link is replaced,
 * not followed. */
mr_status mr_atomic_open(mr_atomic *file, const char *path, mr_err *err);

/* Appends. Unbuffered: hand over large pieces. After a failure only abandon makes sense. */
mr_status mr_atomic_write(mr_atomic *file, const void *data, idx bytes, mr_err *err);

/* Overwrites bytes written before, for headers whose numbers are known late; the end does not
 * move. */
mr_status mr_atomic_patch(mr_atomic *file, idx offset, const void *data, idx bytes, mr_err *err);

/* Moves bytes that were written up to a higher offset, past the end if need be; what lay there is
 * gone. */
mr_status mr_atomic_move(mr_atomic *file, idx offset, idx bytes, idx to, mr_err *err);

/* fsync, close, rename, fsync of the folder. The file is {0} afterwards, whatever happens. On
 * failure the temporary file is gone and PATH is what it was, with one exception that the
 * message names: the flush of the folder failed after the rename. */
mr_status mr_atomic_commit(mr_atomic *file, mr_err *err);

/* Closes and removes the temporary file; PATH is what it was. Fine on {0} and after commit. */
void mr_atomic_abandon(mr_atomic *file);

#endif
