/* How far a correct program may be off: running error analysis, operation by operation.
 *
 * Each function takes operands with the error they already carry and gives the result in double,
 * with a bound on the error of any program that computes it in the given arithmetic, whatever the
 * order of its sums. Derivations: docs/NUMERICS.md, (V1)-(V10). */
#ifndef MR_GOLDEN_REPLAY_BOUND_H
#define MR_GOLDEN_REPLAY_BOUND_H

#include "ref/mr.h"

/* Unit roundoffs of a port: half the distance from 1 to the next number of the type. */
typedef struct {
    double     store;     /* what tensors are stored in: 2^-24 f32, 2^-11 f16, 2^-8 bf16 */
    double     inside;    /* what kernels keep: scores, probabilities, gate weights, cosines;
                           * `store`, unless the port is known to hold them wider */
    double     sum;       /* what sums and functions are computed in */
    double     operand;   /* rounding of matrix operands on their way in: 0, or 2^-11 for tf32 of
                           * numbers that have more digits */
    double     tiny;      /* largest error of a result that underflows */
    double     huge;      /* from here on a result is stored as infinity */
    double     held;      /* what the program really holds: `store`, or 2^-53 in doubles, which are
                           * judged as floats */
    mr_storage storage;   /* rounding of the weights */
} mr_arithmetic;

/* store, sum: "f32", "bf16", "f16"; store also "f64", sum also "tf32" and
 * "fp8" (f32 sums of such operands; fp8 is e4m3 with scales that keep it in its normal range).
 * False: unknown. */
bool mr_arithmetic_of(const char *store, const char *sum, mr_arithmetic *out);

/* (V12) What a file adds whose element type holds less than the program did. */
typedef struct {
    double unit, tiny, huge;   /* as above; unit and tiny 0: every number is stored as it was */
} mr_recording;

/* part: the tensor's name without its layer. Scores, probs, gate weights may be held wider. */
mr_recording mr_recording_of(const char *part, mr_dtype file, const mr_arithmetic *a);

/* n numbers: value, bound that no correct program exceeds, and what rounding at random gives
 * (six standard deviations). */
typedef struct {
    double *v, *e, *s;
} mr_bounded;

/* (V1) y = table[tokens] : [T,cols] */
void mr_bound_embedding(mr_bounded y, const int32_t *tokens, const mr_matrix *table, idx T,
                        const mr_arithmetic *a);

/* (V2) y = g * x / rms(x) : [T,cols] */
void mr_bound_rmsnorm(mr_bounded y, mr_bounded x, const mr_matrix *g, idx T, double eps,
                      const mr_arithmetic *a);

/* (V3) y = W x : [T,rows]  room: [2*cols] */
void mr_bound_linear(mr_bounded y, mr_bounded x, const mr_matrix *W, idx T, const mr_arithmetic *a,
                     double *room);

typedef struct {
    double         theta;
    mr_rope_angles angles;
    mr_rope_layout layout;
    mr_storage     frequencies;   /* what they are rounded to */
    idx            table;         /* > 0: positions from here on use table_theta */
    double         table_theta;
} mr_rotation;

/* (V4) rotation of x [T,heads,D] by the angles of position[t] */
void mr_bound_rope(mr_bounded y, mr_bounded x, const int64_t *position, idx T, idx heads, idx D,
                   const mr_rotation *by, const mr_arithmetic *a);

/* (V5) s_j = (q . k_j) scale over the n keys of one head
 * scores: [n]  q: [D]  k: rows of `width` elements, already at the head's channels; key j of the
 * list is row keys[j] */
void mr_bound_scores(mr_bounded scores, mr_bounded q, mr_bounded k, const idx *keys, idx n, idx D,
                     idx width, double scale, const mr_arithmetic *a);

/* (V6) softmax of n scores; probs may be scores */
void mr_bound_softmax(mr_bounded probs, mr_bounded scores, idx n, const mr_arithmetic *a);

/* (V7) o = sum_j p_j v_j : [D] over the n keys; v as k above */
void mr_bound_weighted_sum(mr_bounded o, mr_bounded probs, mr_bounded v, const idx *keys, idx n,
                           idx D, idx width, const mr_arithmetic *a);

/* (V10) Narrows o of (V7) for a row of 2 to MR_FEW_KEYS keys, by what the port has: where no legal
 * rounding of the probabilities gives all D numbers of `found`, o becomes the nearest.
 * largest_score: of the n, before the softmax. Only for kernels that keep all but operands of
 * matrix products in float. */
#define MR_FEW_KEYS 4
void mr_bound_few(mr_bounded o, mr_bounded probs, double largest_score, mr_bounded v,
                  const idx *keys, idx n, idx D, idx width, const double *found,
                  const mr_arithmetic *a);

/* (V8) y = x + z, and y = silu(gate) * up, of n numbers */
void mr_bound_add(mr_bounded y, mr_bounded x, mr_bounded z, idx n, const mr_arithmetic *a);
void mr_bound_swiglu(mr_bounded y, mr_bounded gate, mr_bounded up, idx n, const mr_arithmetic *a);

/* (V9) y = sum over the K chosen of w_k out_k : [d]; out[k] points at rows of d numbers */
void mr_bound_combine(mr_bounded y, mr_bounded weights, const mr_bounded *out, idx K, idx d,
                      const mr_arithmetic *a);

/* View of x that starts `offset` numbers later. */
mr_bounded mr_bounded_at(mr_bounded x, idx offset);

#endif
