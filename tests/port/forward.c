/* One launch through the model: the same kernels in the same order for every layer. */
#include "tests/port/port.h"

#include <stdlib.h>
#include <string.h>

#include "tests/port/record.h"

static void linear(const port_call *call, float *y, const float *x, const float *w, idx n, idx k) {
    if (call->decoding)
        for (idx r = 0; r < call->rows; r++) port_gemv(y + r * n, x + r * k, w, n, k);
    else port_matmul(y, x, w, call->rows, n, k);
}

static void embed(port_engine *e, const port_call *call, float *x) {
    const idx d = e->model.d;
    for (idx r = 0; r < call->rows; r++)
        memcpy(x + r * d, e->model.embedding + call->token[r] * d, (size_t)d * sizeof *x);
    port_record_rows(e->record, PORT_EMBEDDINGS, 0, call, x, d);
}

static void rotate(port_engine *e, const port_call *call, float *qkv) {
    const port_model *m = &e->model;
    const idx stride = (m->H + 2 * m->G) * m->D;
    for (idx r = 0; r < call->rows; r++) {
        port_rotate(qkv + r * stride, m->H, &e->rope, call->position_q[r], m->half);
        port_rotate(qkv + r * stride + m->H * m->D, m->G, &e->rope, call->position[r], m->half);
    }
}

static void record_qkv(port_engine *e, const port_call *call, idx layer, const float *qkv,
                       port_tensor q, port_tensor k) {
    const port_model *m = &e->model;
    const idx stride = (m->H + 2 * m->G) * m->D;
    port_record_rows(e->record, q, layer, call, qkv, stride);
    port_record_rows(e->record, k, layer, call, qkv + m->H * m->D, stride);
}

/* Rows of H D elements, for the output projection of rows of d. */
static void project(port_engine *e, const port_call *call, idx layer, float *out, float *heads) {
    const port_model *m = &e->model;
    const idx width = m->H * m->D, total = call->rows * width;
    if (bug(A05)) {                      /* seen as [T][d], because d is thought to be H D */
        float *copy = port_floats(total);
        for (idx i = 0; i < total; i++)
            copy[i] = heads[(i / width * m->d + i % width) % total];
        memcpy(heads, copy, (size_t)total * sizeof *heads);
        free(copy);
    }
    linear(call, out, heads, m->layer[layer].wo, m->d, width);
}

/* [T][H][D] becomes [H][T][D], under the same name. */
static void heads_first(const port_call *call, float *heads, idx H, idx D) {
    const idx total = call->rows * H * D;
    float *copy = port_floats(total);
    memcpy(copy, heads, (size_t)total * sizeof *heads);
    for (idx t = 0; t < call->rows; t++)
        for (idx h = 0; h < H; h++)
            memcpy(heads + (h * call->rows + t) * D, copy + (t * H + h) * D,
                   (size_t)D * sizeof *heads);
    free(copy);
}

/* From the normed input to the output of wo. */
static void attention(port_engine *e, const port_call *call, idx layer, float *out,
                      const float *x) {
    const port_model *m = &e->model;
    const idx stride = (m->H + 2 * m->G) * m->D, width = m->H * m->D;
    float *qkv = port_floats(call->rows * stride), *heads = port_floats(call->rows * width);
    linear(call, qkv, x, m->layer[layer].qkv, stride, m->d);
    record_qkv(e, call, layer, qkv, PORT_Q, PORT_K);
    port_record_rows(e->record, PORT_V, layer, call, qkv + (m->H + m->G) * m->D, stride);
    rotate(e, call, qkv);
    record_qkv(e, call, layer, qkv, PORT_Q_ROPE, PORT_K_ROPE);
    if (call->decoding) port_attend_decode(e, call, layer, heads, qkv);
    else port_attend_prefill(e, call, layer, heads, qkv);
    if (bug(A12)) heads_first(call, heads, m->H, m->D);
    port_record_rows(e->record, PORT_ATTENTION, layer, call, heads, width);
    project(e, call, layer, out, heads);
    port_record_rows(e->record, PORT_ATTENTION_OUT, layer, call, out, m->d);
    free(qkv);
    free(heads);
}

static void logits(port_engine *e, const port_call *call, const float *x) {
    const port_model *m = &e->model;
    float *z = port_floats(call->rows * m->V);
    linear(call, z, x, m->head, m->V, m->d);
    if (bug(L01))
        for (idx i = 0; i < call->rows * m->V; i++) z[i] = port_to_bf16(z[i]);
    port_record_rows(e->record, PORT_LOGITS, 0, call, z, m->V);
    free(z);
}

void port_forward(port_engine *engine, const port_call *call) {
    const port_model *m = &engine->model;
    const idx size = call->rows * m->d;
    float *residual = port_floats(size), *x = port_floats(size), *out = port_floats(size),
          *unset = port_floats(size);
    embed(engine, call, residual);
    for (idx l = 0; l < m->L; l++) {
        const port_layer *w = &m->layer[l];
        const float *add = l > 0 ? out : NULL;
        if (l == 0 && bug(N08)) add = unset;     /* nothing to add yet, but the kernel adds */
        port_add_norm(x, residual, add, w->attention_norm, call->rows, m->d, m->eps);
        if (l > 0) port_record_rows(engine->record, PORT_H, l - 1, call, residual, m->d);
        port_record_rows(engine->record, PORT_ATTENTION_NORM, l, call, x, m->d);
        attention(engine, call, l, out, x);
        port_add_norm(x, residual, out, w->ffn_norm, call->rows, m->d, m->eps);
        port_record_rows(engine->record, PORT_H_MID, l, call, residual, m->d);
        port_record_rows(engine->record, PORT_FFN_NORM, l, call, x, m->d);
        if (m->E > 0) port_sparse(engine, call, l, out, x);
        else port_dense(engine, call, l, out, x);
        port_record_rows(engine->record, PORT_FFN_OUT, l, call, out, m->d);
    }
    port_add_norm(x, residual, out, m->norm, call->rows, m->d, m->eps);
    port_record_rows(engine->record, PORT_H, m->L - 1, call, residual, m->d);
    port_record_rows(engine->record, PORT_NORM, 0, call, x, m->d);
    logits(engine, call, x);
    free(residual);
    free(x);
    free(out);
    free(unset);
}
