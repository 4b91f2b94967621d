/* How far two tensors are apart: largest difference, relative norm, ulps. NaN never looks small. */
#include "golden/compare.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* |want - got| = value 2^shift. The shift keeps the difference of two huge numbers finite, and is 0
 * where halving could lose a bit of small ones. */
typedef struct {
    double value;
    int    shift;
} distance;

static distance difference(double want, double got) {
    if (want == got || (isnan(want) && isnan(got))) return (distance){0, 0};   /* also inf, inf */
    if (fabs(want) > 1 || fabs(got) > 1) return (distance){fabs(want / 2 - got / 2), 1};
    return (distance){fabs(want - got), 0};
}

/* The larger of two magnitudes, where NaN beats everything: once NaN, a maximum stays NaN. */
static double larger(double a, double b) { return isnan(a) || b <= a ? a : b; }

/* e with 2^(e-1) <= |x| < 2^e; the least int for zero, inf and NaN: no maximum takes it. Normal
 * numbers carry it in their bits, which is many times faster than frexp. */
static int exponent_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int field = (int)(bits >> 52 & 0x7ff);
    if (field == 0x7ff || x == 0) return INT32_MIN;
    if (field > 0) return field - 1022;
    int e;
    frexp(x, &e);
    return e;
}

/* ldexp(x, exponent); 2^exponent is put together from bits where it is a normal number */
static double scaled(double x, int exponent) {
    if (exponent < -1000 || exponent > 1000) return ldexp(x, exponent);
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return x * power;
}

/* Exponent of one unit in the last place of a finite `want`. Below the smallest normal number
 * 2^emin units do not shrink any more, so zero is measured in the smallest subnormals. */
static int ulp_exponent(double want, int digits) {
    int emin = digits == DBL_MANT_DIG ? DBL_MIN_EXP - 1 : digits == 11 ? -14 : FLT_MIN_EXP - 1;
    int e = exponent_of(want);
    return (e > emin ? e - 1 : emin) - (digits - 1);
}

static double in_ulps(distance d, double want, int digits) {
    return isfinite(d.value) ? scaled(d.value, d.shift - ulp_exponent(want, digits)) : d.value;
}

/* x 2^-exponent squared. Scaled by its largest element, a sum of squares can not overflow, and what
 * underflows is far below its rounding. */
static double scaled_square(double x, int exponent) {
    const double small = scaled(x, -exponent);
    return small * small;
}

static double norm_ratio(double sum, int exponent, double unit_sum, int unit_exponent) {
    if (sum == 0) return 0;                              /* 0/0 = 0: nothing differs */
    if (unit_sum == 0) return isnan(sum) ? sum : (double)INFINITY;
    return ldexp(sqrt(sum) / sqrt(unit_sum), exponent - unit_exponent);
}

mr_measure mr_compare(const double *want, const double *got, idx count, int digits) {
    mr_measure m = {.count = count, .worst = -1};
    int top = INT32_MIN, top_want = INT32_MIN;   /* exponents of the largest difference and want */
    for (idx i = 0; i < count; i++) {
        distance d = difference(want[i], got[i]);
        int e = exponent_of(d.value), e_want = exponent_of(want[i]);
        if (e > INT32_MIN && e + d.shift > top) top = e + d.shift;
        if (e_want > top_want) top_want = e_want;
        if (d.value == 0) continue;   /* equal: gradual underflow keeps other differences from 0 */
        double most = larger(m.max_abs, scaled(d.value, d.shift));
        bool   worse = m.worst < 0 || (most > m.max_abs) || (isnan(most) && !isnan(m.max_abs));
        if (worse) {
            m.worst = i;
            m.want = want[i];
            m.got = got[i];
        }
        m.differ++;
        m.max_abs = most;
        m.max_ulp = larger(m.max_ulp, in_ulps(d, want[i], digits));
    }

    double sum = 0, sum_want = 0;
    if (top == INT32_MIN) top = 0;
    if (top_want == INT32_MIN) top_want = 0;
    for (idx i = 0; i < count; i++) {
        distance d = difference(want[i], got[i]);
        sum += scaled_square(d.value, top - d.shift);
        if (isfinite(want[i])) sum_want += scaled_square(want[i], top_want);
    }
    m.norm = ldexp(sqrt(sum_want), top_want);
    m.relative = norm_ratio(sum, top, sum_want, top_want);
    return m;
}
