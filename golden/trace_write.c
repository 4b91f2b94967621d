/* Writing a trace: tensors go out as they come, or wait for their parts from all calls of a run. */
#include "golden/trace.h"

#include <string.h>

#include "golden/lookup.h"
#include "golden/npz.h"
#include "golden/trace_stream.h"
#include "weights/atomic.h"
#include "weights/safetensors.h"
#include "weights/text.h"

/* What .safetensors of one call may have in memory; with more, tensors go out as they come. */
#define HELD ((idx)8 << 20)

/* What one call gave of a tensor. */
typedef struct {
    idx   length;   /* along the axis of joining */
    void *data;
} part;

/* A tensor that waits. `view` has the dimensions of the whole. */
typedef struct {
    mr_tensor view;
    char     *name;
    int       axis;
    idx       parts, room;
    part     *part;
    void     *joined;
} waiting;

struct mr_trace_writer {
    char          *path;
    idx            calls;
    mr_npz_writer *npz;      /* NULL for .safetensors */
    mr_trace_stream stream;  /* open once tensors go to .safetensors as they come */
    idx            held;     /* bytes of tensors before that */
    idx            count, room;
    waiting       *tensor;   /* in order of first appearance */
    mr_lookup       names;    /* name -> number in `tensor` */
};

static void *copy(const void *from, idx bytes, mr_err *err) {
    void *to = mr_alloc(bytes, 1, err);
    if (to != NULL && bytes > 0) memcpy(to, from, (size_t)bytes);
    return to;
}

mr_status mr_trace_create(const char *path, idx calls, mr_trace_writer **out, mr_err *err) {
    bool npz;
    mr_atomic probe;
    *out = NULL;
    if (mr_trace_is_npz(path, &npz, err) != MR_OK) return MR_BAD;
    mr_trace_writer *w = mr_alloc(1, (idx)sizeof *w, err);
    if (w == NULL) return MR_BAD;
    mr_status status = MR_BAD;
    w->calls = calls;
    w->path = mr_string_copy(path, err);
    if (w->path == NULL) goto failed;
    /* A path that can not be written is better known before a long run than after it. */
    status = npz ? mr_npz_create(path, &w->npz, err) : mr_atomic_open(&probe, path, err);
    if (status == MR_OK && !npz) mr_atomic_abandon(&probe);
    if (status != MR_OK) goto failed;
    *out = w;
    return MR_OK;
failed:
    mr_trace_abandon(w);
    return status;
}

static void free_parts(waiting *t) {
    for (idx i = 0; i < t->parts; i++) mr_free(t->part[i].data);
    mr_free(t->part);
    t->part = NULL;
    t->parts = t->room = 0;
}

void mr_trace_abandon(mr_trace_writer *w) {
    if (w == NULL) return;
    mr_npz_abandon(w->npz);
    mr_trace_stream_abandon(&w->stream);
    for (idx i = 0; i < w->count; i++) {
        free_parts(&w->tensor[i]);
        mr_free(w->tensor[i].joined);
        mr_free(w->tensor[i].name);
    }
    mr_lookup_free(&w->names);
    mr_free(w->tensor);
    mr_free(w->path);
    mr_free(w);
}

/* ---- collecting ------------------------------------------------------------------------------ */

/* -1 for tensors of which there is only one per run. */
static int axis_of(const mr_tensor *t) {
    if (mr_ends_with(t->name, ".cache_k") || mr_ends_with(t->name, ".cache_v") ||
        mr_ends_with(t->name, ".cache_pos"))
        return -1;
    int axis = mr_ends_with(t->name, ".scores") || mr_ends_with(t->name, ".probs") ? 1 : 0;
    return axis < t->rank ? axis : -1;
}

/* Room for one more element, doubled when used up; the new memory is not zeroed. */
static void *grown(void *old, idx count, idx *room, idx size, mr_err *err) {
    idx more = *room > 0 ? 2 * *room : 4;
    if (count < *room) return old;
    void *memory = mr_resize(old, more, size, err);
    if (memory != NULL) *room = more;
    return memory;
}

