/* What a verification holds while it walks through the model. Private to golden/replay*.c. */
#ifndef MR_GOLDEN_REPLAY_STATE_H
#define MR_GOLDEN_REPLAY_STATE_H

#include "golden/replay_verify.h"
#include "ref/dispatch.h"

typedef struct {
    const mr_model      *model;
    const mr_config     *c;        /* the fault's, or the model's */
    const mr_fault      *fault;
    const mr_meta       *meta;
    mr_trace            *port;
    const mr_arithmetic *a;
    mr_verification     *out;
    mr_err              *err;
    idx                  T, S;     /* tokens, columns */
    int64_t             *position; /* [T] absolute, for rotation */
    idx                 *column, *place;   /* [T] first column of the token's sequence; its own */
    double              *recorded; /* room for the largest tensor of the port */
    double              *room;     /* of mr_bound_linear */
    mr_bounded x, normed, q, k, v, scores, attention, out_row, h, w1, w3, act, logits;
    mr_bounded gates, expert_in, expert_out, head;
    int32_t   *experts;            /* [T,K] */
    idx       *copy, *put, *bin;   /* mr_dispatch_sort's copy, place, bin */
} mr_walk;

/* The port's tensor of that name, if recorded with these sizes, is compared with x and then takes
 * its place: values of the port, no inherited error. layer < 0: no prefix. */
void mr_replay_step(mr_walk *w, idx layer, const char *name, mr_bounded x, int rank, const idx *dim);

/* For tensors that come in pieces: begin, add pieces (offset in elements), end. */
bool mr_replay_begin(mr_walk *w, idx layer, const char *name, int rank, const idx *dim, mr_finding *f);
void mr_replay_piece(const mr_walk *w, mr_finding *f, mr_bounded x, idx offset, idx n);
void mr_replay_end(mr_walk *w, mr_finding *f);

void mr_walk_attention(mr_walk *w, idx layer);   /* replay_attention.c */
void mr_walk_ffn(mr_walk *w, idx layer);         /* replay_ffn.c */

#endif
