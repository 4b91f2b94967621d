/* Verification of a port: every operation re-run in double on the port's own inputs, its result
 * compared with the port's within the bound of golden/replay_bound.h. Guide: docs/VERIFY.md. */
#ifndef MR_GOLDEN_REPLAY_VERIFY_H
#define MR_GOLDEN_REPLAY_VERIFY_H

#include "golden/replay_bound.h"
#include "golden/replay_meta.h"
#include "golden/trace.h"

typedef enum {
    MR_AGREES,
    MR_FAULT,             /* beyond the bound: no correct program does this */
    MR_EXPLAINED,         /* another discrete choice, within the margin that rounding allows */
    MR_TELLS_NOTHING      /* constant or zero where a fault could not show */
} mr_verdict;

/* What is known of one tensor of the port. */
typedef struct {
    char       name[96];
    mr_verdict verdict;
    idx        elements, beyond;   /* compared, and beyond their bound */
    double     ratio;              /* largest |port - expected| / bound */
    double     likely;             /* the same against the statistical bound */
    idx        worst;              /* index of that element */
    double     expected, found, bound;
    double     introduced;         /* norm of the introduced error / norm */
    char       note[160];          /* shape mismatch, which key was seen, which expert ..., or "" */
} mr_finding;

/* A changed model: what the port would be if it had this fault. All zero: none. */
typedef struct {
    char        name[96];          /* "sliding window 6 instead of 5" */
    mr_config   config;
    double      score_scale;       /* 0: head_dim^-1/2 */
    idx         position_offset;   /* added to every position of queries and keys */
    bool        other_pairs;       /* rotates the pairs of the other rotary layout */
    bool        tiled_heads;       /* query head h reads kv head h mod G */
    bool        swapped_gate_up;   /* silu(w3 x) * w1 x */
    bool        raw_gates;         /* chosen softmax values not divided by their sum */
    bool        unit_gates;        /* experts added without weights */
    bool        embedding_head;    /* logits from the embedding table */
    bool        harmless;          /* another convention that no output shows, not a fault */
} mr_fault;

typedef struct {
    mr_finding *list;              /* in execution order */
    idx         count, room;
    idx         first;             /* first fault, -1 if none */
    idx         faults, explained, nothing;
    idx         layer;             /* being walked */
} mr_verification;

/* Verifies the trace against the model. Tensors that the port did not record are bridged: their
 * bound grows until the next recorded one. `fault` NULL: the model as it is.
 * MR_OK when everything agrees, MR_DISAGREE, MR_MISSING (no tensor in common), MR_PROVES_NOTHING.
 * */
mr_status mr_verify(const mr_model *model, const mr_meta *meta, mr_trace *port,
                    const mr_arithmetic *arithmetic, const mr_fault *fault, mr_verification *out,
                    mr_err *err);
void      mr_verification_free(mr_verification *verification);

#endif