static mr_status add_part(waiting *t, const mr_tensor *from, idx bytes, mr_err *err) {
    part *parts = grown(t->part, t->parts, &t->room, (idx)sizeof *parts, err);
    if (parts == NULL) return MR_BAD;
    t->part = parts;
    part *p = &t->part[t->parts];
    p->length = t->axis < 0 ? 1 : from->dim[t->axis];
    p->data = copy(from->data, bytes, err);
    if (p->data == NULL) return MR_BAD;
    t->parts++;
    return MR_OK;
}

static mr_status add_name(mr_trace_writer *w, const mr_tensor *from, mr_err *err) {
    waiting *list = grown(w->tensor, w->count, &w->room, (idx)sizeof *list, err);
    if (list == NULL) return MR_BAD;
    w->tensor = list;
    waiting *t = &w->tensor[w->count];
    *t = (waiting){.view = *from, .axis = axis_of(from)};
    t->name = mr_string_copy(from->name, err);
    if (t->name == NULL) return MR_BAD;
    t->view.name = t->name;
    w->count++;
    return mr_lookup_add(&w->names, t->name, w->count - 1, err);
}

/* All that are held go out. */
static mr_status start_stream(mr_trace_writer *w, mr_err *err) {
    mr_status status = mr_trace_stream_open(&w->stream, w->path, err);
    for (idx i = 0; i < w->count && status == MR_OK; i++) {
        waiting *t = &w->tensor[i];
        t->view.data = t->part[0].data;
        status = mr_trace_stream_add(&w->stream, &t->view, err);
        free_parts(t);
    }
    return status;
}

static mr_status add_first(mr_trace_writer *w, const mr_tensor *from, idx bytes, mr_err *err) {
    mr_status status = MR_OK;
    if (w->npz == NULL && w->calls == 1 && !mr_trace_stream_is_open(&w->stream) &&
        bytes > HELD - w->held)
        status = start_stream(w, err);
    if (status == MR_OK) status = add_name(w, from, err);
    if (status != MR_OK) return status;
    waiting *t = &w->tensor[w->count - 1];
    if (mr_trace_stream_is_open(&w->stream)) return mr_trace_stream_add(&w->stream, &t->view, err);
    w->held += bytes;
    return add_part(t, from, bytes, err);
}

/* A later call's part: everything but the length along the axis must be as before. */
static mr_status add_later(mr_trace_writer *w, waiting *t, const mr_tensor *from, idx bytes,
                           mr_err *err) {
    idx length;
    if (w->calls == 1 || t->axis < 0)
        return mr_fail(err, MR_BAD, "%s: tensor %s comes twice, but there is one per run", w->path,
                       t->name);
    bool same = from->dtype == t->view.dtype && from->rank == t->view.rank;
    if (!same)
        return mr_fail(err, MR_BAD,
                       "%s: tensor %s: expected %s of rank %d as in the first call, found "
                       "%s of rank %d", w->path, t->name, mr_dtype_name(t->view.dtype),
                       t->view.rank, mr_dtype_name(from->dtype), from->rank);
    for (int k = 0; k < from->rank; k++)
        if (k != t->axis && from->dim[k] != t->view.dim[k])
            return mr_fail(err, MR_BAD,
                           "%s: tensor %s: calls can be joined along axis %d only; along "
                           "axis %d expected %td, found %td", w->path, t->name, t->axis, k,
                           t->view.dim[k], from->dim[k]);
    if (!mr_add(t->view.dim[t->axis], from->dim[t->axis], &length))
        return mr_fail(err, MR_BAD, "%s: tensor %s: the calls together are too long", w->path,
                       t->name);
    if (add_part(t, from, bytes, err) != MR_OK) return MR_BAD;
    t->view.dim[t->axis] = length;
    return MR_OK;
}

