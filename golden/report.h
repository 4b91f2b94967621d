/* Where in each tensor the errors are: what a report of a verification draws. */
#ifndef MR_GOLDEN_REPORT_H
#define MR_GOLDEN_REPORT_H

#include "golden/replay_verify.h"

/* A tensor is looked at along each of these; it has some of them. Pairs are rotary pairs. */
typedef enum { MR_BY_ROW, MR_BY_HEAD, MR_BY_PAIR, MR_BY_CHANNEL, MR_BY_KEY, MR_AXES } mr_axis_kind;

#define MR_BINS 64   /* places drawn along an axis; a longer one is put together */
#define MR_CELLS 48  /* rows and columns of a drawn mask */

/* Largest error / bound of the elements of each place; place i holds coordinates
 * [i size / bins, (i+1) size / bins). */
typedef struct {
    idx    size, bins;   /* 0: the tensor has no such axis */
    double worst[MR_BINS];
} mr_axis;

/* One tensor. Norms are relative: introduced by the operation itself, inherited from its inputs,
 * and both, which is the distance to the golden trace. NaN where the golden trace lacks it. */
typedef struct {
    char    name[96];
    int     rank;
    idx     dim[MR_MAX_RANK];
    mr_axis axis[MR_AXES];
    double  introduced, inherited, total;
} mr_profile;

/* Bits of a cell of a mask: keys the rule allows, keys the port saw, and where these differ. */
enum { MR_KEY_ALLOWED = 1, MR_KEY_SEEN = 2, MR_KEY_UNSEEN = 4, MR_KEY_FORBIDDEN = 8 };

/* Which keys the rows of a layer saw; one query head is enough to set a bit. */
typedef struct {
    bool    known;                       /* scores or probs are recorded */
    idx     unseen, forbidden;           /* elements of all heads */
    idx     rows, columns;               /* of cells */
    uint8_t cell[MR_CELLS][MR_CELLS];
} mr_seen;

/* How far the router's choices are from being different ones: the K-th logit minus the next, over
 * what rounding can move the two. Below 1 rounding decides. The least of each place. */
typedef struct {
    bool   known;                        /* router_logits are recorded */
    idx    bins;
    double margin[MR_BINS];
    double least;
} mr_margins;

#define MR_SHOWN_EXPERTS 8

/* A token whose experts are not the reference's. */
typedef struct {
    idx     layer, token;
    int32_t port[MR_SHOWN_EXPERTS], expected[MR_SHOWN_EXPERTS];
    double  gap;                         /* largest logit left out minus the smallest chosen */
    bool    explained;
} mr_flip;

#define MR_MAX_FLIPS 64

typedef struct {
    mr_profile   *list;                  /* by mr_finding.slot */
    idx           count, room;
    mr_seen      *seen;                  /* [n_layers] */
    mr_margins   *margins;               /* [n_layers] */
    mr_flip       flip[MR_MAX_FLIPS];    /* the first ones */
    idx           flips;
    idx           layers, chosen;        /* chosen: experts per token */
    mr_rope_layout layout;
    mr_trace     *golden;                /* borrowed; NULL: of another run */
    bool          other_layout;          /* the golden q and k are in the other rotary order */
    struct mr_sums *sums;                /* [room], private */
    mr_err       *err;
} mr_report;

/* An empty report. `golden` may be NULL. Failures while watching go to err. */
mr_status mr_report_open(const mr_config *config, mr_trace *golden, bool other_layout,
                         mr_report *out, mr_err *err);
mr_watch  mr_report_watch(mr_report *report);
void      mr_report_end(mr_report *report);      /* after the verification: forms the norms */
void      mr_report_free(mr_report *report);

/* Layer of "layers.N. ...", -1 without one; *rest: what follows it. */
idx mr_name_layer(const char *name, const char **rest);

/* Coordinate of element i along an axis, -1 if the tensor has no such axis. */
idx mr_coordinate(const mr_profile *profile, mr_axis_kind axis, idx i, mr_rope_layout layout);

#endif
