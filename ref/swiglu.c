/* SwiGLU: the feed-forward block's gate. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define COST 16   /* an exponential, in operations */

/* silu(z) = z sigma(z) from e = exp(-|z|), which never overflows */
static acc silu(acc z, acc e) { return z >= 0 ? z / (1 + e) : z * e / (1 + e); }

/* (F1) act = rd(silu(a)) * u        FFN(x) = w2 ( silu(w1 x) * (w3 x) )
 *                                                      Shazeer 2020, Eq. 6; mistral-src FeedForward
 * act,a,u: [n]  a = w1 x (gate), u = w3 x (up): the order w1 gate, w2 down, w3 up is a classic
 * trap. act may be a or u. */
void FN(swiglu)(real *act, const real *a, const real *u, idx n, mr_storage storage) {
    PARALLEL_FOR(COST * n)
    for (idx i = 0; i < n; i++) {
        const acc z = (acc)a[i];
        act[i] = FN(rd)((real)silu(z, exp(-fabs(z))), storage) * u[i];
    }
}

/* (F1') du = dact silu(a),  da = dact u s (1 + a (1 - s)),  s = sigma(a)
 *                                                     da,du,dact,a,u: [n]; da or du may be dact */
void FN(swiglu_backward)(real *da, real *du, const real *dact, const real *a, const real *u,
                         idx n) {
    PARALLEL_FOR(COST * n)
    for (idx i = 0; i < n; i++) {
        const acc z = (acc)a[i], dy = (acc)dact[i];
        const acc e = exp(-fabs(z)), s = (z < 0 ? e : 1) / (1 + e);
        du[i] = (real)(dy * silu(z, e));
        da[i] = (real)(dy * (acc)u[i] * s * (1 + z * (1 - s)));
    }
}
