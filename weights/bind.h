/* Where a layout keeps a parameter: the tensor's name and shape, and the view of it that is the
 * parameter. */
#ifndef MR_WEIGHTS_BIND_H
#define MR_WEIGHTS_BIND_H

#include "weights/names.h"

/* How a checkpoint names its tensors, and how it stores experts. */
typedef struct {
    mr_layout names;
    enum {
        MR_EXPERTS_SINGLE,    /* a tensor per expert and matrix */
        MR_EXPERTS_FUSED,     /* Transformers 5: [E,2F,d] gate above up, and [E,d,F] */
        MR_EXPERTS_STACKED    /* first Mixtral release: three of [E*F,d], w2 transposed */
    } experts;
} mr_storage_layout;

/* Recognised by tensor names, never by file names. MR_BAD when names of both kinds or of none are
 * there. */
mr_status mr_layout_find(const mr_tensors *set, mr_storage_layout *layout, mr_err *err);

typedef struct {
    char name[MR_NAME_SIZE];
    int  rank;                          /* of the tensor in the file */
    idx  dim[3];
    idx  start, row_stride, col_stride; /* of the view, in elements */
} mr_place;

mr_place mr_place_of(mr_storage_layout layout, const mr_config *config, mr_param param);

#endif
