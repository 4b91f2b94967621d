/* Input and output that fail: every command of tests/io/commands.h is run with its n-th system
 * call failing, n = 1, 2, ..., once with that call alone and once with all later ones too; with
 * short transfers and interrupted calls; with a full device as standard output; and training is
 * killed at every call (tests/io/kill.c).
 *   io [kill | COMMAND...]   numbers of the table; default all
 * A failure is one message, a documented status and nothing written over that was good: each file
 * is the old or the new one, and no partial file is there. Short and interrupted transfers change
 * nothing. */
#define _GNU_SOURCE   /* mkdtemp */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ref/base.h"
#include "tests/inside.h"
#include "tests/io/commands.h"
#include "tests/io/files.h"
#include "tests/io/kill.h"
#include "tests/io/run.h"

#define BIT(kind) (1u << (kind))
#define WRITING (BIT(CALL_CREATE) | BIT(CALL_WRITE) | BIT(CALL_SYNC) | BIT(CALL_RENAME) | \
                 BIT(CALL_FOLDER) | BIT(CALL_CLOSE))
#define MOVING (BIT(CALL_READ) | BIT(CALL_WRITE))
#define WAITING (MOVING | BIT(CALL_OPEN) | BIT(CALL_CREATE) | BIT(CALL_CLOSE) | BIT(CALL_SYNC))

/* Soft ones must change nothing: alone at call n, and all along. */
static const struct {
    const char *name;
    fault_plan  plan;
    bool        soft;
} faults[] = {
    {"EIO", {FAULT_ERROR, EIO, ALL_CALLS, 0, false, 0}, false},
    {"ENOSPC", {FAULT_ERROR, ENOSPC, WRITING, 0, false, 0}, false},
    {"EMFILE", {FAULT_ERROR, EMFILE, BIT(CALL_OPEN) | BIT(CALL_CREATE) | BIT(CALL_LIST), 0, false,
                0}, false},
    {"EINTR", {FAULT_ERROR, EINTR, WAITING, 0, false, 0}, true},
    {"short", {FAULT_SHORT, 0, MOVING, 0, false, 0}, true},
};
enum { FAULTS = sizeof faults / sizeof *faults };

typedef struct {
    const io_command *command;
    outcome           clean;
    files             old, new;
    long              count;
    unsigned char     kind[CALLS];
    long              points, broken;
} state;

/* NULL, or what is wrong. Interrupted writes to standard output are stdio's to lose: a clean
 * failure. */
static const char *judge(const state *s, const outcome *r, const fault_plan *plan, bool soft,
                         const char **strange) {
    const bool done = r->status == s->clean.status && r->bytes == s->clean.bytes &&
                      memcmp(r->text, s->clean.text, r->bytes) == 0;
    const bool looked = s->kind[plan->at] == CALL_LOOK;   /* the next call on that path tells */
    *strange = files_judge(&s->old, &s->new, done, fault_seen->left);
    if (r->status >= 64) return "crashed";
    if (r->status > MR_PROVES_NOTHING) return "status is not documented";
    if (r->open != 0) return "files are left open";
    if (*strange != NULL) return "a file is lost, partial or unknown";
    if (done) return NULL;
    if (r->status == s->clean.status || r->status < MR_USAGE)   /* something optional is missing */
        return strstr(r->message, strerror(plan->error)) != NULL ? NULL : "another result";
    if (messages(r->message) != 1) return "not exactly one message";
    if (soft && !(plan->error == EINTR && fault_seen->fd_1 > 0)) return "a failure";
    if (looked || strstr(r->message, "standard output") != NULL) return NULL;
    return strstr(r->message, strerror(plan->error)) != NULL ? NULL : "the message has no reason";
}

static void one(state *s, const fault_plan *plan, const char *name, bool soft) {
    const char *strange;
    files_put(&s->old);
    outcome r = io_run(s->command->run, NULL, plan);
    const char *what = judge(s, &r, plan, soft, &strange);
    s->points++;
    if (what != NULL && ++s->broken <= 30)
        printf("%d %s: call %ld (kind %d)%s %s: %s (status %d) %s %s\n",
               (int)(s->command - commands), s->command->run, plan->at,
               s->kind[plan->at], plan->later ? " and later" : "", name,
               what, r.status, strange != NULL ? strange : "", r.message);
    free(r.text);
}

