/* The parameters of a model as views into memory that somebody else owns (usually a mapped
 * file). */
#ifndef MR_REF_MODEL_H
#define MR_REF_MODEL_H

#include "ref/base.h"
#include "ref/config.h"

/* W[rows][cols] as the equation y = W x sees it; element (r,c) is data[r*row_stride +
 * c*col_stride] in `dtype`, which is one of F64, F32, F16, BF16. `data` may be unaligned. Vectors
 * have one row. Strides are in elements:
 * a transposed or fused file layout is a view, never a copy. */
typedef struct {
    const void *data;
    mr_dtype    dtype;
    idx         rows, cols, row_stride, col_stride;
} mr_matrix;

/* One SwiGLU block: w1 gate [F,d], w2 down [d,F], w3 up [F,d]. */
typedef struct {
    mr_matrix w1, w2, w3;
} mr_ffn;

typedef struct {
    mr_matrix attention_norm, wq, wk, wv, wo, ffn_norm;
    mr_matrix gate;   /* router [E,d]; data NULL in a dense model */
    mr_ffn   *ffn;    /* one block, or E experts */
} mr_layer;

typedef struct {
    mr_config      config;
    /* row order of wq and wk as stored: native files interleaved, Hugging Face half-split */
    mr_rope_layout qk_rows;
    mr_matrix      tok_embeddings, norm, output;
    mr_layer      *layers;    /* [L] */
} mr_model;

#endif
