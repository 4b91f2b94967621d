/* A .safetensors trace, written as it comes: which tensor has to wait for which. The format allows
 * no holes, and who maps the file wants tensors at multiples of their elements' size. What is a
 * multiple of 8 bytes goes out at once. The others wait for as many of the same rest as make one:
 * two of rest 4, four of 2 or 6, eight of an odd one, in which every type that can have such a rest
 * is aligned. Never more than 35 wait. */
#include "golden/trace_stream.h"

#include <string.h>

#include "golden/trace.h"

#define ROOM ((idx)1 << 20)   /* kept for the header: 5,000 tensors and 50,000 tokens */

mr_status mr_trace_stream_open(mr_trace_stream *s, const char *path, mr_err *err) {
    return mr_saver_begin(&s->saver, path, ROOM, err);
}

bool mr_trace_stream_is_open(const mr_trace_stream *s) { return s->saver.buffer != NULL; }

void mr_trace_stream_abandon(mr_trace_stream *s) {
    for (int rest = 0; rest < 8; rest++)
        for (int k = 0; k < s->waits[rest]; k++) mr_free((void *)s->wait[rest][k].data);
    mr_saver_abandon(&s->saver);
    *s = (mr_trace_stream){0};
}

static mr_status release(mr_trace_stream *s, int rest, mr_err *err) {
    mr_status status = MR_OK;
    for (int k = 0; k < s->waits[rest]; k++) {
        if (status == MR_OK) status = mr_saver_add(&s->saver, &s->wait[rest][k], err);
        mr_free((void *)s->wait[rest][k].data);
    }
    s->waits[rest] = 0;
    return status;
}

mr_status mr_trace_stream_add(mr_trace_stream *s, const mr_tensor *tensor, mr_err *err) {
    const idx bytes = mr_tensor_bytes(tensor);
    const int rest = (int)(bytes % 8);
    if (rest == 0) return mr_saver_add(&s->saver, tensor, err);
    void *copy = mr_alloc(bytes, 1, err);
    if (copy == NULL) return MR_BAD;
    memcpy(copy, tensor->data, (size_t)bytes);
    mr_tensor *last = &s->wait[rest][s->waits[rest]++];
    *last = *tensor;
    last->data = copy;
    return s->waits[rest] * rest % 8 == 0 ? release(s, rest, err) : MR_OK;
}

/* In this order of rests the last ones are aligned as well. */
mr_status mr_trace_stream_end(mr_trace_stream *s, const mr_tensor *meta, mr_err *err) {
    static const int order[] = {4, 2, 6, 1, 3, 5, 7};
    const char *pairs[] = {MR_TRACE_META, meta != NULL ? meta->data : NULL, NULL};
    mr_status status = MR_OK;
    for (size_t i = 0; i < sizeof order / sizeof *order && status == MR_OK; i++)
        status = release(s, order[i], err);
    if (status == MR_OK && meta != NULL) status = mr_saver_add(&s->saver, meta, err);
    if (status != MR_OK) return status;
    return mr_saver_end(&s->saver, meta != NULL ? pairs : NULL, err);
}
