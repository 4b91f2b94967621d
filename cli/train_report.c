/* What the user sees of a training run: a bar on a terminal, a line now and then elsewhere, a JSON
 * object per step with --json, and a summary. */
#define _POSIX_C_SOURCE 200809L

#include "cli/train.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR 24            /* characters */
#define TERMINAL_PAUSE 0.1   /* seconds between two drawings of the bar */
#define PLAIN_PAUSE 10.0     /* seconds between two lines elsewhere */

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void mr_train_report_begin(mr_train_report *r, const mr_trainer *t) {
    *r = (mr_train_report){.begun = seconds_now(), .first_step = t->at.step,
                           .first_tokens = t->at.tokens,
                           .terminal = isatty(STDERR_FILENO) != 0};
    r->shown = r->begun;
    fprintf(stderr, "%s: %td examples", t->set.data, t->data.count);
    if (t->data.truncated > 0)
        fprintf(stderr, ", %td sequences cut to %lld tokens", t->data.truncated,
                (long long)t->set.max_length);
    if (t->data.dropped > 0) fprintf(stderr, ", %td too long and dropped", t->data.dropped);
    fprintf(stderr, "; %td parameters; steps %lld to %lld\n", t->parameters,
            (long long)t->at.step + 1, (long long)t->set.steps);
}

/* Name of a column of the log, NULL after the last of training. */
static const char *column_name(const mr_objective *o, idx column) {
    static const char *const common[] = {"loss", "grad_norm", "lr", "tokens", "router_loss",
                                         "valid_loss"};
    idx metrics = 0;
    while (o->metric[metrics] != NULL) metrics++;
    if (column < MR_LOG_METRICS) return common[column];
    if (column < MR_LOG_METRICS + metrics) return o->metric[column - MR_LOG_METRICS];
    return NULL;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static double speed(const mr_train_report *r, const mr_trainer *t) {
    const double seconds = seconds_now() - r->begun;
    return seconds > 0 ? (double)(t->at.tokens - r->first_tokens) / seconds : 0;
}

static mr_status print_json(const mr_train_report *r, const mr_trainer *t, const mr_text *sample,
                            mr_err *err) {
    const double *row = t->log + (t->at.step - 1) * MR_LOG_COLUMNS;
    const mr_objective *o = t->objective;
    json_t *line = json_pack("{s:I}", "step", (json_int_t)t->at.step);
    idx metrics = 0;
    for (idx c = 0; column_name(o, c) != NULL; c++) {
        metrics += c >= MR_LOG_METRICS;
        if (!isfinite(row[c])) continue;
        json_object_set_new(line, column_name(o, c),
                            c == MR_LOG_TOKENS ? json_integer((json_int_t)row[c])
                                               : json_real(row[c]));
    }
    for (idx m = 0; m < metrics; m++) {
        char name[64];
        const double value = row[MR_LOG_METRICS + metrics + m];
        snprintf(name, sizeof name, "valid_%s", o->metric[m]);
        if (isfinite(value)) json_object_set_new(line, name, json_real(value));
    }
    json_object_set_new(line, "tokens_per_second", json_real(speed(r, t)));
    if (sample->count > 0)
        json_object_set_new(line, "sample", json_stringn(sample->byte, (size_t)sample->count));
    const mr_status status = mr_print_json(line, err);
    fflush(stdout);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void clear_line(const mr_train_report *r) {
    if (r->terminal) fprintf(stderr, "\r\033[K");
}

static void print_progress(mr_train_report *r, const mr_trainer *t, bool end) {
    const double *row = t->log + (t->at.step - 1) * MR_LOG_COLUMNS, now = seconds_now();
    const double pause = r->terminal ? TERMINAL_PAUSE : PLAIN_PAUSE;
    const int64_t left = t->set.steps - t->at.step, done = t->at.step - r->first_step;
    if (!end && now - r->shown < pause) return;
    r->shown = now;
    clear_line(r);
    if (r->terminal) {
        const int filled = (int)(BAR * t->at.step / t->set.steps);
        fprintf(stderr, "[%.*s%*s] ", filled, "########################", BAR - filled, "");
    }
    const int seconds = (int)((now - r->begun) / (double)done * (double)left);
    fprintf(stderr, "step %lld/%lld  loss %.4f", (long long)t->at.step, (long long)t->set.steps,
            row[MR_LOG_LOSS]);
    if (isfinite(t->at.best)) fprintf(stderr, "  best valid %.4f", t->at.best);
    fprintf(stderr, "  %.0f tok/s  %d:%02d left", speed(r, t), seconds / 60, seconds % 60);
    if (!r->terminal || end) fputc('\n', stderr);
}

static void print_looks(const mr_train_report *r, const mr_trainer *t, const mr_text *sample) {
    const double *row = t->log + (t->at.step - 1) * MR_LOG_COLUMNS;
    if (isfinite(row[MR_LOG_VALID])) {
        clear_line(r);
        fprintf(stderr, "step %lld: validation loss %.6f\n", (long long)t->at.step,
                row[MR_LOG_VALID]);
    }
    if (sample->count > 0) {
        clear_line(r);
        fprintf(stderr, "step %lld: %s", (long long)t->at.step, t->set.sample);
        fprintf(stderr, " | %.*s\n", (int)sample->count, sample->byte);
    }
}

mr_status mr_train_report_step(mr_train_report *r, const mr_trainer *t, const mr_text *sample,
                               mr_err *err) {
    if (t->set.json) return print_json(r, t, sample, err);
    print_looks(r, t, sample);
    print_progress(r, t, false);
    return MR_OK;
}

/* why NULL: the run ended with a failure, which has its own message. */
mr_status mr_train_report_end(mr_train_report *r, const mr_trainer *t, const char *why,
                              mr_err *err) {
    const double seconds = seconds_now() - r->begun;
    if (t->at.step > r->first_step && !t->set.json) print_progress(r, t, true);
    if (why == NULL) return MR_OK;
    if (!t->set.json) {
        printf("%s: %lld steps, %lld tokens, %.1f seconds", why, (long long)t->at.step,
               (long long)t->at.tokens, seconds);
        if (t->at.step > 0)
            printf(", loss %.6f", t->log[(t->at.step - 1) * MR_LOG_COLUMNS + MR_LOG_LOSS]);
        if (isfinite(t->at.best)) printf(", best validation loss %.6f", t->at.best);
        printf("; model in %s\n", t->set.output);
        return MR_OK;
    }
    return mr_print_json(
        json_pack("{s:{s:s,s:I,s:I,s:I,s:I,s:I,s:f,s:s}}", "summary", "stopped", why, "steps",
                  (json_int_t)t->at.step, "tokens", (json_int_t)t->at.tokens, "examples",
                  (json_int_t)t->data.count, "truncated", (json_int_t)t->data.truncated, "dropped",
                  (json_int_t)t->data.dropped, "seconds", seconds, "model", t->set.output), err);
}
