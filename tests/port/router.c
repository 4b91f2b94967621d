/* The router: logits, the K largest, their softmax in float. */
#include "tests/port/port.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/port/record.h"

#define EXPERT_TILE 4   /* experts that the kernel of E15 takes at a time */

/* The K largest of z, larger first, equal ones by lower index. Fills up with anything when only
 * NaN is left. */
static void top(int32_t *expert, const float *z, idx E, idx K) {
    if (bug(E15) && E / EXPERT_TILE * EXPERT_TILE >= K)
        E = E / EXPERT_TILE * EXPERT_TILE;            /* the last, partial tile is forgotten */
    for (idx k = 0; k < K; k++) {
        idx best = -1;
        for (idx e = 0; e < E; e++) {
            bool taken = false;
            for (idx i = 0; i < k; i++) taken = taken || expert[i] == e;
            if (taken) continue;
            if (best < 0 || z[e] > z[best] || (bug(F07) && z[e] == z[best])) best = e;
        }
        expert[k] = (int32_t)best;
    }
}

static void softmax(float *p, const float *z, idx n) {
    float most = z[0], sum = 0;
    for (idx i = 1; i < n; i++)
        if (z[i] > most) most = z[i];
    for (idx i = 0; i < n; i++) sum += p[i] = expf(z[i] - most);
    for (idx i = 0; i < n; i++) p[i] /= sum;
}

/* Softmax over all E, of which the K largest are divided by their sum; the default takes the K
 * largest first, which is the same but for rounding. */
static void softmax_first(int32_t *expert, float *weight, const float *z, idx E, idx K) {
    float *p = port_floats(E), sum = 0;
    softmax(p, z, E);
    if (bug(E04))
        for (idx e = 0; e < E; e++) p[e] = port_to_bf16(p[e]);
    top(expert, p, E, K);
    for (idx k = 0; k < K; k++) sum += p[expert[k]];
    if (bug(E01)) sum = 1;
    for (idx k = 0; k < K; k++) weight[k] = p[expert[k]] / sum;
    free(p);
}

static void choose(int32_t *expert, float *weight, const float *z, idx E, idx K) {
    if (bug(E01) || bug(E04) || bug(F01)) {
        softmax_first(expert, weight, z, E, K);
        return;
    }
    top(expert, z, E, K);
    for (idx k = 0; k < K; k++) weight[k] = z[expert[k]];
    softmax(weight, weight, K);
    if (bug(S20)) softmax(weight, weight, K);
}

/* The logits as a kernel sees them that was compiled for the other element size. */
static void misread(float *to, const float *z, idx count) {
    uint16_t *half = port_zeros(2 * count + 2, sizeof *half);
    if (port_store == PORT_F32) {
        memcpy(half, z, (size_t)count * sizeof *z);
        for (idx i = 0; i < count; i++) to[i] = port_bf16_value(half[i]);
    } else {
        for (idx i = 0; i < count; i++)
            half[i] = half[count + i] = port_store == PORT_BF16 ? port_bf16_bits(z[i])
                                                                : port_f16_bits(z[i]);
        memcpy(to, half, (size_t)count * sizeof *to);
    }
    free(half);
}

void port_route(port_engine *engine, const port_call *call, idx layer, int32_t *expert,
                float *weight, const float *x) {
    const port_model *m = &engine->model;
    const idx rows = call->rows;
    float *z = port_floats(rows * m->E), *seen = port_floats(rows * m->E),
          *in = port_floats(rows * m->d);
    memcpy(in, x, (size_t)(rows * m->d) * sizeof *x);
    if (bug(E14)) {                      /* in bf16 anything less would be rounded away */
        const float noise = port_store == PORT_BF16 ? 0x1p-7f : 1e-3f;
        for (idx i = 0; i < rows * m->d; i++)
            in[i] = port_st(in[i] * (1 + copysignf(noise, port_junk(i))));
    }
    for (idx r = 0; call->decoding && r < rows; r++)
        port_gemv(z + r * m->E, in + r * m->d, m->layer[layer].router, m->E, m->d);
    if (!call->decoding) port_matmul(z, in, m->layer[layer].router, rows, m->E, m->d);
    if (bug(E04b))
        for (idx i = 0; i < rows * m->E; i++) z[i] = port_to_bf16(z[i]);
    memcpy(seen, z, (size_t)(rows * m->E) * sizeof *z);
    if (bug(E05)) misread(seen, z, rows * m->E);
    for (idx r = 0; r < rows; r++)
        choose(expert + r * m->K, weight + r * m->K, seen + r * m->E, m->E, m->K);
    port_record_rows(engine->record, PORT_ROUTER_LOGITS, layer, call, z, m->E);
    port_record_experts(engine->record, layer, call, expert);
    port_record_rows(engine->record, PORT_ROUTER_WEIGHTS, layer, call, weight, m->K);
    free(z);
    free(seen);
    free(in);
}
