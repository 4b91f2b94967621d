/* Reward model: Bradley-Terry on the rewards of two answers, (P3), read at each sequence's last
 * token. */
#include "cli/train.h"

enum { CHOSEN, REJECTED, ACCURACY, MARGIN };

static double reward(const mr_run *run, const mr_packed *c, idx b) {
    double r;
    mr_run_logits(run, mr_score_row(c->length, b), &r);
    return r;
}

static mr_status call(mr_trainer *t, const mr_packed *c, bool train, double *loss, double *metric,
                      mr_err *err) {
    (void)err;
    for (idx i = 0; i < c->examples; i++) {
        const idx w = 2 * i, l = w + 1;
        const double r_w = reward(t->run, c, w), r_l = reward(t->run, c, l);
        const mr_pair_loss pair = mr_bradley_terry(r_w, r_l, c->example[i]->margin,
                                                   t->set.centring);
        *loss += c->share * pair.loss;
        metric[CHOSEN] += c->share * r_w;
        metric[REJECTED] += c->share * r_l;
        metric[ACCURACY] += r_w > r_l ? c->share : 0;
        metric[MARGIN] += c->share * (r_w - r_l);
        if (!train) continue;
        mr_run_logit_backward(t->run, mr_score_row(c->length, w), 0, c->share * pair.d_chosen);
        mr_run_logit_backward(t->run, mr_score_row(c->length, l), 0, c->share * pair.d_rejected);
    }
    return MR_OK;
}

const mr_objective mr_objective_reward = {
    .name = "reward", .sequences = 2, .call = call,
    .metric = {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"}};
