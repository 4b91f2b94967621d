/* 16-bit and tf32 elements emulated in float, and the dot product of one multiplier array. */
#include "tests/port/port.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

port_storage     port_store = PORT_F32;
port_accumulator port_acc   = PORT_ACC_F32;

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float value_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Nearest even with `drop` low bits gone. NaN and infinity stay. */
static float shorten(float x, int drop) {
    if (!isfinite(x)) return x;
    const uint32_t u = bits_of(x), odd = u >> drop & 1, below = ((uint32_t)1 << (drop - 1)) - 1;
    return value_of((u + below + odd) >> drop << drop);
}

float port_to_bf16(float x) { return shorten(x, 16); }

float port_to_f16(float x) {
    if (!isfinite(x)) return x;
    if (fabsf(x) < 0x1p-14f) return rintf(x * 0x1p24f) * 0x1p-24f;   /* subnormal: fixed steps */
    const float y = shorten(x, 13);
    return fabsf(y) > 65504.0f ? copysignf(INFINITY, x) : y;
}

float port_st(float x) {
    return port_store == PORT_BF16 ? port_to_bf16(x) : port_store == PORT_F16 ? port_to_f16(x) : x;
}

float port_factor(float x) { return port_acc == PORT_ACC_TF32 ? shorten(x, 13) : x; }

float port_sum(float x) {
    return port_acc == PORT_ACC_F16 ? port_to_f16(x) : port_acc == PORT_ACC_BF16 ? port_to_bf16(x)
                                                                                : x;
}

float port_dot(const float *a, const float *b, idx n) {
    float sum = 0;
    if (port_acc == PORT_ACC_F32) {
        for (idx i = 0; i < n; i++) sum += a[i] * b[i];
        return sum;
    }
    for (idx i = 0; i < n; i++) sum = port_sum(sum + port_factor(a[i]) * port_factor(b[i]));
    return sum;
}

uint16_t port_bf16_bits(float x) { return (uint16_t)(bits_of(port_to_bf16(x)) >> 16); }
float    port_bf16_value(uint16_t bits) { return value_of((uint32_t)bits << 16); }

uint16_t port_f16_bits(float x) {
    const float    y    = port_to_f16(x);
    const uint32_t u    = bits_of(y);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    if (isnan(y)) return (uint16_t)(sign | 0x7e00);
    if (isinf(y)) return (uint16_t)(sign | 0x7c00);
    if (fabsf(y) < 0x1p-14f) return (uint16_t)(sign | (uint16_t)(fabsf(y) * 0x1p24f));
    return (uint16_t)(sign | (((u & 0x7fffffff) - 0x38000000) >> 13));
}

float port_f16_value(uint16_t bits) {
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = bits & 0x7fff;
    if (rest < 0x400) return value_of(sign | bits_of((float)rest * 0x1p-24f));
    if (rest >= 0x7c00) return value_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    return value_of(sign | ((rest << 13) + 0x38000000));
}

float port_junk(idx i) {
    const uint32_t mixed = ((uint32_t)i + 1) * 2654435761u;
    return ((mixed & 0x8000) != 0 ? 1.0f : -1.0f) * (0.5f + (float)(mixed >> 20) / 4096.0f);
}

void *port_zeros(idx count, size_t size) {
    void *memory = calloc((size_t)(count > 0 ? count : 1), size);
    if (memory == NULL) {
        fprintf(stderr, "port: out of memory\n");
        exit(MR_BAD);
    }
    return memory;
}

float *port_floats(idx count) {
    float *memory = port_zeros(count, sizeof *memory);
    for (idx i = 0; i < count; i++) memory[i] = port_junk(i);
    return memory;
}
