/* Re-runs a recorded trace with the reference and measures every tensor: the only place in golden/
 * that runs the model. */
#ifndef MR_GOLDEN_REPLAY_H
#define MR_GOLDEN_REPLAY_H

#include "golden/compare.h"
#include "ref/run.h"

/* How a trace was recorded; decides the run and the tolerance. */
typedef enum { MR_TRACE_F64, MR_TRACE_F32, MR_TRACE_BF16, MR_TRACE_F16 } mr_trace_precision;

typedef struct {
    mr_trace_precision precision;
    idx    tensors, agree;     /* tensors of the trace, and those that agree */
    /* elements stored in 16 bits, and those bit-identical to the trace */
    idx    elements16, equal16;
    /* largest relative error of a tensor; of 16-bit tensors: units in the last place */
    double worst;
    char   worst_name[96];
    /* first tensor, in execution order, that does not agree; "" if none */
    char   failed[96];
    /* router: least K-th minus (K+1)-th logit recorded; -1 without a router */
    double smallest_gap;
} mr_replay;

/* Sees every compared tensor; may be NULL. */
typedef void (*mr_replay_report)(void *user, const char *name, const mr_measure *measure,
                                 bool agrees);

/* Runs the model of the trace's own folder (config.json + model.safetensors beside it) on the
 * tokens, positions and conventions of its `meta`, and compares every tensor. Tolerances and their
 * reasons: docs/NUMERICS.md.
 * MR_DISAGREE when any differs. */
mr_status mr_replay_trace(const char *path, mr_engine engine, mr_replay_report report, void *user,
                          mr_replay *out, mr_err *err);

#endif
