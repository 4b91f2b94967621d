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
    const mr_watch      *watch;    /* or NULL */
    mr_verification     *out;
    mr_err              *err;
    idx                  T, S;     /* tokens, columns */
    int64_t             *position_q, *position_k;   /* [T] absolute, for rotation */
    idx                 *column, *place;   /* [T] first column of the token's sequence; its own */
    idx                 *call, *call_end;  /* [T] places where its call begins and ends */
    unsigned            *kind;             /* [T] MR_FIRST_CALL, ... */
    idx                 *keys;             /* [S] of one row */
    double              *recorded; /* room for the largest tensor of the port */
    double              *room;     /* of mr_bound_linear */
    double              *found;    /* the port's attention output of one layer, or NULL */
    mr_bounded x, normed, q, k, v, scores, attention, out_row, h, w1, w3, act, logits;
    mr_bounded gates, kept, expert_in, expert_out, head;
    int32_t   *experts;            /* [T,K] */
    bool       choice_known;       /* the port recorded them in this layer */
    idx       *copy, *put, *bin;   /* mr_dispatch_sort's copy, place, bin */
} mr_walk;

/* The port's tensor of that name, if recorded with these sizes, is compared with x and then takes
 * its place: values of the port, no inherited error. layer < 0: no prefix. */
void mr_replay_step(mr_walk *w, idx layer, const char *name, mr_bounded x, int rank,
                    const idx *dim);

/* For tensors that come in pieces: begin, add pieces (offset in elements), end. */
bool mr_replay_begin(mr_walk *w, idx layer, const char *name, int rank, const idx *dim,
                     mr_finding *f);
void mr_replay_piece(const mr_walk *w, mr_finding *f, mr_bounded x, idx offset, idx n);
void mr_replay_end(mr_walk *w, mr_finding *f);

void mr_place_tokens(mr_walk *w);                /* replay_cause_place.c */
void mr_place_rotations(mr_walk *w);
idx  mr_walk_keys(mr_walk *w, idx layer, idx t); /* replay_cause_mask.c: fills w->keys */

/* replay_cause_norm.c: as the fault has them. Next: gain of the norm that follows. */
void mr_walk_norm(mr_walk *w, const mr_matrix *g);
void mr_walk_residual(mr_walk *w, const mr_matrix *next);
/* Every number rounded to `storage`: where the error straddles an edge, both sides are possible. */
void mr_walk_round(mr_bounded x, idx n, mr_storage storage);

void mr_walk_rows(mr_walk *w, idx layer);        /* replay_row.c */
void mr_walk_attention(mr_walk *w, idx layer);   /* replay_attention.c */
void mr_walk_ffn(mr_walk *w, idx layer);         /* replay_ffn.c */

#endif
