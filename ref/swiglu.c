/* SwiGLU: the feed-forward block's gate. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

#define COST 16   /* an exponential, in operations */
#define TILE 256  /* exponentials formed at a time */

/* silu(z) = z sigma(z) from e = exp(-|z|), which never overflows */
INLINE acc silu(acc z, acc e) { return (z >= 0 ? z : z * e) / (1 + e); }

/* (F1) of a tile; e: what is between, [n] */
CLONES static void FN(gates)(real *act, const real *a, const real *u, acc *e, idx n,
                             mr_storage storage, mr_engine engine) {
    for (idx i = 0; i < n; i++) e[i] = -fabs((acc)a[i]);
    FN(exponentials)(e, n, engine);
    SIMD
    for (idx i = 0; i < n; i++) e[i] = silu((acc)a[i], e[i]);
    if (storage == MR_STORE_WIDE)
        for (idx i = 0; i < n; i++) act[i] = (real)e[i] * u[i];
    else
        for (idx i = 0; i < n; i++) act[i] = FN(rd)((real)e[i], storage) * u[i];
}

/* (F1) act = rd(silu(a)) * u        FFN(x) = w2 ( silu(w1 x) * (w3 x) )
 *                                                      Shazeer 2020, Eq. 6; mistral-src FeedForward
 * act,a,u: [n]  a = w1 x (gate), u = w3 x (up): the order w1 gate, w2 down, w3 up is a classic
 * trap. act may be a or u. */
void FN(swiglu)(real *act, const real *a, const real *u, idx n, mr_storage storage,
                mr_engine engine) {
    PARALLEL_FOR(COST * n)
    for (idx start = 0; start < n; start += TILE) {
        acc e[TILE];
        FN(gates)(act + start, a + start, u + start, e, n - start < TILE ? n - start : TILE,
                  storage, engine);
    }
}

/* (F1') of a tile; e: what is between, [n] */
CLONES static void FN(slopes)(real *da, real *du, const real *dact, const real *a, const real *u,
                              acc *e, idx n, mr_engine engine) {
    for (idx i = 0; i < n; i++) e[i] = -fabs((acc)a[i]);
    FN(exponentials)(e, n, engine);
    SIMD
    for (idx i = 0; i < n; i++) {
        const acc z = (acc)a[i], dy = (acc)dact[i], up = (acc)u[i];
        const acc s = (z < 0 ? e[i] : 1) / (1 + e[i]);
        du[i] = (real)(dy * silu(z, e[i]));
        da[i] = (real)(dy * up * s * (1 + z * (1 - s)));
    }
}

/* (F1') du = dact silu(a),  da = dact u s (1 + a (1 - s)),  s = sigma(a)
 *                                                     da,du,dact,a,u: [n]; da or du may be dact */
void FN(swiglu_backward)(real *da, real *du, const real *dact, const real *a, const real *u,
                         idx n, mr_engine engine) {
    PARALLEL_FOR(COST * n)
    for (idx start = 0; start < n; start += TILE) {
        acc e[TILE];
        FN(slopes)(da + start, du + start, dact + start, a + start, u + start, e,
                   n - start < TILE ? n - start : TILE, engine);
    }
}
