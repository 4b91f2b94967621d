/* A trace: named tensors of one run and `meta` (JSON text), in one .npz or .safetensors file. One
 * that is open belongs to one thread at a time. */
#ifndef MR_GOLDEN_TRACE_H
#define MR_GOLDEN_TRACE_H

#include "ref/base.h"

/* `meta` is the U8 tensor of rank 1 with that name, in both kinds of file. */
#define MR_TRACE_META "meta"
#define MR_TRACE_META_LIMIT ((idx)16 << 20)   /* bytes of JSON accepted from a file */

typedef struct mr_trace mr_trace;

/* A tensor `meta` of another type or rank, or with a NUL inside, makes the file bad. */
mr_status   mr_trace_open(const char *path, mr_trace **out, mr_err *err);
void        mr_trace_close(mr_trace *trace);                  /* NULL is fine */
const char *mr_trace_meta(const mr_trace *trace);             /* "" when the file has none */
idx         mr_trace_count(const mr_trace *trace);            /* tensors, meta not counted */
const mr_tensor *mr_trace_tensor(const mr_trace *trace, idx i); /* name, dtype, shape; data NULL */
idx         mr_trace_find(const mr_trace *trace, const char *name);   /* -1 when absent */
/* Whether the name of any tensor begins so; and elements of the largest tensor, at least 1. */
bool        mr_trace_has(const mr_trace *trace, const char *beginning);
idx         mr_trace_largest(const mr_trace *trace);
/* Loads tensor i as doubles: out[mr_count]. Integers are exact up to 2^53. */
mr_status   mr_trace_read(mr_trace *trace, idx i, double *out, mr_err *err);

/* A trace whose tensors something else makes: `read` writes the i-th as doubles. The list's names
 * and `user` must stay as long as the trace; the text is copied. */
typedef mr_status (*mr_trace_source)(void *user, idx i, double *out, mr_err *err);
mr_status mr_trace_made(const mr_tensor *list, idx count, const char *meta, mr_trace_source read,
                        void *user, mr_trace **out, mr_err *err);

/* Collects tensors and writes them. Data are copied or written at once: the caller may reuse its
 * memory.
 *   calls == 1: a name comes once. Tensors go to the file as they come, .safetensors from 8 MiB on
 *   (less is written at the end, in the order of the public library); memory does not grow.
 *   calls > 1 (chunks, decoding): tensors of one name are joined along T (axis 1 for names ending
 *   in .scores and .probs, else axis 0; their other dimensions must be equal) and written at the
 *   end, in the order in which names first came.
 *   Names ending in .cache_k, .cache_v or .cache_pos are the state at the end of a run, and come
 *   once in any case.
 * Memory with calls > 1: all tensors plus one copy of the largest. */
typedef struct mr_trace_writer mr_trace_writer;
mr_status mr_trace_create(const char *path, idx calls, mr_trace_writer **out, mr_err *err);
/* After a failure the trace can only be abandoned. */
mr_status mr_trace_add(mr_trace_writer *writer, const mr_tensor *tensor, mr_err *err);
/* meta: JSON text; NULL or "" writes none. Frees the writer whatever happens; on failure PATH is
 * what it was. */
mr_status mr_trace_finish(mr_trace_writer *writer, const char *meta, mr_err *err);
void      mr_trace_abandon(mr_trace_writer *writer);          /* NULL is fine */

/* Which of the two kinds of file a name asks for, by its ending. */
mr_status mr_trace_is_npz(const char *path, bool *npz, mr_err *err);

#endif
