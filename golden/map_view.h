/* A view: the elements of one tensor of a port, in the order and shape of one of ours. Knows
 * numbers and places, not names. */
#ifndef MR_GOLDEN_MAP_VIEW_H
#define MR_GOLDEN_MAP_VIEW_H

#include "ref/base.h"

#define MR_VIEW_FACTORS 16

/* One factor of the walk: `size` steps of `stride` source elements, or the offsets at[0..size). */
typedef struct {
    idx        size, stride;
    const idx *at;            /* NULL: i * stride. Belongs to whoever made the view */
} mr_view_factor;

/* Element i of the view is scale * source[offset + sum of the factors' offsets], the last factor
 * fastest; axes are products of neighbouring factors. With `pick` the source is pick[i], and -1
 * stands for `fill`. */
typedef struct {
    idx            source;    /* number of the tensor in the port's trace, -1: none */
    idx            offset;
    double         scale;
    int            n;         /* factors, none of size 1 */
    mr_view_factor factor[MR_VIEW_FACTORS];
    int            rank;
    idx            dim[MR_MAX_RANK];
    const idx     *pick;
    double         fill;
} mr_view;

/* All of a tensor, in its own order. */
mr_view mr_view_whole(idx source, int rank, const idx *dim);

/* Steps. False: the shapes do not go together (sizes, or a boundary inside a factor). */
bool mr_view_reshape(mr_view *view, int rank, const idx *dim);     /* one dim may be -1: the rest */
bool mr_view_permute(mr_view *view, const int *axes);              /* axis i becomes old axes[i] */
bool mr_view_slice(mr_view *view, int axis, idx start, idx stop, idx step);

idx  mr_view_count(const mr_view *view);
idx  mr_view_place(const mr_view *view, idx i);      /* of element i in the source, -1: fill */
void mr_view_read(const mr_view *view, const double *source, double *out);
bool mr_view_same(const mr_view *a, const mr_view *b);   /* the same elements in the same order */
bool mr_view_is_plain(const mr_view *view);          /* the source as it is, perhaps reshaped */

#endif