/* The old files, and what an untouched run makes of them. */
static bool prepare(state *s) {
    char shell[2048] = "", *at = shell;
    files_put(&s->old);
    for (const char *c = s->command->shell; c != NULL && *c != '\0'; c++)
        if (*c == '@') at += sprintf(at, "%s", outputs);
        else *at++ = *c, *at = '\0';
    bool good = *shell == '\0' || system(shell) == 0;
    if (good && s->command->before != NULL) {
        outcome r = io_run(s->command->before, NULL, &(fault_plan){0});
        good = r.status == MR_OK || r.status == MR_PROVES_NOTHING;
        free(r.text);
    }
    files_take(&s->old);
    s->clean = io_run(s->command->run, NULL, &(fault_plan){0});
    files_take(&s->new);
    s->count = fault_seen->count;
    memcpy(s->kind, fault_seen->kind, sizeof s->kind);
    good = good && s->clean.status <= MR_PROVES_NOTHING && s->clean.status != MR_USAGE &&
           s->clean.status != MR_BAD && s->clean.status != MR_MISSING && s->clean.open == 0 &&
           s->count < CALLS && !fault_seen->unsynced;
    if (!good) printf("%s: untouched: status %d, %ld calls, %d open%s: %s\n", s->command->run,
                      s->clean.status, s->count, s->clean.open,
                      fault_seen->unsynced ? ", a file is not flushed" : "", s->clean.message);
    return good;
}

/* A device that is full: the untouched run says so, if it prints anything. */
static void full_output(state *s) {
    files_put(&s->old);
    outcome r = io_run(s->command->run, "/dev/full", &(fault_plan){0});
    const bool good = s->clean.bytes == 0 ? r.status == s->clean.status
                                          : r.status == MR_BAD && messages(r.message) == 1;
    s->points++;
    if (!good && ++s->broken > 0)
        printf("%s: standard output is full: status %d: %s\n", s->command->run, r.status,
               r.message);
    free(r.text);
}

static void loop(int number, long *points, long *broken) {
    static state s;
    s = (state){.command = &commands[number]};
    if (!prepare(&s)) s.broken++;
    for (long n = 1; n <= s.count; n++)
        for (int f = 0; f < FAULTS; f++) {
            fault_plan plan = faults[f].plan;
            plan.at = n;
            if ((plan.kinds >> s.kind[n] & 1) == 0) continue;
            one(&s, &plan, faults[f].name, faults[f].soft);
            plan.later = true;
            if (!faults[f].soft) one(&s, &plan, faults[f].name, false);
        }
    for (int f = 0; f < FAULTS; f++) {
        fault_plan plan = faults[f].plan;
        plan.later = true;
        plan.at = 1;
        if (faults[f].soft) one(&s, &plan, faults[f].name, true);
    }
    full_output(&s);
    printf("%6ld points, %ld calls: %.80s\n", s.points, s.count, s.command->run);
    *points += s.points;
    *broken += s.broken;
    files_free(&s.old);
    files_free(&s.new);
    files_put(&s.old);
    free(s.clean.text);
}

int main(int argc, char **argv) {
    long points = 0, broken = 0;
    const char *base = getenv("TMPDIR");
    fault_seen = mmap(NULL, sizeof *fault_seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0);
    snprintf(outputs, sizeof outputs, "%s/mistral-ref-io-XXXXXX", base != NULL ? base : "/tmp");
    if (fault_seen == MAP_FAILED || mkdtemp(outputs) == NULL) return 1;
    const bool kills = argc > 1 && strcmp(argv[1], "kill") == 0;
    if (argc > 1 && !kills)
        for (int i = 1; i < argc; i++) loop(atoi(argv[i]) % COMMANDS, &points, &broken);
    else
        for (int i = 0; i < COMMANDS && !kills; i++) loop(i, &points, &broken);
    if (argc == 1 || kills) broken += io_kills();
    rmdir(outputs);
    if (!kills) printf("%ld points, %ld broken\n", points, broken);
    return broken > 0;
}
