/* Reading a trace: two kinds of file, one list of tensors, every element as a double. */
#define _DEFAULT_SOURCE   /* madvise */
#include "golden/trace.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "golden/lookup.h"
#include "golden/npz.h"
#include "golden/trace_kind.h"
#include "ref/half.h"
#include "weights/safetensors.h"

/* An archive, a set, or made by `source`; `view` lists its tensors without their data and without
 * meta. */
struct mr_trace {
    char      *path;
    mr_npz    *npz;      /* NULL for .safetensors */
    mr_tensors set;
    uintptr_t  begin, end;   /* of its data */
    idx        count;
    idx        meta;     /* its number in the file; the number of tensors when there is none */
    char      *text;     /* of meta */
    mr_tensor *view;
    mr_trace_source source;   /* NULL: a file */
    void      *user;
    mr_lookup  names;         /* of a made trace */
};

mr_status mr_trace_is_npz(const char *path, bool *npz, mr_err *err) {
    *npz = mr_ends_with(path, ".npz");
    if (*npz || mr_ends_with(path, ".safetensors")) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: a trace must end in .npz or .safetensors; rename the file",
                   path);
}

/* The number in the file of the i-th tensor, where meta is one of them. */
static idx number_of(const mr_trace *trace, idx i) { return i < trace->meta ? i : i + 1; }

static const mr_tensor *in_file(const mr_trace *trace, idx number) {
    return trace->npz != NULL ? mr_npz_tensor(trace->npz, number) : &trace->set.tensor[number];
}

/* Where the data of a mapped file begin and end. */
static void measure_data(mr_trace *trace) {
    for (idx i = 0; i < trace->set.count; i++) {
        const mr_tensor *t = &trace->set.tensor[i];
        const uintptr_t at = (uintptr_t)t->data, end = at + (uintptr_t)mr_tensor_bytes(t);
        if (t->data == NULL) continue;
        if (trace->begin == 0 || at < trace->begin) trace->begin = at;
        if (end > trace->end) trace->end = end;
    }
}

/* Advice for the whole pages that hold these addresses. */
static void advise(uintptr_t begin, uintptr_t end, int advice) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = begin / page * page;
    if (end > begin) madvise((void *)first, (size_t)(end - first), advice);
}

/* The bytes of the tensor with that number in the file, as they are there: of a mapped file where
 * they lie, of an archive in `room`. They are asked for, without what the system would read around
 * them, and as many behind them, which the disk reads while the caller works. */
static mr_status find_raw(const unsigned char **raw, mr_trace *trace, idx number, void *room,
                          idx bytes, mr_err *err) {
    *raw = trace->npz != NULL ? room : trace->set.tensor[number].data;
    if (trace->npz != NULL) return mr_npz_read(trace->npz, number, room, err);
    const uintptr_t end = (uintptr_t)*raw + (uintptr_t)bytes, left = trace->end - end;
    advise((uintptr_t)*raw, end + (left < (uintptr_t)bytes ? left : (uintptr_t)bytes),
           MADV_WILLNEED);
    return MR_OK;
}

/* Pages that were read are given back, so that memory does not grow with the file (who reads them
 * again gets them from the file): from the first tensor on, because the system also maps pages
 * around those that were read. */
static void give_back(const mr_trace *trace, const unsigned char *data, idx bytes) {
    if (trace->npz == NULL) advise(trace->begin, (uintptr_t)data + (uintptr_t)bytes, MADV_DONTNEED);
}

/* ---- meta ------------------------------------------------------------------------------------ */

