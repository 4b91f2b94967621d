/* A test of a kernel: its arrays between zones of poison, and storage types. */
#include "golden/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/check_parts.h"

#define LEAST_ZONE ((idx)4096)   /* bytes of poison on each side of an array */

/* ---- elements -------------------------------------------------------------------------------- */

double mr_check_value(mr_dtype dtype, const void *array, idx i) {
    const char *at = (const char *)array + i * mr_dtype_size(dtype);
    float    wide;
    int32_t  index;
    uint16_t half;
    if (dtype == MR_F32) {
        memcpy(&wide, at, sizeof wide);
        return (double)wide;
    }
    if (dtype == MR_I32) {
        memcpy(&index, at, sizeof index);
        return (double)index;
    }
    memcpy(&half, at, sizeof half);
    return dtype == MR_BF16 ? mr_bf16_to_double(half) : mr_half_to_double(half);
}

void mr_check_set(mr_dtype dtype, void *array, idx i, double x) {
    char *at = (char *)array + i * mr_dtype_size(dtype);
    const float    wide = (float)x;
    const int32_t  index = dtype == MR_I32 ? (int32_t)x : 0;
    const uint16_t half = dtype == MR_BF16 ? mr_double_to_bf16(x) : mr_double_to_half(x);
    if (dtype == MR_F32) memcpy(at, &wide, sizeof wide);
    else if (dtype == MR_I32) memcpy(at, &index, sizeof index);
    else memcpy(at, &half, sizeof half);
}

double mr_check_round(mr_dtype dtype, double x) {
    if (dtype == MR_F32) return (double)(float)x;
    return mr_round(x, dtype == MR_BF16 ? MR_STORE_BF16 : MR_STORE_F16);
}

static bool storage_of(const char *word, mr_dtype *dtype) {
    static const struct {
        const char *word;
        mr_dtype    dtype;
    } types[] = {{"f32", MR_F32}, {"bf16", MR_BF16}, {"f16", MR_F16}};
    for (int i = 0; i < 3; i++)
        if (word != NULL && strcmp(word, types[i].word) == 0) {
            *dtype = types[i].dtype;
            return true;
        }
    return false;
}

double mr_check_load(const char *store, const void *array, size_t i) {
    mr_dtype dtype;
    return storage_of(store, &dtype) ? mr_check_value(dtype, array, (idx)i) : (double)NAN;
}

void mr_check_store(const char *store, void *array, size_t i, double value) {
    mr_dtype dtype;
    if (storage_of(store, &dtype)) mr_check_set(dtype, array, (idx)i, value);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static bool allocate(part *p, mr_err *err) {
    const idx n = (idx)p->is.count, bytes = n * (idx)p->is.element;
    const idx zone = (bytes > LEAST_ZONE ? (bytes + 255) / 256 * 256 : LEAST_ZONE);
    p->is.offset = (size_t)zone;
    p->is.bytes = (size_t)(2 * zone + bytes);
    p->is.block = mr_alloc((idx)p->is.bytes, 1, err);
    p->before = mr_alloc(bytes, 1, err);
    p->in.v = mr_alloc(n, 3 * sizeof(double), err);
    p->want.v = mr_alloc(n, 3 * sizeof(double), err);
    if (p->is.block == NULL || p->before == NULL || p->in.v == NULL || p->want.v == NULL)
        return false;
    p->in.e = p->in.v + n, p->in.s = p->in.v + 2 * n;
    p->want.e = p->want.v + n, p->want.s = p->want.v + 2 * n;
    memset(p->is.block, POISON, p->is.bytes);
    p->is.data = (char *)p->is.block + zone;
    return true;
}

void mr_check_add(mr_check *c, const char *name, part_kind kind, part_use use, idx d0, idx d1,
                  idx d2) {
    const idx dim[3] = {d0, d1, d2};
    part *p = &c->part[c->parts];
    if (c->err.code != MR_OK) return;
    for (p->rank = 0; p->rank < 3 && dim[p->rank] != NO_DIM; p->rank++)
        p->dim[p->rank] = dim[p->rank];
    const idx n = mr_count(p->rank, p->dim);
    if (n < 1 || n > INT32_MAX || n > MR_IDX_MAX / 16) {   /* 16: the bytes of two zones, too */
        mr_fail(&c->err, MR_USAGE, "%s: array %s would have no elements, or 2^31; set the sizes "
                "that docs/KERNELS.md lists for this operation", c->plan.operation, name);
        return;
    }
    c->parts++;
    p->kind = kind;
    p->use = use;
    const bool wide = use == IS_OUTPUT && (strcmp(name, "weights") == 0 || kind == OF_LOGIT);
    p->dtype = kind == OF_INDEX ? MR_I32 : wide ? MR_F32 : c->dtype;
    p->is.name = name;
    p->is.count = (size_t)n;
    p->is.element = (size_t)mr_dtype_size(p->dtype);
    allocate(p, &c->err);
}

part *mr_check_part(const mr_check *c, const char *name) {
    for (int i = 0; i < c->parts; i++)
        if (strcmp(c->part[i].is.name, name) == 0) return (part *)(uintptr_t)&c->part[i];
    return NULL;
}

int32_t *mr_check_index(const mr_check *c, const char *name) {
    return mr_check_part(c, name)->is.data;
}

mr_matrix mr_check_matrix(const mr_check *c, const char *name, idx rows, idx cols) {
    const part *p = mr_check_part(c, name);
    return (mr_matrix){p->before, p->dtype, rows, cols, cols, 1};
}

const mr_check_buffer *mr_check_get(const mr_check *c, const char *name) {
    const part *p = mr_check_part(c, name);
    return p != NULL ? &p->is : NULL;
}

void *mr_check_data(const mr_check *c, const char *name) {
    const part *p = mr_check_part(c, name);
    return p != NULL ? p->is.data : NULL;
}

/* ---- from a plan to a test ------------------------------------------------------------------- */

static const operation *find(const char *name) {
    const operation *lists[] = {mr_check_simple, mr_check_rows};
    for (int l = 0; name != NULL && l < 2; l++)
        for (const operation *o = lists[l]; o->name != NULL; o++)
            if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

/* Sums of two sizes must not overflow anywhere. */
static mr_status read_sizes(mr_check *c) {
    const mr_check_plan *p = &c->plan;
    const idx size[] = {p->tokens, p->width, p->outputs, p->heads, p->kv_heads, p->head_dim,
                        p->window, p->seen, p->slots, p->vocab, p->experts, p->chosen};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i] >= (idx)1 << 30)
            return mr_fail(&c->err, MR_USAGE, "%s: a size is %td, expected below 2^30",
                           p->operation, size[i]);
    return MR_OK;
}

