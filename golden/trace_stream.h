/* A .safetensors trace whose tensors go to the file as they come. */
#ifndef MR_GOLDEN_TRACE_STREAM_H
#define MR_GOLDEN_TRACE_STREAM_H

#include "weights/stream.h"

/* {0} is not open. */
typedef struct {
    mr_saver  saver;
    mr_tensor wait[8][8];   /* by bytes mod 8; the data are copies */
    int       waits[8];     /* how many */
} mr_trace_stream;

mr_status mr_trace_stream_open(mr_trace_stream *stream, const char *path, mr_err *err);
bool      mr_trace_stream_is_open(const mr_trace_stream *stream);
/* The name must stay; the data are written or copied. */
mr_status mr_trace_stream_add(mr_trace_stream *stream, const mr_tensor *tensor, mr_err *err);
/* meta: a tensor with the text, which also goes into the header; or NULL. */
mr_status mr_trace_stream_end(mr_trace_stream *stream, const mr_tensor *meta, mr_err *err);
void      mr_trace_stream_abandon(mr_trace_stream *stream);

#endif
