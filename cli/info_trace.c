/* info TRACE: the tensors of a trace with their shapes and sizes of values. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/trace.h"

typedef struct {
    double least, most, square;   /* over finite elements */
    idx    finite;
} range;

static range range_of(const double *x, idx n) {
    range r = {(double)INFINITY, -(double)INFINITY, 0, 0};
    for (idx i = 0; i < n; i++) {
        if (!isfinite(x[i])) continue;
        r.least = fmin(r.least, x[i]);
        r.most = fmax(r.most, x[i]);
        r.square += x[i] * x[i];
        r.finite++;
    }
    return r;
}

static void print_line(const mr_tensor *t, const range *r, idx n) {
    char shape[128] = "";
    for (int d = 0; d < t->rank; d++)
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), d ? ",%td" : "%td",
                 t->dim[d]);
    printf("%-28s %-4s [%s]", t->name, mr_dtype_name(t->dtype), shape);
    if (r->finite > 0)
        printf("%*s rms %-10.4g min %-11.4g max %.4g", (int)(14 - strlen(shape)), "",
               sqrt(r->square / (double)r->finite), r->least, r->most);
    if (r->finite < n) printf("  %td not finite", n - r->finite);
    putchar('\n');
}

static json_t *line_json(const mr_tensor *t, const range *r, idx n) {
    json_t *shape = json_array();
    for (int d = 0; d < t->rank; d++) json_array_append_new(shape, json_integer(t->dim[d]));
    return json_pack("{s:s,s:s,s:o,s:I,s:o,s:o,s:o}", "name", t->name, "dtype",
                     mr_dtype_name(t->dtype), "shape", shape, "not_finite",
                     (json_int_t)(n - r->finite), "rms",
                     mr_json_real(sqrt(r->square / (double)r->finite)), "min",
                     mr_json_real(r->least), "max", mr_json_real(r->most));
}

mr_status mr_info_trace(const mr_args *args, mr_err *err) {
    mr_trace *trace = NULL;
    json_t *list = args->json ? json_array() : NULL;
    mr_status status = mr_trace_open(args->model, &trace, err);
    for (idx i = 0; status == MR_OK && i < mr_trace_count(trace); i++) {
        const mr_tensor *t = mr_trace_tensor(trace, i);
        const idx n = mr_count(t->rank, t->dim);
        double *x = mr_alloc(n, sizeof *x, err);
        status = x != NULL ? mr_trace_read(trace, i, x, err) : MR_BAD;
        const range r = status == MR_OK ? range_of(x, n) : (range){0};
        if (status == MR_OK && list != NULL) json_array_append_new(list, line_json(t, &r, n));
        else if (status == MR_OK) print_line(t, &r, n);
        mr_free(x);
    }
    if (status == MR_OK && list != NULL) {
        json_t *meta = json_loads(mr_trace_meta(trace), 0, NULL);
        status = mr_print_json(
            json_pack("{s:o,s:O}", "meta", meta != NULL ? meta : json_null(), "tensors", list),
            err);
    }
    json_decref(list);
    mr_trace_close(trace);
    return status;
}
