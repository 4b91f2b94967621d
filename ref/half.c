/* bf16 and IEEE half as bit patterns: both are "sign, exponent, fraction" with other widths, so
 * one pair of functions serves. */
#include "ref/half.h"

#include <math.h>
#include <string.h>

/* Value of a 16-bit pattern with `fraction` fraction bits and the given exponent bias. Exact. */
static double widen(uint16_t bits, int fraction, int bias) {
    const int top = (1 << (15 - fraction)) - 1;                /* exponent of infinity and NaN */
    const int exponent = (bits >> fraction) & top;
    const int mantissa = bits & ((1 << fraction) - 1);
    double magnitude;
    if (exponent == top)   magnitude = mantissa ? (double)NAN : (double)INFINITY;
    else if (exponent > 0)
        magnitude = ldexp(mantissa + (1 << fraction), exponent - bias - fraction);
    else                   magnitude = ldexp(mantissa, 1 - bias - fraction);
    return (bits & 0x8000) ? -magnitude : magnitude;
}

/* Nearest pattern, ties to even. Scaling by a power of two and rint are exact, so there is one
 * rounding. */
static uint16_t narrow(double x, int fraction, int bias) {
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    const int top = (1 << (15 - fraction)) - 1;
    if (isnan(x)) return (uint16_t)(sign | (top << fraction) | (1 << (fraction - 1)));
    if (x == 0) return sign;
    if (isinf(x)) return (uint16_t)(sign | (top << fraction));
    int exponent = ilogb(x);
    /* subnormals share the least exponent */
    if (exponent < 1 - bias) exponent = 1 - bias;
    const double units = rint(ldexp(fabs(x), fraction - exponent));
    /* A carry out of the fraction raises the exponent by itself; subnormals have no hidden one. */
    const double pattern = units + ldexp(exponent + bias - 1, fraction);
    if (pattern >= ldexp(top, fraction)) return (uint16_t)(sign | (top << fraction));
    return (uint16_t)(sign | (uint16_t)pattern);
}

double mr_bf16_to_double(uint16_t bits) { return widen(bits, 7, 127); }

double mr_half_to_double(uint16_t bits) { return widen(bits, 10, 15); }

/* A half without its last 8 fraction bits. */
double mr_f8_e5m2_to_double(uint8_t bits) { return mr_half_to_double((uint16_t)(bits << 8)); }

/* 4 exponent bits, bias 7, 3 fraction bits; only the largest pattern of each sign is NaN. */
double mr_f8_e4m3_to_double(uint8_t bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    if ((bits & 0x7f) == 0x7f) return (double)NAN;
    const double magnitude = exponent > 0 ? ldexp(mantissa + 8, exponent - 10)
                                          : ldexp(mantissa, -9);
    return (bits & 0x80) ? -magnitude : magnitude;
}

uint16_t mr_double_to_bf16(double x) { return narrow(x, 7, 127); }

uint16_t mr_double_to_half(double x) { return narrow(x, 10, 15); }

/* bf16 in its normal range keeps the top 7 of double's 52 fraction bits: round there on the bit
 * pattern. */
static double round_bf16(double x) {
    const double least = 0x1p-126, most = 0x1.fep127;          /* normal numbers of bf16 */
    if (!(fabs(x) >= least && fabs(x) <= most)) return mr_bf16_to_double(mr_double_to_bf16(x));
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t half_way = ((uint64_t)1 << 44) - 1, odd = bits >> 45 & 1;
    bits = (bits + half_way + odd) & ~(((uint64_t)1 << 45) - 1);
    memcpy(&x, &bits, sizeof x);
    return x;
}

double mr_round(double x, mr_storage storage) {
    switch (storage) {
    case MR_STORE_BF16: return round_bf16(x);
    case MR_STORE_F16:  return mr_half_to_double(mr_double_to_half(x));
    case MR_STORE_WIDE: default: return x;
    }
}
