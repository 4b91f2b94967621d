/* Parameters as one flat array: their number, their order, widening, and what does not fit. */
#include "tests/tiny.h"

/* Impossible sizes must come back as a refusal under AddressSanitizer too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

enum { MODELS = 4 };

static mr_config model_of(int n) {
    mr_config c = n < 2 ? tiny_config() : tiny_sparse(2);
    c.tied_embeddings = n == 1;
    c.n_labels = n == 3 ? 2 : 0;
    return c;
}

/* The matrices in the order that params.h promises, written out. */
static idx in_order(const mr_model *m, const mr_matrix *list[]) {
    idx n = 0;
    list[n++] = &m->tok_embeddings;
    list[n++] = &m->norm;
    if (!m->config.tied_embeddings) list[n++] = &m->output;
    for (idx l = 0; l < m->config.n_layers; l++) {
        const mr_layer *w = &m->layers[l];
        list[n++] = &w->attention_norm, list[n++] = &w->wq, list[n++] = &w->wk;
        list[n++] = &w->wv, list[n++] = &w->wo, list[n++] = &w->ffn_norm;
        if (m->config.n_experts > 0) list[n++] = &w->gate;
        for (idx e = 0; e < (m->config.n_experts > 0 ? m->config.n_experts : 1); e++)
            list[n++] = &w->ffn[e].w1, list[n++] = &w->ffn[e].w2, list[n++] = &w->ffn[e].w3;
    }
    return n;
}

/* Each matrix begins where the one before it ends, and holds the numbers of the model. */
static void flat_order(void **state) {
    (void)state;
    for (int n = 0; n < 2 * MODELS; n++) {
        const mr_config c = model_of(n / 2);
        const mr_dtype dtype = n % 2 ? MR_F64 : MR_F32;
        const mr_matrix *from[64], *to[64];
        mr_model flat;
        tiny t;
        tiny_open(&t, &c);
        t.model.qk_rows = MR_HALF_SPLIT;
        char *memory = mr_alloc(mr_params_count(&t.model), mr_dtype_size(dtype), NULL);
        assert_int_equal(mr_params_like(&flat, &t.model, dtype, memory, NULL), MR_OK);
        mr_params_copy(&flat, &t.model);
        const idx many = in_order(&t.model, from);
        assert_int_equal(in_order(&flat, to), many);
        idx at = 0;
        for (idx i = 0; i < many; i++) {
            assert_ptr_equal(to[i]->data, memory + at * mr_dtype_size(dtype));
            assert_true(to[i]->rows == from[i]->rows && to[i]->cols == from[i]->cols);
            for (idx k = 0; k < from[i]->rows * from[i]->cols; k++, at++) {
                const double want = ((const double *)from[i]->data)[k];
                assert_true(dtype == MR_F64 ? ((double *)memory)[at] == want
                                            : ((float *)memory)[at] == (float)want);
            }
        }
        assert_true(at == mr_params_count(&t.model) && at == t.used);
        assert_int_equal(flat.qk_rows, MR_HALF_SPLIT);
        assert_ptr_equal(flat.output.data, to[c.tied_embeddings ? 0 : 2]->data);
        mr_params_free(&flat);
        assert_null(flat.layers);
        mr_free(memory);
        tiny_close(&t);
    }
}

/* 16-bit and transposed matrices are read as they are: 1.5 is 0x3fc0 in bf16. A row of 300 takes
 * more than one block. */
static void widening(void **state) {
    enum { WIDE = 300 };
    static uint16_t bits[WIDE];
    static double   values[2 * WIDE];
    static float    memory[4 * WIDE];   /* the last row must stay as it is */
    mr_model from = {.layers = NULL}, to = from;   /* no layers */
    (void)state;
    for (int i = 0; i < WIDE; i++) bits[i] = i % 2 ? 0x3fc0 : 0x4020;
    for (int i = 0; i < WIDE; i++) memory[3 * WIDE + i] = -1;
    for (int i = 0; i < 2 * WIDE; i++) values[i] = i;
    from.norm = (mr_matrix){bits, MR_BF16, 1, WIDE, WIDE, 1};
    from.output = (mr_matrix){values, MR_F64, 2, WIDE, 1, 2};   /* columns lie in a row */
    to.norm = (mr_matrix){memory, MR_F32, 1, WIDE, WIDE, 1};
    to.output = (mr_matrix){memory + WIDE, MR_F32, 2, WIDE, WIDE, 1};
    mr_params_copy(&to, &from);
    for (int i = 0; i < WIDE; i++) {
        assert_true(memory[i] == (i % 2 ? 1.5f : 2.5f));
        assert_true(memory[WIDE + i] == (float)(2 * i));
        assert_true(memory[2 * WIDE + i] == (float)(2 * i + 1));
        assert_true(memory[3 * WIDE + i] == -1);
    }
}

static void fits(void **state) {
    const mr_config c = tiny_config();
    mr_model flat;
    tiny t;
    (void)state;
    tiny_open(&t, &c);
    double *memory = mr_alloc(mr_params_count(&t.model), sizeof *memory, NULL);
    assert_int_equal(mr_params_like(&flat, &t.model, MR_F64, memory, NULL), MR_OK);
    assert_true(mr_params_fit(&flat, &t.model, MR_F64));
    assert_false(mr_params_fit(&flat, &t.model, MR_F32));
    flat.layers[1].wo.rows++;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    flat.layers[1].wo.rows--;
    flat.norm.cols--;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    flat.norm.cols++;
    flat.output.row_stride++;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    flat.output.row_stride--;
    flat.tok_embeddings.col_stride++;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    flat.tok_embeddings.col_stride--;
    assert_true(mr_params_fit(&flat, &t.model, MR_F64));
    flat.config.n_experts = 4;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    flat.config.n_experts = 0, flat.config.n_layers = 1;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    flat.config.n_layers = 2, flat.config.tied_embeddings = true;
    assert_false(mr_params_fit(&flat, &t.model, MR_F64));
    mr_params_free(&flat);
    mr_free(memory);
    tiny_close(&t);
}

/* A table of layers that no memory holds, or of their experts: refused, nothing to free. */
static void no_memory(void **state) {
    const mr_model huge[] = {{.config = {.n_layers = MR_IDX_MAX / 2}},
                             {.config = {.n_layers = 4, .n_experts = MR_IDX_MAX / 8}}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        mr_model flat;
        mr_err err = {0};
        check_refused(mr_params_like(&flat, &huge[i], MR_F32, NULL, &err), MR_BAD, &err,
                      "out of memory");
        assert_null(flat.layers);
        mr_params_free(&flat);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(flat_order), cmocka_unit_test(widening),
                                       cmocka_unit_test(fits), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
