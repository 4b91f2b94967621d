/* A sorted set of named tensors: find by bisection, release through its owner. */
#include "weights/tensors.h"

#include <string.h>

const mr_tensor *mr_tensors_find(const mr_tensors *set, const char *name) {
    idx low = 0, high = set->count;             /* the name, if present, is in [low, high) */
    while (low < high) {
        idx middle = low + (high - low) / 2;
        int order = strcmp(set->tensor[middle].name, name);
        if (order == 0) return &set->tensor[middle];
        if (order < 0) low = middle + 1;
        else           high = middle;
    }
    return NULL;
}

void mr_tensors_close(mr_tensors *set) {
    if (set->release != NULL) set->release(set->owner);
    mr_free(set->tensor);
    mr_free(set->source);
    *set = (mr_tensors){0};
}