mr_status mr_trace_add(mr_trace_writer *w, const mr_tensor *tensor, mr_err *err) {
    idx  bytes;
    bool valid = tensor->rank >= 0 && tensor->rank <= MR_MAX_RANK;
    idx  count = valid ? mr_count(tensor->rank, tensor->dim) : -1;
    if (strcmp(tensor->name, MR_TRACE_META) == 0)
        return mr_fail(err, MR_BAD, "%s: the name meta is taken; choose another", w->path);
    if (w->npz != NULL && w->calls == 1) return mr_npz_add(w->npz, tensor, err);
    if (!mr_mul(count, mr_dtype_size(tensor->dtype), &bytes) || (bytes > 0 && tensor->data == NULL))
        return mr_fail(err, MR_BAD, "%s: tensor %s: impossible shape, or no data", w->path,
                       tensor->name);
    idx at = mr_lookup_find(&w->names, tensor->name);
    if (at < 0) return add_first(w, tensor, bytes, err);
    return add_later(w, &w->tensor[at], tensor, bytes, err);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Row by row of the dimensions before the axis: from every part its piece of that row. */
static mr_status join(waiting *t, mr_err *err) {
    if (t->parts == 1) {
        t->joined = t->part[0].data;
        t->part[0].data = NULL;
    } else {
        idx rows = mr_count(t->axis, t->view.dim), size = mr_dtype_size(t->view.dtype);
        idx unit = mr_count(t->view.rank - t->axis - 1, t->view.dim + t->axis + 1) * size;
        t->joined = mr_alloc(mr_count(t->view.rank, t->view.dim), size, err);
        if (t->joined == NULL) return MR_BAD;
        unsigned char *to = t->joined;
        for (idx row = 0; row < rows; row++)
            for (idx i = 0; i < t->parts; i++) {
                idx bytes = t->part[i].length * unit;
                memcpy(to, (unsigned char *)t->part[i].data + row * bytes, (size_t)bytes);
                to += bytes;
            }
    }
    free_parts(t);
    t->view.data = t->joined;
    return MR_OK;
}

static mr_status write_npz(mr_trace_writer *w, const mr_tensor *meta, mr_err *err) {
    mr_status status = MR_OK;
    for (idx i = 0; i < w->count && status == MR_OK; i++) {
        waiting *t = &w->tensor[i];
        status = join(t, err);
        if (status == MR_OK) status = mr_npz_add(w->npz, &t->view, err);
        mr_free(t->joined);
        t->joined = NULL;
    }
    if (status == MR_OK && meta != NULL) status = mr_npz_add(w->npz, meta, err);
    if (status != MR_OK) return status;
    status = mr_npz_finish(w->npz, err);
    w->npz = NULL;   /* gone whatever happened */
    return status;
}

static mr_status write_safetensors(mr_trace_writer *w, const mr_tensor *meta, mr_err *err) {
    const char *pairs[] = {MR_TRACE_META, meta != NULL ? meta->data : NULL, NULL};
    mr_status  status = MR_OK;
    if (mr_trace_stream_is_open(&w->stream)) return mr_trace_stream_end(&w->stream, meta, err);
    mr_tensor *list = mr_alloc(w->count + 1, (idx)sizeof *list, err);
    if (list == NULL) return MR_BAD;
    for (idx i = 0; i < w->count && status == MR_OK; i++) {
        status = join(&w->tensor[i], err);
        list[i] = w->tensor[i].view;
    }
    if (meta != NULL) list[w->count] = *meta;
    if (status == MR_OK)
        status = mr_safetensors_save(w->path, list, w->count + (meta != NULL),
                                     meta != NULL ? pairs : NULL, err);
    mr_free(list);
    return status;
}

mr_status mr_trace_finish(mr_trace_writer *w, const char *meta, mr_err *err) {
    mr_tensor text = {MR_TRACE_META, MR_U8, 1, {0}, meta};
    if (meta != NULL) text.dim[0] = (idx)strlen(meta);
    const mr_tensor *given = text.dim[0] > 0 ? &text : NULL;
    mr_status status = text.dim[0] > MR_TRACE_META_LIMIT
        ? mr_fail(err, MR_BAD, "%s: meta is longer than 16 MiB", w->path)
        : w->npz != NULL ? write_npz(w, given, err) : write_safetensors(w, given, err);
    mr_trace_abandon(w);
    return status;
}
