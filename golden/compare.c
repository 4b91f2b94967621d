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
    const double plain = fabs(want - got);
    if (plain <= DBL_MAX) return (distance){plain, 0};
    if (want == got || (isnan(want) && isnan(got))) return (distance){0, 0};   /* inf, inf */
    return (distance){fabs(want / 2 - got / 2), 1};
}

/* The larger of two magnitudes, where NaN beats everything: once NaN, a maximum stays NaN. */
static double larger(double a, double b) { return isnan(a) || b <= a ? a : b; }

/* Of 2^(field-1023) <= |x| < 2^(field-1022); 0 below, 0x7ff for inf and NaN. Reading it is many
 * times faster than frexp. */
static int exponent_field(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (int)(bits >> 52 & 0x7ff);
}

/* e with 2^(e-1) <= |x| < 2^e; for zero, inf and NaN less than any of them. */
static int exponent_of(double x) {
    const int field = exponent_field(x);
    if (field == 0x7ff || x == 0) return -2000;
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
    int e = exponent_field(want) - 1023;
    return (e > emin ? e : emin) - (digits - 1);
}

static double in_ulps(distance d, double want, int digits) {
    return isfinite(d.value) ? scaled(d.value, d.shift - ulp_exponent(want, digits)) : d.value;
}

/* Times 2^-exponent before they are squared, numbers up to 2^exponent can not overflow, and what
 * underflows is far below the rounding of their sum. Not below -1000, of which 2^-exponent is a
 * double in any case. */
static int scale_of(int exponent) { return exponent > -1000 ? exponent : -1000; }

static double norm_ratio(double sum, int exponent, double unit_sum, int unit_exponent) {
    if (sum == 0) return 0;                              /* 0/0 = 0: nothing differs */
    if (unit_sum == 0) return isnan(sum) ? sum : (double)INFINITY;
    return ldexp(sqrt(sum) / sqrt(unit_sum), exponent - unit_exponent);
}

/* No branch of the loops depends on bits that look random, such as whether two elements are equal:
 * the processor would guess half of them wrong. That something is the largest so far is rare. */
mr_measure mr_compare(const double *want, const double *got, idx count, int digits) {
    mr_measure m = {.count = count, .worst = -1};
    double largest[2] = {0, 0}, largest_want = 0;   /* differences by shift; want; finite */
    for (idx i = 0; i < count; i++) {
        const double plain = fabs(want[i] - got[i]), size = fabs(want[i]);
        const double ulps = scaled(plain, -ulp_exponent(want[i], digits));
        if (plain <= largest[0] && size <= largest_want && ulps <= m.max_ulp) {
            m.differ += plain > 0;   /* nearly always: finite, and no maximum of anything */
            continue;
        }
        const distance d = difference(want[i], got[i]);
        const double most = larger(m.max_abs, scaled(d.value, d.shift));
        if (d.value > largest[d.shift] && d.value <= DBL_MAX) largest[d.shift] = d.value;
        if (size > largest_want && size <= DBL_MAX) largest_want = size;
        if (most > m.max_abs || (isnan(most) && !isnan(m.max_abs))) {
            m.worst = i;
            m.want = want[i];
            m.got = got[i];
        }
        m.differ += !(d.value == 0);   /* gradual underflow keeps a difference from being 0 */
        m.max_abs = most;
        m.max_ulp = larger(m.max_ulp, in_ulps(d, want[i], digits));
    }

    double sum = 0, sum_want = 0;
    const int near = exponent_of(largest[0]), far = exponent_of(largest[1]) + 1;
    const int top = scale_of(near > far ? near : far);
    const int top_want = scale_of(exponent_of(largest_want));
    const double unit[] = {ldexp(1, -top), ldexp(1, 1 - top)}, unit_want = ldexp(1, -top_want);
    for (idx i = 0; i < count; i++) {
        const distance d = difference(want[i], got[i]);
        const double small = d.value * unit[d.shift];
        const double small_want = isfinite(want[i]) ? want[i] * unit_want : 0;
        sum += small * small;
        sum_want += small_want * small_want;
    }
    m.norm = ldexp(sqrt(sum_want), top_want);
    m.relative = norm_ratio(sum, top, sum_want, top_want);
    return m;
}