static mr_status read_plan(mr_check *c) {
    const mr_check_plan *p = &c->plan;
    mr_arithmetic inner;
    c->operation = find(p->operation);
    if (c->operation == NULL)
        return mr_fail(&c->err, MR_USAGE, "operation \"%s\" is not known; docs/KERNELS.md lists "
                       "them", p->operation ? p->operation : "(null)");
    if (!storage_of(p->store, &c->dtype))
        return mr_fail(&c->err, MR_USAGE, "store: expected f32, bf16 or f16, found \"%s\"",
                       p->store ? p->store : "(null)");
    if (!mr_arithmetic_of(p->store, p->sum ? p->sum : "f32", &c->a) ||
        !mr_arithmetic_of(p->inside ? p->inside : p->store, "f32", &inner))
        return mr_fail(&c->err, MR_USAGE, "sum: expected f32, tf32, fp8, bf16 or f16, inside: f32, "
                       "bf16 or f16; found \"%s\" and \"%s\"", p->sum ? p->sum : "f32",
                       p->inside ? p->inside : p->store);
    if (p->inside != NULL) c->a.inside = inner.store;
    if (p->fill < 0 || p->fill > MR_FILL_OWN || p->fill == MR_FILLS)
        return mr_fail(&c->err, MR_USAGE, "fill: %d is no mr_check_inputs", p->fill);
    return read_sizes(c);
}

void mr_check_begin(mr_check *c) {
    for (int i = 0; i < c->parts; i++) {
        part *p = &c->part[i];
        const size_t bytes = p->is.count * p->is.element;
        memset(p->is.block, POISON, p->is.offset);
        memset((char *)p->is.data + bytes, POISON, p->is.offset);
        if (p->use == IS_OUTPUT) memset(p->is.data, POISON, bytes);
        memcpy(p->before, p->is.data, bytes);
        for (idx k = 0; k < (idx)p->is.count; k++)
            p->in.v[k] = mr_check_value(p->dtype, p->before, k);
    }
}

mr_check *mr_check_new(const mr_check_plan *plan, char *text, size_t size) {
    mr_err err = {0};
    mr_check *c = mr_alloc(1, sizeof *c, &err);
    if (c != NULL) {
        c->plan = *plan;
        if (read_plan(c) == MR_OK) c->operation->arrays(c);
        err = c->err;
    }
    if (err.code != MR_OK) {
        snprintf(text, size, "%s", err.text);
        mr_check_free(c);
        return NULL;
    }
    for (int i = 0; i < c->parts; i++)
        if (c->part[i].use != IS_OUTPUT) mr_check_fill(c, &c->part[i]);
    if (c->operation->prepare != NULL) c->operation->prepare(c);
    mr_check_begin(c);
    return c;
}

void mr_check_free(mr_check *c) {
    for (int i = 0; c != NULL && i < c->parts; i++) {
        mr_free(c->part[i].is.block);
        mr_free(c->part[i].before);
        mr_free(c->part[i].in.v);
        mr_free(c->part[i].want.v);
    }
    mr_free(c);
}
