/* Status, messages, checked sizes and the one allocator. */
#include "ref/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message may quote a hostile file: no control character, of ASCII or as two bytes of UTF-8,
 * reaches a terminal. */
static void disarm(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) *c++ = '?';
        else if (*c >= 0x20 && *c != 0x7f) continue;
        *c = '?';
    }
}

mr_status mr_fail(mr_err *err, mr_status code, const char *format, ...) {
    if (err != NULL && err->code == MR_OK) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        disarm(err->text);
    }
    return code;
}

static const struct {
    const char *name;
    idx         size;
} dtypes[MR_DTYPES] = {
    [MR_F64] = {"F64", 8}, [MR_F32] = {"F32", 4}, [MR_F16] = {"F16", 2}, [MR_BF16] = {"BF16", 2},
    [MR_I64] = {"I64", 8}, [MR_I32] = {"I32", 4}, [MR_U16] = {"U16", 2}, [MR_U8] = {"U8", 1},
    [MR_F8_E4M3] = {"F8_E4M3", 1}, [MR_F8_E5M2] = {"F8_E5M2", 1},
};

idx mr_dtype_size(mr_dtype dtype) { return dtypes[dtype].size; }

const char *mr_dtype_name(mr_dtype dtype) { return dtypes[dtype].name; }

bool mr_dtype_parse(const char *name, mr_dtype *dtype) {
    for (int i = 0; i < MR_DTYPES; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (mr_dtype)i;
            return true;
        }
    return false;
}

bool mr_mul(idx a, idx b, idx *out) {
    if (a < 0 || b < 0 || (b > 0 && a > MR_IDX_MAX / b)) return false;
    *out = a * b;
    return true;
}

bool mr_add(idx a, idx b, idx *out) {
    if (a < 0 || b < 0 || a > MR_IDX_MAX - b) return false;
    *out = a + b;
    return true;
}

idx mr_count(int rank, const idx *dim) {
    idx n = 1;
    for (int i = 0; i < rank; i++)
        if (!mr_mul(n, dim[i], &n)) return -1;
    return n;
}

idx mr_tensor_bytes(const mr_tensor *t) {
    idx bytes;
    return mr_mul(mr_count(t->rank, t->dim), mr_dtype_size(t->dtype), &bytes) ? bytes : -1;
}

static void *no_memory(mr_err *err, idx count, idx size) {
    mr_fail(err, MR_BAD, "out of memory: %td x %td bytes; use a smaller model, batch or context",
            count, size);
    return NULL;
}

void *mr_alloc(idx count, idx size, mr_err *err) {
    idx bytes;
    if (!mr_mul(count, size, &bytes)) return no_memory(err, count, size);
    void *memory = calloc(bytes > 0 ? (size_t)bytes : 1, 1);
    return memory != NULL ? memory : no_memory(err, count, size);
}

void *mr_resize(void *old, idx count, idx size, mr_err *err) {
    idx bytes;
    if (!mr_mul(count, size, &bytes)) return no_memory(err, count, size);
    void *memory = realloc(old, bytes > 0 ? (size_t)bytes : 1);
    return memory != NULL ? memory : no_memory(err, count, size);
}

void mr_free(void *memory) { free(memory); }
