/* Experts over permuted rows: histogram, prefix sum, scatter, one product per bin, weighted
 * gather. */
#include "tests/port/port.h"

#include <stdlib.h>
#include <string.h>

#include "tests/port/record.h"

#define WRAP 256    /* elements at which a narrow index wraps here; 2^31 in real life */

/* Weights of a global expert id. Two ranks hold half of the experts each; the second one counts
 * its own from 0. */
static idx stored_at(const port_model *m, idx expert) {
    const idx half = (m->E + 1) / 2, offset = expert < half ? 0 : half, local = expert - offset;
    return bug(E10) ? local : local + offset;
}

static void block(const port_model *m, idx layer, idx expert, float *out, const float *x,
                  idx rows) {
    const port_layer *w = &m->layer[layer];
    const idx at = stored_at(m, expert) * m->F * m->d;
    float *gate_up = port_floats(rows * 2 * m->F), *act = port_floats(rows * m->F);
    port_matmul(gate_up, x, w->gate_up + 2 * at, rows, 2 * m->F, m->d);
    port_silu_mul(act, gate_up, rows, m->F, true);
    port_matmul(out, act, w->down + at, rows, m->d, m->F);
    free(gate_up);
    free(act);
}

/* bin[e]: where the copies of expert e begin. place[c]: where copy c = token K + slot goes, -1 when
 * it is lost. */
static void sort_copies(idx *bin, idx *place, const int32_t *expert, idx copies, idx E) {
    idx *next = port_zeros(E, sizeof *next);
    memset(bin, 0, (size_t)(E + 1) * sizeof *bin);
    for (idx c = 0; c < copies; c++) bin[expert[c] + 1]++;
    for (idx e = 0; e < E; e++) bin[e + 1] += bin[e];
    for (idx c = 0; c < copies; c++) place[c] = bin[expert[c]] + next[expert[c]]++;
    if (bug(E11)) {                      /* every expert is thought to get its even share */
        const idx share = (copies + E - 1) / E;
        for (idx c = 0; c < copies; c++)
            if (place[c] - bin[expert[c]] >= share) place[c] = -1;
    }
    free(next);
}

/* y[t] = sum over slots of weight * row, in slot order and in float, stored once. */
static void combine(float *y, const float *const *row, const float *weight, idx d, idx K) {
    for (idx i = 0; i < d; i++) {
        float sum = 0;
        for (idx k = 0; k < K; k++)
            if (row[k] != NULL) sum += (bug(E03) ? 1 : weight[k]) * row[k][i];
        y[i] = port_st(sum);
    }
}

static void grouped(port_engine *e, const port_call *call, idx layer, float *out, const float *x,
                    const int32_t *expert, const float *weight) {
    const port_model *m = &e->model;
    const idx copies = call->rows * m->K, d = m->d;
    float *in = port_floats(copies * d), *made = port_floats(copies * d);
    idx   *bin = port_zeros(m->E + 1, sizeof *bin), *place = port_zeros(copies, sizeof *place);
    const float **row = port_zeros(m->K, sizeof *row);
    sort_copies(bin, place, expert, copies, m->E);
    for (idx c = 0; c < copies; c++) {
        idx from = c / m->K * d;
        if (bug(E12)) from %= WRAP;
        if (place[c] >= 0) memcpy(in + place[c] * d, x + from, (size_t)d * sizeof *x);
    }
    for (idx n = 0; n < m->E; n++)
        if (bin[n + 1] > bin[n])
            block(m, layer, n, made + bin[n] * d, in + bin[n] * d, bin[n + 1] - bin[n]);
    for (idx t = 0; t < call->rows; t++) {
        for (idx k = 0; k < m->K; k++) {
            const idx c = t * m->K + k;
            row[k] = place[c] < 0 ? NULL : made + place[c] * d;
            if (row[k] != NULL)
                port_record_expert(e->record, layer, expert[c], call->out[t], row[k]);
        }
        combine(out + t * d, row, weight + t * m->K, d, m->K);
    }
    free(in);
    free(made);
    free(bin);
    free(place);
    free(row);
}

/* Few rows: every copy is its own pair of products. */
static void one_by_one(port_engine *e, const port_call *call, idx layer, float *out,
                       const float *x, const int32_t *expert, const float *weight) {
    const port_model *m = &e->model;
    const port_layer *w = &m->layer[layer];
    const idx d = m->d, F = m->F;
    float *gate_up = port_floats(2 * F), *act = port_floats(F), *made = port_floats(m->K * d);
    const float **row = port_zeros(m->K, sizeof *row);
    for (idx t = 0; t < call->rows; t++) {
        for (idx k = 0; k < m->K; k++) {
            const int32_t n = expert[t * m->K + k];
            const idx     at = stored_at(m, n) * F * d;
            port_gemv(gate_up, x + t * d, w->gate_up + 2 * at, 2 * F, d);
            port_silu_mul(act, gate_up, 1, F, true);
            port_gemv(made + k * d, act, w->down + at, d, F);
            row[k] = made + k * d;
            port_record_expert(e->record, layer, n, call->out[t], row[k]);
        }
        combine(out + t * d, row, weight + t * m->K, d, m->K);
    }
    free(gate_up);
    free(act);
    free(made);
    free(row);
}

void port_sparse(port_engine *engine, const port_call *call, idx layer, float *out,
                 const float *x) {
    const idx copies = call->rows * engine->model.K;
    int32_t *expert = port_zeros(copies, sizeof *expert);
    float   *weight = port_floats(copies);
    port_route(engine, call, layer, expert, weight, x);
    if (call->decoding) one_by_one(engine, call, layer, out, x, expert, weight);
    else grouped(engine, call, layer, out, x, expert, weight);
    free(expert);
    free(weight);
}
