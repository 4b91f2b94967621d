/* The dense feed-forward block: fused gate and up, activation, down. */
#include "tests/port/port.h"

#include <math.h>
#include <stdlib.h>

#include "tests/port/record.h"

void port_silu_mul(float *act, const float *gate_up, idx rows, idx F, bool sparse) {
    for (idx r = 0; r < rows; r++)
        for (idx i = 0; i < F; i++) {
            float gate = gate_up[r * 2 * F + i], up = gate_up[r * 2 * F + F + i];
            if (sparse ? bug(E07) : bug(N12)) {
                const float swap = gate;
                gate = up;
                up   = swap;
            }
            act[r * F + i] = port_st(port_st(gate / (1 + expf(-gate))) * up);
        }
}

void port_dense(port_engine *engine, const port_call *call, idx layer, float *out, const float *x) {
    const port_model *m = &engine->model;
    const port_layer *w = &m->layer[layer];
    float *gate_up = port_floats(call->rows * 2 * m->F), *act = port_floats(call->rows * m->F);
    if (call->decoding)
        for (idx r = 0; r < call->rows; r++)
            port_gemv(gate_up + r * 2 * m->F, x + r * m->d, w->gate_up, 2 * m->F, m->d);
    else port_matmul(gate_up, x, w->gate_up, call->rows, 2 * m->F, m->d);
    port_silu_mul(act, gate_up, call->rows, m->F, false);
    if (call->decoding)
        for (idx r = 0; r < call->rows; r++)
            port_gemv(out + r * m->d, act + r * m->F, w->down, m->d, m->F);
    else port_matmul(out, act, w->down, call->rows, m->d, m->F);
    port_record_rows(engine->record, PORT_W1, layer, call, gate_up, 2 * m->F);
    port_record_rows(engine->record, PORT_W3, layer, call, gate_up + m->F, 2 * m->F);
    port_record_rows(engine->record, PORT_ACT, layer, call, act, m->F);
    free(gate_up);
    free(act);
}
