/* e^x of many numbers: by the C library one after the other, or in vectors for the BLAS engine. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <math.h>
#include <string.h>

#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fefa38p-1      /* ln 2 = high + low; n times high is exact */
#define LN2_LOW 0x1.ef35793c7673p-45
#define TO_INTEGER 0x1.8p52              /* a sum of this size has no bits behind the point */
#define SMALLEST (-708.0)                /* e^x, 3e-308, is the last normal number */

/* e^x = 2^n e^r, n = round(x / ln 2), and e^r = sum_k r^k / k! to r^13, or r^8 for floats:
 * the next term is below 2^-57 or 2^-32 for |r| <= ln 2 / 2. 2^n is made from its bits: the last
 * ones of x / ln 2 + TO_INTEGER are those of n. Below SMALLEST, where these say nothing, the
 * mask makes it 0; NaN stays NaN. */
INLINE double exponential(double y) {
    const double x = y < SMALLEST ? SMALLEST : y;
    const double shifted = x * LOG2_E + TO_INTEGER, n = shifted - TO_INTEGER;
    const double r = (x - n * LN2_HIGH) - n * LN2_LOW;
    double e = MR_BITS == 64 ? 1.0 / 6227020800 : 0, power;
    uint64_t bits;
    if (MR_BITS == 64) {
        e = e * r + 1.0 / 479001600;
        e = e * r + 1.0 / 39916800;
        e = e * r + 1.0 / 3628800;
        e = e * r + 1.0 / 362880;
    }
    e = e * r + 1.0 / 40320;
    e = e * r + 1.0 / 5040;
    e = e * r + 1.0 / 720;
    e = e * r + 1.0 / 120;
    e = e * r + 1.0 / 24;
    e = e * r + 1.0 / 6;
    e = e * r + 0.5;
    e = e * r + 1;
    e = e * r + 1;
    memcpy(&bits, &shifted, sizeof bits);
    bits = ((bits + 1023) << 52) & -(uint64_t)(y >= SMALLEST);
    memcpy(&power, &bits, sizeof power);
    return e * power;
}

CLONES static void FN(exponentials_clone)(acc *y, idx n) {
    SIMD
    for (idx i = 0; i < n; i++) y[i] = exponential(y[i]);
}

void FN(exponentials)(acc *y, idx n, mr_engine engine) {
    if (engine == MR_BLAS_ENGINE) FN(exponentials_clone)(y, n);
    else
        for (idx i = 0; i < n; i++) y[i] = exp(y[i]);
}
