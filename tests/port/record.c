/* Buffers of a trace: one per tensor that is asked for, rows in the order of the sequences. */
#define _POSIX_C_SOURCE 200809L
#include "tests/port/record.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/port/record_parts.h"

/* scope: M model, L layer, D dense layer, S sparse layer, X expert of a layer */
static const struct {
    const char *name;
    char        scope;
    bool        fused, sparse;
} table[PORT_TENSORS] = {
    {"tok_embeddings", 'M', true, true},   {"attention_norm", 'L', true, false},
    {"q", 'L', false, false},              {"k", 'L', false, false},
    {"v", 'L', true, false},               {"q_rope", 'L', true, false},
    {"k_rope", 'L', true, false},          {"scores", 'L', false, false},
    {"probs", 'L', false, false},          {"attention", 'L', true, false},
    {"attention_out", 'L', true, false},   {"h_mid", 'L', true, false},
    {"ffn_norm", 'L', true, false},        {"w1", 'D', false, false},
    {"w3", 'D', false, false},             {"act", 'D', false, false},
    {"router_logits", 'S', true, false},   {"router_experts", 'S', true, false},
    {"router_weights", 'S', true, false},  {"out", 'X', false, false},
    {"ffn_out", 'L', true, false},         {"h", 'L', true, true},
    {"norm", 'M', true, true},             {"logits", 'M', true, true}};

static void set_shape(port_tensor_buffer *b, const port_model *m, port_tensor t, idx total) {
    const idx heads = t == PORT_Q || t == PORT_Q_ROPE || t == PORT_ATTENTION ? m->H : m->G;
    b->rank = 2;
    b->dim[0] = total;
    switch (t) {
    case PORT_Q: case PORT_K: case PORT_V: case PORT_Q_ROPE: case PORT_K_ROPE: case PORT_ATTENTION:
        b->rank = 3, b->dim[1] = heads, b->dim[2] = m->D;
        break;
    case PORT_SCORES: case PORT_PROBS:
        b->rank = 3, b->dim[0] = m->H, b->dim[1] = b->dim[2] = total, b->wide = true;
        break;
    case PORT_W1: case PORT_W3: case PORT_ACT: b->dim[1] = m->F; break;
    case PORT_ROUTER_LOGITS: b->dim[1] = m->E; break;
    case PORT_ROUTER_EXPERTS: b->dim[1] = m->K, b->integer = true; break;
    case PORT_ROUTER_WEIGHTS: b->dim[1] = m->K, b->wide = true; break;
    case PORT_LOGITS: b->dim[1] = m->V; break;
    default: b->dim[1] = m->d;
    }
    b->width = b->rank == 2 ? b->dim[1] : b->dim[1] * b->dim[2];
}

static bool listed(const char *globs, const char *name) {
    char one[256];
    while (*globs != '\0') {
        const size_t length = strcspn(globs, ",");
        snprintf(one, sizeof one, "%.*s", (int)length, globs);
        if (fnmatch(one, name, 0) == 0) return true;
        globs += length + (globs[length] == ',');
    }
    return false;
}

bool port_record_wants(const port_record *record, port_tensor tensor, const char *name) {
    if (strcmp(record->what, "all") == 0) return true;
    if (strcmp(record->what, "fused") == 0) return tensor < PORT_TENSORS && table[tensor].fused;
    if (strcmp(record->what, "sparse") == 0) return tensor < PORT_TENSORS && table[tensor].sparse;
    return listed(record->what, name);
}

static void open_buffer(port_record *record, port_tensor_buffer *b, port_tensor t, idx layer,
                        idx expert) {
    const char *name = table[t].name;
    if (table[t].scope == 'M') snprintf(b->name, sizeof b->name, "%s", name);
    else if (table[t].scope != 'X')
        snprintf(b->name, sizeof b->name, "layers.%td.%s", layer, name);
    else snprintf(b->name, sizeof b->name, "layers.%td.experts.%td.%s", layer, expert, name);
    if (!port_record_wants(record, t, b->name)) return;
    set_shape(b, record->model, t, record->total);
    b->data = port_floats(mr_count(b->rank, b->dim));
    b->seen = port_zeros(record->total, sizeof *b->seen);
    for (idx i = 0; t == PORT_SCORES && i < mr_count(b->rank, b->dim); i++) b->data[i] = -INFINITY;
    if (t == PORT_PROBS) memset(b->data, 0, (size_t)mr_count(b->rank, b->dim) * sizeof *b->data);
    if (t == PORT_SCORES || t == PORT_PROBS) record->scores = true;
}

