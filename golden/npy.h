/* The header of a .npy array: a Python dictionary, read by a fixed grammar and never evaluated. */
#ifndef MR_GOLDEN_NPY_H
#define MR_GOLDEN_NPY_H

#include "ref/base.h"

#define MR_NPY_FIRST  12      /* enough bytes of a file to know the length of its header */
#define MR_NPY_LIMIT  65536   /* longest header accepted, magic included */
#define MR_NPY_FORMAT 512     /* room for any header that mr_npy_format writes */

/* Length of the whole header (magic, version, length, dictionary) from its first 12 bytes.
 * `what` names the array in messages. */
mr_status mr_npy_length(const unsigned char *first, const char *what, idx *length, mr_err *err);

/* Fills dtype, rank and dim of *tensor from a whole header; their product is proved not to
 * overflow, also in bytes. Booleans ('|b1') are U8, <u2 is U16: the type bf16 is a matter of
 * names (npz.h). */
mr_status mr_npy_parse(const unsigned char *header, idx length, const char *what, mr_tensor *tensor,
                       mr_err *err);

/* Writes the header of the tensor, version 1.0, a multiple of 64 bytes; returns its length. BF16
 * is written as <u2. Rank and dimensions must be valid. */
idx mr_npy_format(const mr_tensor *tensor, unsigned char header[MR_NPY_FORMAT]);

#endif
