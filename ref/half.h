/* The two 16-bit storage types, bf16 and IEEE half: exact widening, rounding to nearest even
 * straight from double; and fp8, which is only read. */
#ifndef MR_REF_HALF_H
#define MR_REF_HALF_H

#include <stdint.h>

#include "ref/config.h"

double   mr_bf16_to_double(uint16_t bits);
double   mr_half_to_double(uint16_t bits);
/* fp8 as in the OCP format of 2023: E4M3 without infinities (largest 448), E5M2 with */
double   mr_f8_e4m3_to_double(uint8_t bits);
double   mr_f8_e5m2_to_double(uint8_t bits);
/* NaN stays NaN, overflow becomes infinity, subnormals are kept */
uint16_t mr_double_to_bf16(double x);
uint16_t mr_double_to_half(double x);

/* rd(x) of the storage emulation: x rounded to what the storage type can hold; x itself for
 * MR_STORE_WIDE. */
double mr_round(double x, mr_storage storage);

#endif
