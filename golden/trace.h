/* A trace: named tensors of one run plus `meta` (JSON text). In files: .npz or .safetensors, chosen by the ending. */
#ifndef MR_GOLDEN_TRACE_H
#define MR_GOLDEN_TRACE_H

#include "ref/base.h"

typedef struct mr_trace mr_trace;

mr_status   mr_trace_open(const char *path, mr_trace **out, mr_err *err);
void        mr_trace_close(mr_trace *trace);
const char *mr_trace_meta(const mr_trace *trace);             /* JSON text, "" when the file has none */
idx         mr_trace_count(const mr_trace *trace);            /* tensors, meta not counted */
const mr_tensor *mr_trace_tensor(const mr_trace *trace, idx i); /* name, dtype, shape; data NULL */
idx         mr_trace_find(const mr_trace *trace, const char *name);
/* Loads tensor i as doubles: out[mr_count]. Integers are exact up to 2^53. */
mr_status   mr_trace_read(mr_trace *trace, idx i, double *out, mr_err *err);

/* Collects tensors and writes them. With `calls` == 1 tensors go to the file as they come; with more (chunks, decoding) those
 * of one name are joined along T (axis 1 for .scores and .probs, else axis 0) and written at the end. */
typedef struct mr_trace_writer mr_trace_writer;
mr_status mr_trace_create(const char *path, idx calls, mr_trace_writer **out, mr_err *err);
mr_status mr_trace_add(mr_trace_writer *writer, const mr_tensor *tensor, mr_err *err);
mr_status mr_trace_finish(mr_trace_writer *writer, const char *meta, mr_err *err);
void      mr_trace_abandon(mr_trace_writer *writer);

#endif