static mr_status read_meta(mr_trace *trace, const mr_tensor *t, mr_err *err) {
    if (t->dtype != MR_U8 || t->rank != 1 || t->dim[0] > MR_TRACE_META_LIMIT)
        return mr_fail(err, MR_BAD,
                       "%s: tensor meta: expected JSON text as U8 of rank 1 and at most "
                       "16 MiB, found %s of rank %d; save numpy.frombuffer(text.encode(), "
                       "numpy.uint8)",
                       trace->path, mr_dtype_name(t->dtype), t->rank);
    trace->text = mr_alloc(t->dim[0] + 1, 1, err);
    if (trace->text == NULL) return MR_BAD;
    const unsigned char *raw;
    const mr_status status = find_raw(&raw, trace, trace->meta, trace->text, t->dim[0], err);
    if (status != MR_OK) return status;
    if (t->dim[0] > 0) memmove(trace->text, raw, (size_t)t->dim[0]);   /* or onto itself */
    give_back(trace, raw, t->dim[0]);
    if ((idx)strlen(trace->text) == t->dim[0]) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: tensor meta: holds a NUL byte, so it is no JSON text; write "
                   "it again", trace->path);
}

/* ---- open and close -------------------------------------------------------------------------- */

/* Copies the views of all tensors but meta. */
static mr_status list(mr_trace *trace, mr_err *err) {
    idx n = trace->npz != NULL ? mr_npz_count(trace->npz) : trace->set.count;
    measure_data(trace);
    trace->meta = n;
    trace->view = mr_alloc(n, (idx)sizeof *trace->view, err);
    if (trace->view == NULL) return MR_BAD;
    for (idx i = 0; i < n; i++) {
        const mr_tensor *t = in_file(trace, i);
        if (strcmp(t->name, MR_TRACE_META) == 0) {
            trace->meta = i;
            if (read_meta(trace, t, err) != MR_OK) return MR_BAD;
            continue;
        }
        trace->view[trace->count] = *t;
        trace->view[trace->count].data = NULL;
        trace->count++;
    }
    return MR_OK;
}

mr_status mr_trace_open(const char *path, mr_trace **out, mr_err *err) {
    bool npz;
    *out = NULL;
    if (mr_trace_foreign(path, err) != MR_OK || mr_trace_is_npz(path, &npz, err) != MR_OK)
        return MR_BAD;
    mr_trace *trace = mr_alloc(1, (idx)sizeof *trace, err);
    if (trace == NULL) return MR_BAD;
    mr_status status = MR_BAD;
    trace->path = mr_alloc((idx)strlen(path) + 1, 1, err);
    if (trace->path == NULL) goto failed;
    memcpy(trace->path, path, strlen(path));
    status = npz ? mr_npz_open(path, &trace->npz, err)
                 : mr_safetensors_open(path, &trace->set, err);
    if (status == MR_OK) status = list(trace, err);
    if (status != MR_OK) goto failed;
    *out = trace;
    return MR_OK;
failed:
    mr_trace_close(trace);
    return status;
}

mr_status mr_trace_made(const mr_tensor *list, idx count, const char *meta, mr_trace_source read,
                        void *user, mr_trace **out, mr_err *err) {
    mr_trace *trace = *out = mr_alloc(1, (idx)sizeof *trace, err);
    if (trace == NULL) return MR_BAD;
    trace->source = read, trace->user = user;
    trace->text = mr_alloc((idx)strlen(meta) + 1, 1, err);
    trace->view = mr_alloc(count, (idx)sizeof *trace->view, err);
    bool good = trace->text != NULL && trace->view != NULL;
    if (good) memcpy(trace->text, meta, strlen(meta));
    for (idx i = 0; good && i < count; i++, trace->count++) {
        trace->view[i] = list[i];
        good = mr_lookup_add(&trace->names, list[i].name, i, err) == MR_OK;
    }
    if (good) return MR_OK;
    mr_trace_close(trace);
    *out = NULL;
    return MR_BAD;
}

void mr_trace_close(mr_trace *trace) {
    if (trace == NULL) return;
    mr_lookup_free(&trace->names);
    mr_npz_close(trace->npz);
    mr_tensors_close(&trace->set);
    mr_free(trace->view);
    mr_free(trace->text);
    mr_free(trace->path);
    mr_free(trace);
}

