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
    idx        open;               /* without a bound: weights not given, or overflow */
    double     ratio;              /* largest |port - expected| / bound */
    double     likely;             /* the same against the statistical bound */
    idx        worst;              /* index of that element */
    double     expected, found, bound, likely_bound;
    double     introduced;         /* norm of the introduced error / norm */
    double     distance, width;    /* norms of the error and of the bounds */
    char       note[160];          /* shape mismatch, which key was seen, which expert ..., or "" */
    idx        slot;               /* what mr_watch.begin returned */
    mr_recording recording;        /* what the file added to this tensor */
} mr_finding;

/* Sees the elements of a verification while they are compared. */
typedef struct {
    void *user;
    /* a tensor of the port; what it returns is the `slot` of the calls that follow for it */
    idx  (*begin)(void *user, const char *name, int rank, const idx *dim);
    /* n elements from `offset` on: what the operation gives on the port's inputs, and the port's */
    void (*piece)(void *user, idx slot, idx offset, idx n, mr_bounded expected,
                  const double *found);
    /* an element of scores or probs that the port has although the mask forbids it */
    void (*forbidden)(void *user, idx slot, idx offset);
    /* experts of one token where the port's are not the reference's; margin: the largest logit
     * left out minus the smallest one chosen */
    void (*choice)(void *user, idx slot, idx token, const int32_t *port, const int32_t *expected,
                   double margin, bool explained);
} mr_watch;

/* |found - expected| / bound; equal is 0; NaN on one side and an error without room: infinite */
double mr_error_ratio(double expected, double found, double bound);

/* Which keys a row sees, where it is not the rule of the configuration. A call is one launch: a
 * chunk of a prompt, or a decode step. */
typedef enum {
    MR_SEES_RULE,
    MR_SEES_LATER,          /* not causal: all keys of its call */
    MR_SEES_OTHERS,         /* keys of the sequences before its own */
    MR_SEES_FROM_FIRST,     /* row r of a call keys 0..r, although older ones are cached */
    MR_SEES_LAST,           /* only the last W keys of the call: early rows have none, 0/0 */
    MR_SEES_RING,           /* what the ring holds after the call was written to it */
    MR_SEES_POINTER,        /* decode: slots up to the write pointer of the ring */
    MR_SEES_NO_END          /* end tokens are hidden */
} mr_sees;

/* Where a row is rotated to, where it is not its own position. */
typedef enum {
    MR_AT_RULE,
    MR_AT_CALL,             /* counted from the start of its call */
    MR_AT_PADDED,           /* its column of the left-padded grid */
    MR_AT_PADDED_DECODE,    /* ... when decoding */
    MR_AT_LARGEST_QUERY,    /* decode: queries at the largest position of the batch */
    MR_AT_OTHER_USER,       /* decode: sequence b takes the position of sequence b mod 2 */
    MR_AT_MINUS_FIRST,      /* the first call starts at -1 */
    MR_AT_TABLE_END,        /* positions past the table take its last row */
    MR_AT_BF16              /* positions rounded to bf16 */
} mr_at;

typedef enum {
    MR_HEADS_GROUPED,       /* query head h reads kv head h / (H/G) */
    MR_HEADS_MODULO,        /* h mod G */
    MR_HEADS_TILE,          /* the first head of a tile decides for all of it */
    MR_HEADS_SHARDS         /* as if there were 2 G kv heads, of which the last are the same */
} mr_heads;

/* Kinds of calls, as bits: the first of a sequence, later chunks, decode steps. */
enum { MR_FIRST_CALL = 1, MR_LATER_CALL = 2, MR_DECODE_CALL = 4, MR_ANY_CALL = 7 };

/* A changed model: what the port would be if it had this fault. All zero: none. */
typedef struct {
    char        name[112];         /* "a sliding window of 6 keys instead of 5" */
    mr_config   config;
    unsigned    calls;             /* in which kinds of calls attention is wrong; 0: all */
    /* attention and positions */
    mr_sees     sees;
    mr_at       at;
    idx         table;             /* MR_AT_TABLE_END; or where table_theta begins, if > 0 */
    double      table_theta;
    mr_storage  frequencies;       /* what inverse frequencies are rounded to */
    idx         position_offset;   /* added to every position of queries and keys */
    bool        other_pairs;       /* rotates the pairs of the other rotary layout */
    bool        k_by_queries;      /* wk permuted with the count of query heads */
    mr_heads    heads;
    idx         tile;              /* MR_HEADS_TILE */
    double      score_scale;       /* 0: head_dim^-1/2 */
    mr_storage  score_storage;     /* q.k is rounded to this before the scale */
    double      cached_k, cached_v;/* factor on cached keys and values, 0: 1 */
    bool        heads_first;       /* attention's output stays heads before tokens */
    bool        rows_of_dim;       /* attention read as rows of dim elements by wo */
    bool        nan_of_padding;    /* NaN of padding rows reaches padded sequences by 0 * NaN */
    /* norm, residual, feed-forward, experts */
    bool        epsilon_outside, layer_norm, norm_twice, unit_offset;
    bool        residual_is_gain;  /* the gain of the next norm is added, not the residual */
    idx         norm_wrap, expert_wrap;   /* row offsets taken modulo this, 0: not */
    bool        swapped_gate_up;   /* silu(w3 x) * w1 x */
    bool        raw_gates;         /* chosen softmax values not divided by their sum */
    bool        unit_gates;        /* experts added without weights */
    bool        gates_twice;       /* softmax over the gate weights once more */
    bool        probs_bf16, router_bf16, misread_router;
    bool        rank_offset;       /* experts of the second half of ranks counted from 0 */
    bool        even_bins;         /* copies past an even share of every expert are lost */
    idx         expert_tile;       /* experts past the last full tile are never chosen */
    /* logits and weights */
    bool        embedding_head;    /* logits from the embedding table */
    mr_storage  logits;            /* rounded to this */
    bool        other_half;        /* bf16 weights read as f16, or the other way */
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
/* The same, watched. `watch` may be NULL. */
mr_status mr_verify_watched(const mr_model *model, const mr_meta *meta, mr_trace *port,
                            const mr_arithmetic *arithmetic, const mr_fault *fault,
                            const mr_watch *watch, mr_verification *out, mr_err *err);
void      mr_verification_free(mr_verification *verification);
/* Room for one more finding, NULL without memory. */
mr_finding *mr_verification_add(mr_verification *verification, mr_err *err);

#endif
