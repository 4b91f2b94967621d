/* Supervised fine-tuning: cross-entropy of the scored tokens, (X1), (X5).
 *   L = sum over rows of -weight[t] log p(target[t]),  dL/dlog p = -weight[t] */
#include "cli/train.h"

static mr_status call(mr_trainer *t, const mr_packed *c, bool train, double *loss, double *metric,
                      mr_err *err) {
    (void)metric;
    (void)err;
    for (idx row = 0; row < c->rows; row++) {
        if (c->targets[row] < 0) continue;
        *loss -= c->weight[row] * mr_run_log_probability(t->run, row, c->targets[row]);
        if (train)
            mr_run_log_probability_backward(t->run, row, c->targets[row], -c->weight[row]);
    }
    return MR_OK;
}

const mr_objective mr_objective_sft = {.name = "sft", .sequences = 1, .call = call};
