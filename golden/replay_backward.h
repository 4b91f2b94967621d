/* Verification of gradients: every backward operation whose inputs the port recorded is re-run in
 * double, its result compared within a bound; what is left is measured against the reference's own
 * gradients. Guide: docs/VERIFY.md, "Gradients". */
#ifndef MR_GOLDEN_REPLAY_BACKWARD_H
#define MR_GOLDEN_REPLAY_BACKWARD_H

#include "golden/compare.h"
#include "golden/replay_verify.h"

/* Backward order, from grad.norm down to grad.tok_embeddings; findings join `out`, which holds
 * those of the forward pass. An operation with an input that is not recorded is passed over.
 * MR_OK, MR_DISAGREE when a gradient is a fault. */
mr_status mr_verify_backward(const mr_model *model, const mr_meta *meta, mr_trace *port,
                             const mr_arithmetic *arithmetic, const mr_watch *watch,
                             mr_verification *out, mr_err *err);

/* One gradient or loss of the port beside the reference's. */
typedef struct {
    idx        at;         /* number of the tensor in the port's trace */
    mr_measure distance;   /* from the reference's; infinite for another size */
    double     error;      /* norm of the difference */
    double     factor;     /* the multiple of the reference's that lies nearest */
    double     apart;      /* distance from that multiple, relative to the port's norm */
} mr_gradient;

typedef struct {
    mr_gradient *list;       /* in backward order, parameters last */
    idx          count, room;
    double       largest;    /* norm of the reference's largest gradient */
    idx          beyond;     /* the tolerance: counted by mr_judge_gradients */
    bool         otherwise;  /* the reference chose other experts, or may have: the port's are not
                              * recorded */
} mr_gradients;

/* Relative distance up to which a gradient or loss counts as right in this storage: a choice, not a
 * bound; reason in docs/NUMERICS.md. */
double mr_gradient_tolerance(const mr_arithmetic *a);

/* The whole model forward and backward in double, beside every grad.* and loss.* of the port. The
 * model must have its weights. */
mr_status mr_measure_gradients(const mr_model *model, const mr_meta *meta, mr_trace *port,
                               mr_gradients *out, mr_err *err);
void      mr_gradients_free(mr_gradients *gradients);

/* Where nothing else is wrong and both chose the same experts, the first gradient or loss beyond
 * the tolerance that was not verified for itself joins `out` as a fault. */
mr_status mr_judge_gradients(mr_gradients *gradients, const mr_trace *port,
                             const mr_arithmetic *a, mr_verification *out, mr_err *err);

/* ---- replay_backward_bound.c ----------------------------------------------------------------- */

/* (V13) dW = sum_t dy[t] x[t]^T : [rows,cols] */
void mr_bound_linear_weight(mr_bounded dW, mr_bounded dy, mr_bounded x, idx T, idx rows, idx cols,
                            const mr_arithmetic *a);

/* (V14) dx of y = g x / rms(x), and dg : [d], from dy; dx, dy, x: [T,d]  dg.v NULL: not asked */
void mr_bound_rmsnorm_backward(mr_bounded dx, mr_bounded dg, mr_bounded dy, mr_bounded x,
                               const mr_matrix *g, idx T, double eps, const mr_arithmetic *a,
                               double *room);

/* (V15) derivatives of silu(gate) up by both, of n numbers */
void mr_bound_swiglu_backward(mr_bounded dgate, mr_bounded dup, mr_bounded dact, mr_bounded gate,
                              mr_bounded up, idx n, const mr_arithmetic *a);

#endif
