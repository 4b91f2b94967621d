/* SIGKILL before every system call of a training run, in the middle of every write, and at moments
 * of time: what is on disk goes on, and ends with the bytes of a run that was left alone. */
#include "tests/io/kill.h"

#include <stdio.h>
#include <stdlib.h>

#include "ref/base.h"
#include "tests/io/files.h"
#include "tests/io/run.h"

#define TIMED 200
#define SFT "--data golden/trajectories/sft.jsonl --batch 1 --save-every 1 --steps 3 "
#define DPO "--data golden/trajectories/dpo.jsonl --batch 1 --save-every 1 --steps 2 "

/* A run, how it goes on, and a command that reads the model it leaves. */
static const struct {
    const char *run, *resume, *read;
} trainings[] = {
    {"train sft golden/cases/mixtral_e5k2 -o @/run " SFT,
     "train sft golden/cases/mixtral_e5k2 --resume @/run " SFT, "logits @/run --tokens 1,5"},
    {"train dpo golden/cases/dense_gqa -o @/run --dtype bf16 --to native " DPO,
     "train dpo golden/cases/dense_gqa --resume @/run --dtype bf16 --to native " DPO,
     "logits @/run --tokens 1,5"},
};

static const char *const parts[] = {"before it", "after 1 byte", "in the middle", "at its end"};

static bool there(const char *name) {
    char path[700];
    snprintf(path, sizeof path, "%s/run/%s", outputs, name);
    FILE *file = fopen(path, "rb");
    if (file != NULL) fclose(file);
    return file != NULL;
}

static bool works(const char *command) {
    outcome r = io_run(command, NULL, &(fault_plan){0});
    if (r.status != MR_OK) printf("%s: status %d: %s\n", command, r.status, r.message);
    free(r.text);
    return r.status == MR_OK;
}

/* What a killed run left can be read, and gone on with to the same end. */
static bool recovers(int t, const files *end) {
    const bool model = there("config.json") || there("params.json");
    if (model && !works(trainings[t].read)) return false;
    if (!works(there("training.state") ? trainings[t].resume : trainings[t].run)) return false;
    const char *strange = files_judge(end, end, true, false);
    if (strange != NULL) printf("%s differs from that of a run left alone\n", strange);
    return strange == NULL;
}

static long at_calls(int t, const files *end, long calls, const unsigned char *kind, long *kills) {
    static const double part[] = {0, 1e-9, 0.5, 1};
    long lost = 0;
    for (long n = 1; n <= calls; n++)
        for (int p = 0; p < (kind[n] == CALL_WRITE ? 4 : 1); p++, ++*kills) {
            const fault_plan plan = {FAULT_KILL, 0, ALL_CALLS, n, false, part[p]};
            files_put(&(files){0});
            outcome r = io_run(trainings[t].run, NULL, &plan);
            free(r.text);
            if (r.status == 128 + 9 && recovers(t, end)) continue;
            lost++;
            printf("killed at call %ld (kind %d), %s: %s\n", n, kind[n], parts[p],
                   trainings[t].run);
        }
    return lost;
}

/* Moments spread over the time of a run, each in a run of its own. */
static long at_times(int t, const files *end, long *kills) {
    long lost = 0, most = 0;
    for (long wait = 1000; most == 0; wait += wait / 4) {
        files_put(&(files){0});
        if (!io_run_for(trainings[t].run, wait)) most = wait;
    }
    for (int i = 0; i < TIMED; i++) {
        files_put(&(files){0});
        *kills += io_run_for(trainings[t].run, most * i / TIMED);
        if (recovers(t, end)) continue;
        lost++;
        printf("killed after %ld microseconds: %s\n", most * i / TIMED, trainings[t].run);
    }
    return lost;
}

long io_kills(void) {
    long lost = 0, kills = 0, timed = 0;
    for (int t = 0; t < (int)(sizeof trainings / sizeof *trainings); t++) {
        static fault_log log;
        files end;
        files_put(&(files){0});
        if (!works(trainings[t].run)) lost++;
        log = *fault_seen;
        files_take(&end);
        lost += at_calls(t, &end, log.count, log.kind, &kills);
        lost += at_times(t, &end, &timed);
        files_free(&end);
    }
    files_put(&(files){0});
    printf("%ld kills at system calls, %ld at moments of time, %ld lost\n", kills, timed, lost);
    return lost;
}
