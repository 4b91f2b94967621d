/* Supervised fine-tuning: cross-entropy of the scored tokens, (X1), (X5).
 *   L = sum over rows of -weight[t] log p(target[t]),  dL/dlog p = -weight[t] */
#include "cli/train.h"

static mr_status call(mr_trainer *t, const mr_packed *c, bool train, double *loss, double *metric,
                      mr_err *err) {
    (void)metric;
    (void)err;
    mr_run_token_losses(t->run, loss, c->targets, c->weight, train);
    return MR_OK;
}

const mr_objective mr_objective_sft = {.name = "sft", .sequences = 1, .call = call};
