/* From multi-head to grouped-query attention. */
#ifndef MR_REF_GQA_H
#define MR_REF_GQA_H

#include "ref/model.h"

/* (A3) the mean projection of each group of heads
 *                                            out: [kv_heads*D, cols]  W: [heads*D, cols] (wk or wv)
 * heads is a multiple of kv_heads; all heads share one rotary layout. */
void mr_gqa_mean(double *out, const mr_matrix *W, idx heads, idx kv_heads, idx D);

#endif