port_record *port_record_new(const char *what, const port_model *model, idx total) {
    port_record *r = port_zeros(1, sizeof *r);
    const idx    E = model->E;
    r->what   = what;
    r->model  = model;
    r->total  = total;
    r->buffer = port_zeros(model->L * (PORT_TENSORS + E), sizeof *r->buffer);
    for (idx l = 0; l < model->L; l++)
        for (port_tensor t = 0; t < PORT_TENSORS; t++) {
            const char scope = table[t].scope;
            if ((scope == 'D' && E > 0) || (scope == 'S' && E == 0) || (scope == 'M' && l > 0))
                continue;
            if (scope != 'X') open_buffer(r, port_record_at(r, t, l), t, l, 0);
            for (idx e = 0; scope == 'X' && e < E; e++)
                open_buffer(r, port_record_at(r, PORT_TENSORS + (port_tensor)e, l), t, l, e);
        }
    return r;
}

void port_record_free(port_record *record) {
    if (record == NULL) return;
    for (idx i = 0; i < record->model->L * (PORT_TENSORS + record->model->E); i++) {
        free(record->buffer[i].data);
        free(record->buffer[i].seen);
    }
    free(record->buffer);
    free(record);
}

/* Experts follow the named tensors of a layer. */
port_tensor_buffer *port_record_at(const port_record *record, port_tensor tensor, idx layer) {
    return &record->buffer[layer * (PORT_TENSORS + record->model->E) + (idx)tensor];
}

void port_record_rows(port_record *record, port_tensor tensor, idx layer, const port_call *call,
                      const float *data, idx stride) {
    port_tensor_buffer *b = port_record_at(record, tensor, layer);
    for (idx r = 0; b->data != NULL && r < call->rows; r++)
        if (call->out[r] >= 0)
            memcpy(b->data + call->out[r] * b->width, data + r * stride,
                   (size_t)b->width * sizeof *data);
}

void port_record_experts(port_record *record, idx layer, const port_call *call,
                         const int32_t *expert) {
    port_tensor_buffer *b = port_record_at(record, PORT_ROUTER_EXPERTS, layer);
    for (idx r = 0; r < call->rows; r++) {
        const idx row = call->out[r];
        if (row < 0) continue;
        for (idx e = 0; e < record->model->E; e++) {     /* a second turn routes once more */
            port_tensor_buffer *x = port_record_at(record, PORT_TENSORS + (port_tensor)e, layer);
            if (x->data != NULL) x->seen[row] = false;
        }
        for (idx k = 0; b->data != NULL && k < b->width; k++)
            b->data[row * b->width + k] = (float)expert[r * b->width + k];
    }
}

void port_record_expert(port_record *record, idx layer, idx expert, idx row, const float *data) {
    port_tensor_buffer *b = port_record_at(record, PORT_TENSORS + (port_tensor)expert, layer);
    if (b->data == NULL || row < 0) return;
    memcpy(b->data + row * b->width, data, (size_t)b->width * sizeof *data);
    b->seen[row] = true;
}

bool port_records_scores(const port_record *record) { return record->scores; }

void port_record_no_scores(port_record *record, idx layer, idx head, idx row) {
    for (idx column = 0; column < record->total; column++)
        port_record_score(record, layer, head, row, column, -INFINITY, 0);
}

void port_record_score(port_record *record, idx layer, idx head, idx row, idx column, float score,
                       float probability) {
    port_tensor_buffer *s = port_record_at(record, PORT_SCORES, layer),
                       *p = port_record_at(record, PORT_PROBS, layer);
    const idx at = (head * record->total + row) * record->total + column;
    if (column < 0) return;
    if (s->data != NULL) s->data[at] = score;
    if (p->data != NULL) p->data[at] = probability;
}
