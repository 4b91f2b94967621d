/* .npz archives (zip of .npy) over zlib: a reader that trusts nothing, a writer that streams.
 * Format: docs/FORMATS.md. npy has no bf16 and no fp8: member NAME.bf16.npy of dtype <u2 is
 * read and written as tensor NAME of dtype BF16, NAME.f8_e4m3.npy and NAME.f8_e5m2.npy of |u1 as
 * F8_E4M3 and F8_E5M2. */
#ifndef MR_GOLDEN_NPZ_H
#define MR_GOLDEN_NPZ_H

#include "ref/base.h"

typedef struct mr_npz mr_npz;

/* Opens an archive and reads the directory and every member's npy header, not the data. */
mr_status mr_npz_open(const char *path, mr_npz **out, mr_err *err);
void      mr_npz_close(mr_npz *npz);
idx       mr_npz_count(const mr_npz *npz);
/* Name, dtype and shape of member i (data NULL), in archive order. */
const mr_tensor *mr_npz_tensor(const mr_npz *npz, idx i);
idx       mr_npz_find(const mr_npz *npz, const char *name);   /* -1 when absent */
/* Inflates the data of member i into `data` (mr_count * mr_dtype_size bytes), checking length
 * and CRC. */
mr_status mr_npz_read(mr_npz *npz, idx i, void *data, mr_err *err);

typedef struct mr_npz_writer mr_npz_writer;

/* Creates PATH through a temporary file beside it. Members are deflated and streamed: memory
 * does not grow with the archive; zip64 records are written when sizes or offsets need them.
 * Timestamps are fixed, so equal tensors give equal files. */
mr_status mr_npz_create(const char *path, mr_npz_writer **out, mr_err *err);
mr_status mr_npz_add(mr_npz_writer *writer, const mr_tensor *tensor, mr_err *err);
/* Writes the directory, fsync, rename to PATH. Frees the writer whatever happens; on failure
 * PATH is untouched. */
mr_status mr_npz_finish(mr_npz_writer *writer, mr_err *err);
/* Gives up: removes the temporary file. NULL is fine. */
void      mr_npz_abandon(mr_npz_writer *writer);

#endif
