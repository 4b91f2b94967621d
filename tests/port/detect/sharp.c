/* How small an error the verifier still sees: a tensor of a correct run times 1 + delta. */
#include "tests/port/detect/detect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/half.h"

#define TOKENS   "--tokens 5,17,3,29,11,23,8"
#define ELEMENTS 5
#define SMALLEST (-34.0)   /* log2 of delta */
#define LARGEST  4.0
#define STEPS    12

static const char *const stores[] = {"f32", "bf16", "f16"};

/* The tensor `name` of a trace as a port would have it whose operation is off by the factor. */
typedef struct {
    mr_trace   *trace;
    const char *name;
    idx         element;    /* -1: all */
    double      factor;
    mr_storage  storage;    /* the port stores the wrong result as it stores the right one */
} spoiled;

static mr_status read_spoiled(void *user, idx i, double *out, mr_err *err) {
    const spoiled *s = user;
    const mr_tensor *t = mr_trace_tensor(s->trace, i);
    const idx n = mr_count(t->rank, t->dim);
    if (mr_trace_read(s->trace, i, out, err)) return MR_BAD;
    for (idx j = 0; j < n && strcmp(t->name, s->name) == 0; j++)
        if (s->element < 0 || s->element == j)
            out[j] = t->dtype == MR_F32 ? (double)(float)(out[j] * s->factor)
                                        : mr_round(out[j] * s->factor, s->storage);
    return MR_OK;
}

/* Is the tensor itself called wrong? */
static bool caught(const detect_run *r, const spoiled *s, const mr_tensor *list, mr_err *err) {
    mr_trace *trace = NULL;
    mr_verification found;
    bool wrong = false;
    if (mr_trace_made(list, mr_trace_count(r->trace), mr_trace_meta(r->trace), read_spoiled,
                      (void *)s, &trace, err))
        return false;
    mr_verify(&r->model.model, &r->meta, trace, &r->arithmetic, NULL, &found, err);
    for (idx i = 0; i < found.count; i++)
        if (strcmp(found.list[i].name, s->name) == 0) wrong = found.list[i].verdict == MR_FAULT;
    mr_verification_free(&found);
    mr_trace_close(trace);
    return wrong;
}

/* log2 of the smallest delta that is caught; LARGEST if none is. */
static double smallest(const detect_run *r, spoiled *s, const mr_tensor *list, mr_err *err) {
    double low = SMALLEST, high = LARGEST;
    for (int step = 0; step < STEPS; step++) {
        const double middle = (low + high) / 2;
        s->factor = 1 + exp2(middle);
        if (caught(r, s, list, err)) high = middle;
        else low = middle;
    }
    return high;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Elements spread over the tensor that are numbers and not 0. Returns how many. */
static int choose_elements(const detect_run *r, idx at, idx *element, mr_err *err) {
    const mr_tensor *t = mr_trace_tensor(r->trace, at);
    const idx n = mr_count(t->rank, t->dim);
    double *v = mr_alloc(n, sizeof *v, err);
    int count = 0;
    const bool good = v != NULL && mr_trace_read(r->trace, at, v, err) == MR_OK;
    for (int k = 0; good && k < ELEMENTS; k++) {
        idx i = (2 * k + 1) * n / (2 * ELEMENTS);
        while (i < n && (v[i] == 0 || !isfinite(v[i]))) i++;
        if (i < n) element[count++] = i;
    }
    mr_free(v);
    return count;
}

/* One tensor of one run: the middle of some elements, and the whole. */
static void measure(const detect_run *r, const char *name, const mr_tensor *list, FILE *out) {
    const idx at = mr_trace_find(r->trace, name);
    spoiled s = {.trace = r->trace, .name = name, .element = -1,
                 .storage = r->arithmetic.storage};
    double one[ELEMENTS];
    idx element[ELEMENTS];
    mr_err err = {0};
    if (at < 0) {
        fputs(" | |", out);
        return;
    }
    const double whole = smallest(r, &s, list, &err);
    const int count = choose_elements(r, at, element, &err);
    for (int k = 0; k < count; k++) {
        s.element = element[k];
        one[k] = smallest(r, &s, list, &err);
    }
    qsort(one, (size_t)count, sizeof *one, ascending);
    fprintf(out, " %.1e | %.1e |", exp2(count > 0 ? one[count / 2] : LARGEST), exp2(whole));
}

void detect_sharp(const detect_place *place, FILE *out) {
    static const struct {
        const char *model, *name;
    } all[] = {
        {"dense_gqa_w5", "tok_embeddings"}, {"dense_gqa_w5", "layers.1.attention_norm"},
        {"dense_gqa_w5", "layers.1.q"}, {"dense_gqa_w5", "layers.1.k"},
        {"dense_gqa_w5", "layers.1.v"}, {"dense_gqa_w5", "layers.1.q_rope"},
        {"dense_gqa_w5", "layers.1.k_rope"}, {"dense_gqa_w5", "layers.1.scores"},
        {"dense_gqa_w5", "layers.1.probs"}, {"dense_gqa_w5", "layers.1.attention"},
        {"dense_gqa_w5", "layers.1.attention_out"}, {"dense_gqa_w5", "layers.1.h_mid"},
        {"dense_gqa_w5", "layers.1.ffn_norm"}, {"dense_gqa_w5", "layers.1.w1"},
        {"dense_gqa_w5", "layers.1.w3"}, {"dense_gqa_w5", "layers.1.act"},
        {"mixtral_e5k2", "layers.1.router_logits"}, {"mixtral_e5k2", "layers.1.router_weights"},
        {"mixtral_e5k2", "layers.1.experts.1.out"}, {"mixtral_e5k2", "layers.1.ffn_out"},
        {"dense_gqa_w5", "layers.1.ffn_out"}, {"dense_gqa_w5", "layers.1.h"},
        {"dense_gqa_w5", "norm"}, {"dense_gqa_w5", "logits"}};
    fputs("\n## Smallest error that is caught\n\nA tensor of a correct run (" TOKENS ") is "
          "multiplied by 1 + delta and stored again; the verifier is run, and delta halved "
          "between caught and not caught. One: one element (the middle of five, spread over the "
          "tensor); whole: the whole tensor. Half the distance between two numbers next to 1 is "
          "6e-8 in f32, 3.9e-3 in bf16, 4.9e-4 in f16.\n\n"
          "| tensor | model | f32 one | whole | bf16 one | whole | f16 one | whole |\n"
          "|---|---|---|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fprintf(out, "| %s | %s |", all[i].name, all[i].model);
        for (int s = 0; s < 3; s++) {
            detect_run r;
            mr_err err = {0};
            detect_verify(&r, place, all[i].model, TOKENS, stores[s], "f32", false);
            const idx n = r.trace != NULL ? mr_trace_count(r.trace) : 0;
            mr_tensor *list = mr_alloc(n, sizeof *list, &err);
            for (idx k = 0; list != NULL && k < n; k++) list[k] = *mr_trace_tensor(r.trace, k);
            if (list != NULL && r.status == MR_OK) measure(&r, all[i].name, list, out);
            else fputs(" | |", out);
            mr_free(list);
            detect_close(&r);
        }
        fputs("\n", out);
    }
}
