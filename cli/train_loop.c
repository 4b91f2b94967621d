/* The steps of a training run, with validations, samples and saves between them. */
#define _POSIX_C_SOURCE 200809L

#include "cli/train.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Set by Ctrl-C or a request to end: the step is finished, saved, and the run stops. */
static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number) { asked_to_stop = number; }

static void catch_signals(void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;   /* what is being written is written to its end */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool every(int64_t step, int64_t n) { return n > 0 && step % n == 0; }

/* The best model so far is what --patience keeps on disk. */
static mr_status compare(mr_trainer *t, mr_err *err) {
    const double loss = t->log[(t->at.step - 1) * MR_LOG_COLUMNS + MR_LOG_VALID];
    t->at.waited++;
    if (!(loss < t->at.best)) return MR_OK;
    t->at.best = loss;
    t->at.waited = 0;
    return t->set.patience > 0 ? mr_train_save_model(t, err) : MR_OK;
}

static mr_status look(mr_trainer *t, bool last, mr_text *sample, mr_err *err) {
    const bool now = last || every(t->at.step, t->set.valid_every);
    if (now && t->valid.count > 0 && (mr_train_validate(t, err) || compare(t, err)))
        return err->code;
    return now && t->set.sample != NULL ? mr_train_sample(t, sample, err) : MR_OK;
}

/* Why there is nothing to do, or NULL. */
static const char *finished(const mr_trainer *t) {
    if (t->set.patience > 0 && t->at.waited >= t->set.patience)
        return "the validation loss no longer falls";
    return t->at.step >= t->set.steps ? "all steps done" : NULL;
}

/* One step and what comes after it; *why is set when it was the last. */
static mr_status advance(mr_trainer *t, mr_train_report *report, const char **why, mr_err *err) {
    mr_text sample = {0};
    mr_status status = mr_train_step(t, err);
    if (status != MR_OK) return status;
    status = look(t, t->at.step >= t->set.steps, &sample, err);
    *why = asked_to_stop ? "interrupted" : finished(t);
    if (status == MR_OK) status = mr_train_report_step(report, t, &sample, err);
    mr_text_free(&sample);
    if (status == MR_OK && (*why != NULL || every(t->at.step, t->set.save_every)))
        status = mr_train_save(t, err);
    return status;
}

/* A number that is not finite: what was good stays on disk, or is put there. In the middle of
 * ppo's updates it is no longer the state after a step. */
static mr_status stop_at_nan(mr_trainer *t, mr_err *err) {
    const bool saved = every(t->at.step, t->set.save_every);
    const bool ppo = t->set.task == MR_TRAIN_RL && t->set.method == MR_RL_PPO;
    const mr_err first = *err;
    *err = (mr_err){0};
    if (t->at.step == 0) return mr_fail(err, MR_DISAGREE, "%s. Nothing was saved", first.text);
    if (ppo || (!saved && mr_train_save(t, err)))
        return mr_fail(err, MR_DISAGREE, "%s. What %s holds is older", first.text, t->set.output);
    return mr_fail(err, MR_DISAGREE, "%s. The state after step %lld is in %s", first.text,
                   (long long)t->at.step, t->set.output);
}

/* A run that was killed while it saved its last step has only that left to do. */
mr_status mr_train_loop(mr_trainer *t, mr_err *err) {
    const char *why = finished(t);
    mr_train_report report;
    mr_train_report_begin(&report, t);
    catch_signals(on_signal);
    mr_status status = why != NULL ? mr_train_save(t, err) : MR_OK;
    while (status == MR_OK && why == NULL) status = advance(t, &report, &why, err);
    if (status == MR_DISAGREE) status = stop_at_nan(t, err);
    const mr_status told = mr_train_report_end(&report, t, status == MR_OK ? why : NULL, err);
    catch_signals(SIG_DFL);
    if (status != MR_OK) return status;
    if (asked_to_stop) {
        fprintf(stderr, "mistral-ref: stopped after step %lld, saved in %s; go on with --resume "
                "%s\n", (long long)t->at.step, t->set.output, t->set.output);
        fflush(stdout);
        raise(asked_to_stop);   /* the shell sees what ended the program */
    }
    return told;
}
