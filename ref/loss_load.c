/* Load of the experts under noisy top-k gating: a smooth count of the tokens each of them gets. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>

static double softplus(double x) { return -mr_log_sigmoid(-x); }

/* (Y5) H = clean + normal softplus(spread)
 * Shazeer et al. 2017 (arXiv 1701.06538), Eq. 4; normal: one draw of N(0,1) per element. Inference:
 * none of this. */
void FN(noisy_logits)(real *noisy, const real *clean, const real *spread, const real *normal,
                      idx n) {
    for (idx i = 0; i < n; i++)
        noisy[i] = (real)((double)clean[i] + (double)normal[i] * softplus((double)spread[i]));
}

/* dclean += dH,  dspread += dH normal sigma(spread) */
void FN(noisy_logits_backward)(real *dclean, real *dspread, const real *dnoisy, const real *spread,
                               const real *normal, idx n) {
    for (idx i = 0; i < n; i++) {
        const double d = (double)dnoisy[i] * (double)normal[i] * mr_sigmoid((double)spread[i]);
        dclean[i] += dnoisy[i];
        dspread[i] = (real)((double)dspread[i] + d);
    }
}

/* How many of E values come before the i-th when larger ones are first, equal ones by index. */
static idx rank_of(const real *h, idx E, idx i) {
    idx before = 0;
    for (idx j = 0; j < E; j++) before += h[j] > h[i] || (j < i && h[j] == h[i]);
    return before;
}

/* The element with this rank; -1 when there is none. */
static idx ranked(const real *h, idx E, idx rank) {
    for (idx i = 0; i < E; i++)
        if (rank_of(h, E, i) == rank) return i;
    return -1;
}

/* (Y6) Load_e = sum over tokens of Phi(u),  u = (clean_e - thr_e) / softplus(spread_e)
 *      thr_e = K-th largest of H without e: the (K+1)-th of all when e is among the K largest, else
 *      the K-th; Phi the normal distribution function; 1 when no threshold exists (K = E)
 * Shazeer et al. 2017, appendix A, Eq. 8-10. spread above -700, so that softplus is not 0.
 *                                                         load: [E]  clean,spread,noisy: [T,E] */
void FN(load_add)(double *load, const real *clean, const real *spread, const real *noisy, idx T,
                  idx E, idx K) {
    for (idx t = 0; t < T; t++) {
        const real *c = clean + t * E, *s = spread + t * E, *h = noisy + t * E;
        const idx last = ranked(h, E, K - 1), next = ranked(h, E, K);
        for (idx e = 0; e < E; e++) {
            const idx thr = rank_of(h, E, e) < K ? next : last;
            const double u = thr < 0 ? (double)INFINITY
                                     : ((double)c[e] - (double)h[thr]) / softplus((double)s[e]);
            load[e] += erfc(-u * sqrt(0.5)) / 2;
        }
    }
}

/* with G = dload_e phi(u) / softplus(spread_e), phi the normal density:
 *      dclean_e += G,  dspread_e -= G u sigma(spread_e),  dH_thr -= G
 *    and dH_thr goes on to clean and spread of thr as in (Y5)               all but dload: [T,E] */
void FN(load_backward)(real *dclean, real *dspread, const real *clean, const real *spread,
                       const real *normal, const real *noisy, const double *dload, idx T, idx E,
                       idx K) {
    const double two_pi = 6.283185307179586;
    for (idx t = 0; t < T; t++) {
        const real *c = clean + t * E, *s = spread + t * E, *h = noisy + t * E;
        const idx last = ranked(h, E, K - 1), next = ranked(h, E, K);
        for (idx e = 0; e < E; e++) {
            const idx thr = rank_of(h, E, e) < K ? next : last, i = t * E + e, j = t * E + thr;
            if (thr < 0) continue;
            const double width = softplus((double)s[e]);
            const double u = ((double)c[e] - (double)h[thr]) / width;
            const double G = dload[e] * exp(-u * u / 2) / sqrt(two_pi) / width;
            dclean[i] = (real)((double)dclean[i] + G);
            dspread[i] = (real)((double)dspread[i] - G * u * mr_sigmoid((double)s[e]));
            FN(noisy_logits_backward)(dclean + j, dspread + j, &(real){(real)-G}, s + thr,
                                      normal + j, 1);
        }
    }
}
