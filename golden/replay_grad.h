/* The gradient part of a trace: a loss, its derivative by every intermediate tensor and by every
 * parameter. */
#ifndef MR_GOLDEN_REPLAY_GRAD_H
#define MR_GOLDEN_REPLAY_GRAD_H

#include "ref/model.h"
#include "ref/run.h"

/* After mr_run_forward of a run with options.train: shows loss.cross_entropy, the mean over all
 * next tokens of all sequences, or for a reward model loss.reward, the mean score of their last
 * tokens; loss.router when `router` is true; then carries the sum back. The run shows grad.TENSOR
 * to its own tap; grad.PARAMETER follows here, under the native name, rows of wq and wk in the
 * order of config.rope_layout. dtype: of the run. */
mr_status mr_replay_grad(mr_run *run, const mr_model *model, mr_dtype dtype, const int32_t *tokens,
                         const idx *length, idx n_seqs, bool router, mr_tap tap, void *user,
                         mr_err *err);

#endif
