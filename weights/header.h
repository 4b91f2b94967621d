/* The pieces that reading safetensors is made of: a mapped file, and the header's rules on any
 * memory. */
#ifndef MR_WEIGHTS_HEADER_H
#define MR_WEIGHTS_HEADER_H

#include "weights/tensors.h"

/* The limits on a file, all checked before anything is allocated for it. */
#define MR_MAX_HEADER  ((idx)100000000)   /* bytes */
#define MR_MAX_TENSORS ((idx)1000000)
#define MR_MAX_NAME    ((idx)4096)        /* bytes */

/* A whole file mapped read-only; {0} maps nothing. An empty file maps to NULL and 0 bytes. */
typedef struct {
    const unsigned char *data;
    idx                  bytes;
} mr_map;

mr_status mr_map_open(mr_map *map, const char *path, mr_err *err);
void      mr_map_close(mr_map *map);

/* What a header says. `tensor` is sorted by name; names point into `names`, data into the file. */
typedef struct {
    idx        count;
    mr_tensor *tensor;
    char      *names;
} mr_header;

/* Checks a whole safetensors file of `size` bytes in memory against every rule of the format. */
mr_status mr_header_read(const char *path, const unsigned char *bytes, idx size, mr_header *out,
                         mr_err *err);
void      mr_header_free(mr_header *header);

/* True for names that would garble a message: control characters. */
bool mr_name_hostile(const char *name);

/* qsort order of mr_tensor by name. */
int mr_tensor_by_name(const void *a, const void *b);

#endif
