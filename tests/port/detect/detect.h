/* The verifier's own examination: what the seeds of bugs.def and correct runs have in common. */
#ifndef TESTS_PORT_DETECT_DETECT_H
#define TESTS_PORT_DETECT_DETECT_H

#include <stdio.h>

#include "golden/replay_cause.h"
#include "weights/checkpoint.h"

typedef struct {
    mr_checkpoint   model;
    mr_trace       *trace;
    mr_meta         meta;
    mr_arithmetic   arithmetic;
    mr_verification found;
    mr_causes       causes;
    mr_status       status;       /* of the verification; MR_BAD: the port did not run */
} detect_run;

/* Where things are: the port's program, and a folder for traces. */
typedef struct {
    const char *port, *work;
} detect_place;

/* Runs `port MODEL ARGS --dtype STORE --acc SUM` and verifies its trace; causes: finds them too. */
void detect_verify(detect_run *run, const detect_place *place, const char *model, const char *args,
                   const char *store, const char *sum, bool causes);
void detect_close(detect_run *run);

/* Every seed and mutant, to `out` as Markdown; 0 when the goals are met. */
int detect_seeds(const detect_place *place, FILE *out);

/* `count` correct runs, to `out` as Markdown: false alarms, and the sharpness of every bound. */
int detect_clean(const detect_place *place, long count, FILE *out);

/* The smallest relative error of every operation that is caught, to `out` as Markdown. */
void detect_sharp(const detect_place *place, FILE *out);

#endif
