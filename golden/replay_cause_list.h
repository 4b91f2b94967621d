/* The hypotheses: changed models, and which operations each can change first. Private. */
#ifndef MR_GOLDEN_REPLAY_CAUSE_LIST_H
#define MR_GOLDEN_REPLAY_CAUSE_LIST_H

#include <stdio.h>

#include "golden/replay_verify.h"

/* Operations a hypothesis acts on first: letters n norm, k keys, r rotation, a attention, o output
 * projection, h residual, f feed-forward, c router, g gate weights, l logits, w weights. */
typedef struct {
    mr_fault list[400];
    char     acts[400];
    idx      count;
} mr_hypotheses;

/* The next hypothesis: the model as it is, to be changed and named. */
mr_fault *mr_suppose(mr_hypotheses *h, const mr_config *config, char acts);

void mr_suppose_masks(mr_hypotheses *h, const mr_config *c, const mr_meta *meta);
void mr_suppose_rotations(mr_hypotheses *h, const mr_model *model, const mr_meta *meta);
void mr_suppose_attention(mr_hypotheses *h, const mr_config *c, const mr_meta *meta);
void mr_suppose_rest(mr_hypotheses *h, const mr_model *model, const mr_meta *meta);

#endif
