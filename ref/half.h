/* The two 16-bit storage types, bf16 and IEEE half: exact widening, rounding to nearest even
 * straight from double; and fp8, which is only read. */
#ifndef MR_REF_HALF_H
#define MR_REF_HALF_H

#include <stdint.h>
#include <string.h>

#include "ref/config.h"

double   mr_bf16_to_double(uint16_t bits);
double   mr_half_to_double(uint16_t bits);
/* fp8 as in the OCP format of 2023: E4M3 without infinities (largest 448), E5M2 with */
double   mr_f8_e4m3_to_double(uint8_t bits);
double   mr_f8_e5m2_to_double(uint8_t bits);

/* The same of 16-bit weights as float, also exact, in a form that compilers turn into vectors. A
 * bf16 is the upper half of a float. A half has its fraction and exponent 13 bits further down and
 * an exponent that counts from 2^-112 of float's: one product puts it right, subnormals included,
 * and what then reaches 2^16 was infinity or NaN. */
static inline float mr_bf16_to_float(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float mr_half_to_float(uint16_t half) {
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    float x;
    memcpy(&x, &bits, sizeof x);
    x *= 0x1p112F;
    memcpy(&bits, &x, sizeof bits);
    bits |= (x >= 0x1p16F ? 0x7f800000U : 0) | (uint32_t)(half & 0x8000) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* NaN stays NaN, overflow becomes infinity, subnormals are kept */
uint16_t mr_double_to_bf16(double x);
uint16_t mr_double_to_half(double x);

/* rd(x) of the storage emulation: x rounded to what the storage type can hold; x itself for
 * MR_STORE_WIDE. */
double mr_round(double x, mr_storage storage);

#endif
