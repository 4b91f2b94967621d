/* Copies of Hugging Face's traces with one tensor changed. Include first: it asks for POSIX. */
#ifndef MR_TESTS_COPIES_H
#define MR_TESTS_COPIES_H

#include "tests/command.h"

#include <math.h>

#include "golden/replay_meta.h"
#include "golden/trace.h"

#define MODEL  "golden/cases/dense_gqa_w5"
#define SPARSE "golden/cases/mixtral_e7k2_w5"

/* Changes the elements of one tensor while a trace is copied. */
typedef void (*edit)(double *x, const mr_tensor *t);

static inline void copy_trace(const char *from, const char *to, const char *name, edit change,
                       const char *without) {
    mr_err e = {0};
    mr_trace *trace;
    mr_trace_writer *w;
    if (mr_trace_open(from, &trace, &e) || mr_trace_create(scratch(to), 1, &w, &e))
        fail_msg("%s", e.text);
    for (idx i = 0; i < mr_trace_count(trace); i++) {
        mr_tensor t = *mr_trace_tensor(trace, i);
        const idx n = mr_count(t.rank, t.dim);
        if (without != NULL && strstr(t.name, without) != NULL) continue;
        double *x = malloc((size_t)n * sizeof *x);
        float *f = malloc((size_t)n * sizeof *f);
        int32_t *k = malloc((size_t)n * sizeof *k);
        assert_true(x != NULL && f != NULL && k != NULL);
        if (mr_trace_read(trace, i, x, &e)) fail_msg("%s", e.text);
        if (strcmp(t.name, name) == 0) change(x, &t);
        for (idx j = 0; j < n; j++) f[j] = (float)x[j], k[j] = isfinite(x[j]) ? (int32_t)x[j] : 0;
        t.data = t.dtype == MR_I32 ? (const void *)k : f;
        if (t.dtype != MR_I32) t.dtype = MR_F32;
        if (mr_trace_add(w, &t, &e)) fail_msg("%s", e.text);
        free(x);
        free(f);
        free(k);
    }
    if (mr_trace_finish(w, mr_trace_meta(trace), &e)) fail_msg("%s", e.text);
    mr_trace_close(trace);
}

static inline void nothing(double *x, const mr_tensor *t) { (void)x, (void)t; }
static inline void row7(double *x, const mr_tensor *t) {
    const idx width = mr_count(t->rank - 1, t->dim + 1);
    for (idx i = 7 * width; i < 8 * width; i++) x[i] *= 1.0001;
}

#endif