const char *mr_trace_meta(const mr_trace *trace) { return trace->text != NULL ? trace->text : ""; }

idx mr_trace_count(const mr_trace *trace) { return trace->count; }

const mr_tensor *mr_trace_tensor(const mr_trace *trace, idx i) { return &trace->view[i]; }

idx mr_trace_find(const mr_trace *trace, const char *name) {
    idx found = -1;
    if (trace->source != NULL) return mr_lookup_find(&trace->names, name);
    if (trace->npz != NULL) {
        found = mr_npz_find(trace->npz, name);
    } else {
        const mr_tensor *t = mr_tensors_find(&trace->set, name);
        if (t != NULL) found = (idx)(t - trace->set.tensor);
    }
    if (found == trace->meta || found < 0) return -1;
    return found < trace->meta ? found : found - 1;
}

bool mr_trace_has(const mr_trace *trace, const char *beginning) {
    const size_t n = strlen(beginning);
    for (idx i = 0; i < mr_trace_count(trace); i++)
        if (strncmp(mr_trace_tensor(trace, i)->name, beginning, n) == 0) return true;
    return false;
}

idx mr_trace_largest(const mr_trace *trace) {
    idx most = 1;
    for (idx i = 0; i < mr_trace_count(trace); i++) {
        const mr_tensor *t = mr_trace_tensor(trace, i);
        const idx n = mr_count(t->rank, t->dim);
        most = n > most ? n : most;
    }
    return most;
}

/* ---- elements -------------------------------------------------------------------------------- */

/* One element of any type, from any address. */
static double element(mr_dtype dtype, const unsigned char *p) {
    double   f64;
    float    f32;
    int64_t  i64;
    int32_t  i32;
    uint16_t u16;
    switch (dtype) {
    case MR_F64:  memcpy(&f64, p, 8); return f64;
    case MR_F32:  memcpy(&f32, p, 4); return (double)f32;
    case MR_F16:  memcpy(&u16, p, 2); return mr_half_to_double(u16);
    case MR_BF16: memcpy(&u16, p, 2); return mr_bf16_to_double(u16);
    case MR_I64:  memcpy(&i64, p, 8); return (double)i64;
    case MR_I32:  memcpy(&i32, p, 4); return i32;
    case MR_U16:  memcpy(&u16, p, 2); return u16;
    case MR_U8:   return *p;
    case MR_F8_E4M3: return mr_f8_e4m3_to_double(*p);
    case MR_F8_E5M2: return mr_f8_e5m2_to_double(*p);
    case MR_DTYPES: break;
    }
    return 0;
}

mr_status mr_trace_read(mr_trace *trace, idx i, double *out, mr_err *err) {
    if (trace->source != NULL) return trace->source(trace->user, i, out, err);
    const mr_tensor *t = &trace->view[i];
    const idx count = mr_count(t->rank, t->dim), bytes = mr_tensor_bytes(t),   /* proved at open */
              size = mr_dtype_size(t->dtype);
    /* Of an archive the raw bytes go to the end of `out` and are widened from the front, without a
     * second buffer: element k ends at 8 (k+1); raw element k+1 begins at
     * 8 count - size (count - (k+1)), which is never less. */
    const unsigned char *raw;
    unsigned char *end = (unsigned char *)(out + count);
    const mr_status status = find_raw(&raw, trace, number_of(trace, i), end - bytes, bytes, err);
    if (status != MR_OK) return status;
    if (t->dtype == MR_F32)   /* most traces; the loop below chooses the type once per element */
        for (idx k = 0; k < count; k++) {
            float x;
            memcpy(&x, raw + 4 * k, sizeof x);
            out[k] = (double)x;
        }
    else
        for (idx k = 0; k < count; k++) out[k] = element(t->dtype, raw + size * k);
    give_back(trace, raw, bytes);
    return MR_OK;
}
