/* Status codes, the error message, sizes and the tensor view: the only header that every folder
 * may include.
 * Nothing here allocates, prints or opens a file. */
#ifndef MR_REF_BASE_H
#define MR_REF_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_VERSION "0.1.0"

/* Sizes, offsets and positions. Signed, so that differences of positions are plain arithmetic. */
typedef ptrdiff_t idx;
#define MR_IDX_MAX PTRDIFF_MAX

/* The status of a call is also the exit status of the program (docs/FORMATS.md). */
typedef enum {
    MR_OK = 0,
    MR_DISAGREE = 1,       /* numbers disagree */
    MR_USAGE = 2,          /* wrong arguments */
    MR_BAD = 3,            /* bad file, bad shape, or more memory asked for than there is */
    MR_MISSING = 4,        /* a tensor is missing */
    MR_PROVES_NOTHING = 5  /* the comparison could not have failed */
} mr_status;

/* Filled by the first thing that goes wrong; what goes wrong as a consequence does not overwrite
 * it.
 * The caller owns it and starts with {0}. Every function that takes one accepts NULL. */
typedef struct {
    mr_status code;
    char text[1024];
} mr_err;

/* Records a failure and returns its code, so that a function can say `return mr_fail(err, MR_BAD,
 * "...")`.
 * The text says file, tensor, expected, found, and what to do, as far as the place knows them;
 * control characters of what it quotes become '?'. */
mr_status mr_fail(mr_err *err, mr_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Element types of files and views. */
typedef enum {
    MR_F64, MR_F32, MR_F16, MR_BF16, MR_I64, MR_I32, MR_U16, MR_U8,
    MR_F8_E4M3, MR_F8_E5M2,   /* in traces only */
    MR_DTYPES
} mr_dtype;

idx         mr_dtype_size(mr_dtype dtype);  /* bytes per element */
/* safetensors' word: "F64", "F32", "F16", "BF16", ... */
const char *mr_dtype_name(mr_dtype dtype);
bool        mr_dtype_parse(const char *name, mr_dtype *dtype);

#define MR_MAX_RANK 8

/* A named, typed, row-major view of memory that somebody else owns. `data` may be unaligned
 * (mapped files). */
typedef struct {
    const char *name;
    mr_dtype    dtype;
    int         rank;
    idx         dim[MR_MAX_RANK];
    const void *data;
} mr_tensor;

/* Checked size arithmetic: false on overflow or a negative operand, and then *out is untouched. */
bool mr_mul(idx a, idx b, idx *out);
bool mr_add(idx a, idx b, idx *out);

/* Number of elements, 1 for rank 0; -1 when the product overflows or a dimension is negative. */
idx mr_count(int rank, const idx *dim);
/* Bytes of its elements; -1 when that overflows. */
idx mr_tensor_bytes(const mr_tensor *tensor);

/* The one allocator of the project: NULL with a message in err when count*size overflows or memory
 * is short.
 * mr_alloc returns zeroed memory; mr_free(NULL) is fine. Sizes in bytes. Tests replace these to
 * inject failures. */
void *mr_alloc(idx count, idx size, mr_err *err);
void *mr_resize(void *old, idx count, idx size, mr_err *err);
void  mr_free(void *memory);

#endif
