/* One layer's attention, to be tried with any set of keys. Private to golden/paths_keys*.c. */
#ifndef MR_GOLDEN_PATHS_KEYS_STATE_H
#define MR_GOLDEN_PATHS_KEYS_STATE_H

#include "golden/paths_keys.h"

typedef struct {
    const mr_config     *c;
    const mr_meta       *meta;
    const mr_arithmetic *a;
    mr_bounded           q, k, v, scores, o;
    double              *found;       /* attention [T,H,D] */
    mr_recording         file;        /* what its element type added */
    idx                 *keys, *other;   /* [T] */
    double              *matrix;      /* [T,T] */
    mr_err              *err;
} mr_key_search;

/* Largest error / bound of the row when it sees these n keys; > 1: it does not. */
double mr_key_fit(mr_key_search *s, idx t, const idx *keys, idx n);

/* Keys of the row solved for among `from` up to `to`; returns their number, 0: cannot be told.
 *   o_h = sum_j x_j e^{s_hj} v_hj / sum_j x_j e^{s_hj}, x_j = 1 where key j is seen, so that
 *   sum_j x_j e^{s_hj} (v_hj - o_h) = 0 in every head and channel: x spans the null space. */
idx mr_key_solve(mr_key_search *s, idx t, idx from, idx to, idx *keys);

#endif
