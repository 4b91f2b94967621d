/* All parameters of a model as one flat array: what gradients, optimiser moments and f32 master
 * weights are.
 * Order: tok_embeddings, norm, output, then layer by layer attention_norm, wq, wk, wv, wo,
 * ffn_norm, gate, and w1, w2, w3 of each expert (ref/weights.def; the names of this order:
 * weights/names.h). A tied head is the embedding itself and is counted once. */
#ifndef MR_REF_PARAMS_H
#define MR_REF_PARAMS_H

#include "ref/model.h"

/* Elements of all parameters. */
idx mr_params_count(const mr_model *model);

/* A model of the same shape whose matrices lie row-major, one after the other, in `memory`
 * [mr_params_count elements of dtype, F32 or F64]. It owns its table of layers only;
 * mr_params_free takes that. qk_rows stay what they are in `model`. */
mr_status mr_params_like(mr_model *out, const mr_model *model, mr_dtype dtype, void *memory,
                         mr_err *err);
void      mr_params_free(mr_model *params);

/* Every parameter of `from`, in any dtype and layout, widened into `out` of mr_params_like. */
void mr_params_copy(const mr_model *out, const mr_model *from);

/* True when `params` has the parameters of `model`, row-major in `dtype`. */
bool mr_params_fit(const mr_model *params, const mr_model *model, mr_dtype dtype);

#endif
