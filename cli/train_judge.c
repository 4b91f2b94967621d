/* A frozen model beside the trained one: the reference, or a reward model. */
#include "cli/train.h"

#include <string.h>

/* Rows of a call go to the judge as they went to the policy, so that equal weights give equal
 * bits. */
mr_status mr_judge_open(mr_judge *j, const char *folder, const mr_model *model,
                        const mr_trainer *t, mr_err *err) {
    mr_room room;
    mr_run_options o = t->set.run;
    *j = (mr_judge){.model = model};
    if (folder != NULL) {
        if (mr_checkpoint_open(folder, &j->own, err)) return MR_BAD;
        j->own.model.config.rope_angles = t->policy.config.rope_angles;
        j->model = &j->own.model;
    }
    if (j->model->config.vocab_size != t->policy.config.vocab_size)
        return mr_fail(err, MR_BAD, "%s: has %td ids and the trained model %td; both must share "
                       "one vocabulary", folder, j->model->config.vocab_size,
                       t->policy.config.vocab_size);
    if (mr_train_room(t, &room, err) || mr_room_options(&room, &o, err)) return MR_BAD;
    const mr_status status = mr_run_open(j->model, &o, &j->run, err);
    mr_free((idx *)o.capacity);
    j->sequences = room.sequences;
    return status;
}

mr_status mr_judge_forward(mr_judge *j, const mr_packed *call, mr_err *err) {
    for (idx b = 0; b < j->sequences; b++) mr_run_reset(j->run, b, 0);
    return mr_run_forward(j->run, call->tokens, call->length, err);
}

void mr_judge_close(mr_judge *j) {
    mr_run_close(j->run);
    mr_checkpoint_close(&j->own);
    *j = (mr_judge){0};
}
