/* The state of a training run in one safetensors file (docs/FORMATS.md, "Training state"): weights
 * and optimiser moments in full precision, counters, log, settings. */
#ifndef MR_WEIGHTS_TRAINING_H
#define MR_WEIGHTS_TRAINING_H

#include <jansson.h>

#include "ref/model.h"

#define MR_TRAINING_COUNTERS 8

typedef struct {
    /* of one shape, row-major, F32 or F64: weights, AdamW's first and second moment */
    const mr_model *part[3];
    int64_t         counter[MR_TRAINING_COUNTERS];   /* the first is the number of rows */
    double          best;
    double         *log;            /* [rows, columns] */
    idx             rows, columns;
    json_t         *settings;       /* an object: what the numbers depend on */
} mr_training;

/* Complete under its name or not at all. */
mr_status mr_training_save(const char *path, const mr_training *state, mr_err *err);

/* Reads a file into the models of `state`, its counters and a fresh `log` (mr_free is the
 * caller's). MR_USAGE when the file's settings are not those of `state`, with the first that
 * differs; MR_BAD when it belongs to another model. */
mr_status mr_training_load(const char *path, mr_training *state, mr_err *err);

#endif
