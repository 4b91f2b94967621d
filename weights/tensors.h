/* A set of named tensors: what a file holds, what a formula makes, what a writer saves. */
#ifndef MR_WEIGHTS_TENSORS_H
#define MR_WEIGHTS_TENSORS_H

#include "ref/base.h"

/* `source` names the file (or formula) in messages. `tensor` is sorted by name (strcmp), names are
 * unique. */
typedef struct {
    char      *source;
    idx        count;
    mr_tensor *tensor;
    void      *owner;                 /* what holds names and data: maps or heap blocks */
    void     (*release)(void *owner);
} mr_tensors;

/* The tensor of that name, or NULL. O(log n). */
const mr_tensor *mr_tensors_find(const mr_tensors *set, const char *name);

/* Releases everything; the set is {0} afterwards. Fine on {0}. */
void mr_tensors_close(mr_tensors *set);

#endif
