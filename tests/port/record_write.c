/* The trace as a file: rows in storage type, experts' rows compacted, caches last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/trace.h"
#include "tests/port/record_parts.h"

typedef struct {
    const port_record *record;
    mr_trace_writer   *writer;
    mr_err            *err;
} output;

static void put(output *o, const char *name, mr_dtype dtype, int rank, const idx *dim,
                const void *data) {
    mr_tensor t = {name, dtype, rank, {0}, data};
    for (int i = 0; i < rank; i++) t.dim[i] = dim[i];
    if (o->err->code == MR_OK) mr_trace_add(o->writer, &t, o->err);
}

static void put_half(output *o, const char *name, int rank, const idx *dim, const float *data) {
    const idx count = mr_count(rank, dim);
    uint16_t *half  = port_zeros(count, sizeof *half);
    for (idx i = 0; i < count; i++)
        half[i] = port_store == PORT_BF16 ? port_bf16_bits(data[i]) : port_f16_bits(data[i]);
    put(o, name, port_store == PORT_BF16 ? MR_BF16 : MR_F16, rank, dim, half);
    free(half);
}

static void put_integers(output *o, const char *name, int rank, const idx *dim,
                         const float *data) {
    const idx count = mr_count(rank, dim);
    int32_t  *whole = port_zeros(count, sizeof *whole);
    for (idx i = 0; i < count; i++) whole[i] = (int32_t)data[i];
    put(o, name, MR_I32, rank, dim, whole);
    free(whole);
}

static void put_floats(output *o, const port_tensor_buffer *b, const idx *dim, const float *data) {
    if (b->data == NULL) return;
    if (b->integer) put_integers(o, b->name, b->rank, dim, data);
    else if (b->wide || port_store == PORT_F32) put(o, b->name, MR_F32, b->rank, dim, data);
    else put_half(o, b->name, b->rank, dim, data);
}

static void put_buffer(output *o, const port_tensor_buffer *b) {
    put_floats(o, b, b->dim, b->data);
}

/* Only the rows that the expert got. */
static void put_expert(output *o, const port_tensor_buffer *b) {
    idx    rows = 0;
    float *some;
    if (b->data == NULL) return;
    some = port_floats(mr_count(b->rank, b->dim));
    for (idx r = 0; r < b->dim[0]; r++)
        if (b->seen[r])
            memcpy(some + rows++ * b->width, b->data + r * b->width,
                   (size_t)b->width * sizeof *some);
    put_floats(o, b, (const idx[]){rows, b->dim[1]}, some);
    free(some);
}

/* Caches of all sequences, one after the other; what is not in use is 0 and has position -1. */
static void put_cache(output *o, const port_engine *e, idx layer) {
    const port_model *m = &e->model;
    const port_cache *c = &e->cache[layer * e->sequences];
    const idx width = m->G * m->D, slots = c->slots, all = slots * e->sequences;
    port_tensor_buffer k = {"", 3, {all, m->G, m->D}, width, false, false, NULL, NULL}, v = k,
                       p = {"", 1, {all, 0, 0}, 1, false, true, NULL, NULL};
    snprintf(k.name, sizeof k.name, "layers.%td.cache_k", layer);
    snprintf(v.name, sizeof v.name, "layers.%td.cache_v", layer);
    snprintf(p.name, sizeof p.name, "layers.%td.cache_pos", layer);
    k.data = port_zeros(all * width, sizeof *k.data);
    v.data = port_zeros(all * width, sizeof *v.data);
    p.data = port_zeros(all, sizeof *p.data);
    for (idx i = 0; i < all; i++) {
        const port_cache *from = c + i / slots;
        p.data[i] = (float)from->position[i % slots];
        if (from->position[i % slots] >= 0)
            port_cache_get(from, i % slots, k.data + i * width, v.data + i * width, true);
    }
    if (port_record_wants(o->record, PORT_TENSORS, k.name)) put_buffer(o, &k);
    if (port_record_wants(o->record, PORT_TENSORS, v.name)) put_buffer(o, &v);
    if (port_record_wants(o->record, PORT_TENSORS, p.name)) put_buffer(o, &p);
    free(k.data);
    free(v.data);
    free(p.data);
}

mr_status port_record_write(const port_record *record, const port_engine *engine,
                            const char *path, const char *meta, mr_err *err) {
    output o = {record, NULL, err};
    if (mr_trace_create(path, 1, &o.writer, err)) return err->code;
    put_buffer(&o, port_record_at(record, PORT_EMBEDDINGS, 0));
    for (idx l = 0; l < record->model->L; l++)
        for (port_tensor t = PORT_ATTENTION_NORM; t <= PORT_H; t++) {
            if (t != PORT_EXPERT_OUT) put_buffer(&o, port_record_at(record, t, l));
            for (idx e = 0; t == PORT_EXPERT_OUT && e < record->model->E; e++)
                put_expert(&o, port_record_at(record, PORT_TENSORS + (port_tensor)e, l));
        }
    put_buffer(&o, port_record_at(record, PORT_NORM, 0));
    put_buffer(&o, port_record_at(record, PORT_LOGITS, 0));
    for (idx l = 0; l < record->model->L; l++) put_cache(&o, engine, l);
    if (err->code == MR_OK) return mr_trace_finish(o.writer, meta, err);
    mr_trace_abandon(o.writer);
    return err->code;
}
