/* Direct preference optimisation, (P6): the policy's answers against the frozen reference's. */
#include "cli/train.h"

enum { CHOSEN, REJECTED, ACCURACY, MARGIN, LOGP_CHOSEN, LOGP_REJECTED };

static mr_status open_reference(mr_trainer *t, mr_err *err) {
    mr_judge *j = mr_alloc(1, sizeof *j, err);
    t->own = j;
    if (j == NULL) return MR_BAD;
    if (t->set.dpo.reference_free) return MR_OK;
    return mr_judge_open(j, t->set.reference, &t->source.model, t, err);
}

static void close_reference(mr_trainer *t) {
    if (t->own != NULL) mr_judge_close(t->own);
    mr_free(t->own);
    t->own = NULL;
}

/* The reference never changes, so each pair asks it once. */
static mr_status ask_reference(mr_trainer *t, const mr_packed *c, mr_err *err) {
    mr_judge *j = t->own;
    bool known = true;
    idx scored;
    for (idx i = 0; i < c->examples; i++) {
        double *r = c->example[i]->reference;
        if (t->set.dpo.reference_free) r[0] = r[1] = 0;
        known = known && !isnan(r[0]);
    }
    if (known) return MR_OK;
    if (mr_judge_forward(j, c, err)) return err->code;
    for (idx i = 0; i < c->examples; i++)
        for (idx n = 0; n < 2; n++)
            c->example[i]->reference[n] = mr_answer_log_probability(j->run, c, 2 * i + n, &scored);
    return MR_OK;
}

static void seed(mr_trainer *t, const mr_packed *c, idx b, double slope) {
    idx row = 0;
    for (idx i = 0; i < b; i++) row += c->length[i];
    for (idx n = 0; n < c->length[b]; n++, row++)
        if (c->targets[row] >= 0)
            mr_run_log_probability_backward(t->run, row, c->targets[row], slope);
}

static mr_status call(mr_trainer *t, const mr_packed *c, bool train, double *loss, double *metric,
                      mr_err *err) {
    if (ask_reference(t, c, err)) return err->code;
    for (idx i = 0; i < c->examples; i++) {
        const idx w = 2 * i, l = w + 1;
        mr_dpo_pair pair = {.ref_chosen = c->example[i]->reference[0],
                            .ref_rejected = c->example[i]->reference[1]};
        pair.chosen = mr_answer_log_probability(t->run, c, w, &pair.n_chosen);
        pair.rejected = mr_answer_log_probability(t->run, c, l, &pair.n_rejected);
        const mr_dpo_result r = mr_dpo(&pair, &t->set.dpo);
        *loss += c->share * r.loss;
        metric[CHOSEN] += c->share * r.reward_chosen;
        metric[REJECTED] += c->share * r.reward_rejected;
        metric[ACCURACY] += r.reward_chosen > r.reward_rejected ? c->share : 0;
        metric[MARGIN] += c->share * (r.reward_chosen - r.reward_rejected);
        metric[LOGP_CHOSEN] += c->share * pair.chosen;
        metric[LOGP_REJECTED] += c->share * pair.rejected;
        if (!train) continue;
        seed(t, c, w, c->share * r.d_chosen);
        seed(t, c, l, c->share * r.d_rejected);
    }
    return MR_OK;
}

const mr_objective mr_objective_dpo = {
    .name = "dpo", .sequences = 2, .call = call, .open = open_reference, .close = close_reference,
    .metric = {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins",
               "logps/chosen", "logps/rejected"}};
