/* Parameters as one flat array: their order, their number, and models whose matrices lie in it. */
#include "ref/params.h"

#define MR_BITS 64
#include "ref/real.h"
#include "ref/mr_internal.h"

#define BLOCK 256   /* elements widened at a time */

enum scope { OF_MODEL, OF_LAYER, OF_MOE, OF_DENSE, OF_EXPERT, SCOPES };

/* Where the matrix of each row of ref/weights.def is: offset into mr_model, mr_layer or mr_ffn. A
 * reward head takes the place of the output matrix. */
static const struct { enum scope scope; size_t offset; } table[] = {
#define MODEL(field, ...)  {OF_MODEL, offsetof(mr_model, field)},
#define SCORE(field, ...)
#define LAYER(field, ...)  {OF_LAYER, offsetof(mr_layer, field)},
#define MOE(field, ...)    {OF_MOE, offsetof(mr_layer, field)},
#define DENSE(field, ...)  {OF_DENSE, offsetof(mr_ffn, field)},
#define EXPERT(field, ...) {OF_EXPERT, offsetof(mr_ffn, field)},
#include "ref/weights.def"
};

/* Called with the same parameter of two models. */
typedef void visitor(void *user, mr_matrix *a, const mr_matrix *b);

typedef struct {
    visitor *visit;
    void    *user;
    bool     tied;
} walk;

/* The rows of one scope, in two structs of that scope. */
static void visit_rows(const walk *w, enum scope scope, void *a, const void *b) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const size_t at = table[i].offset;
        if (table[i].scope != scope) continue;
        if (scope == OF_MODEL && at == offsetof(mr_model, output) && w->tied) continue;
        w->visit(w->user, (mr_matrix *)((char *)a + at),
                 (const mr_matrix *)((const char *)b + at));
    }
}

static idx blocks(const mr_config *c) { return c->n_experts > 0 ? c->n_experts : 1; }

static void visit_all(mr_model *a, const mr_model *b, visitor *visit, void *user) {
    const mr_config *c = &b->config;
    const bool sparse = c->n_experts > 0;
    const walk w = {visit, user, c->tied_embeddings};
    visit_rows(&w, OF_MODEL, a, b);
    for (idx l = 0; l < c->n_layers; l++) {
        visit_rows(&w, OF_LAYER, &a->layers[l], &b->layers[l]);
        if (sparse) visit_rows(&w, OF_MOE, &a->layers[l], &b->layers[l]);
        for (idx e = 0; e < blocks(c); e++)
            visit_rows(&w, sparse ? OF_EXPERT : OF_DENSE, &a->layers[l].ffn[e],
                       &b->layers[l].ffn[e]);
    }
}

idx mr_params_count(const mr_model *model) { return (idx)mr_config_sizes(&model->config).total; }

/* ---- a model in flat memory ------------------------------------------------------------------ */

typedef struct {
    char    *at;
    mr_dtype dtype;
} placement;

static void place(void *user, mr_matrix *a, const mr_matrix *b) {
    placement *p = user;
    *a = (mr_matrix){p->at, p->dtype, b->rows, b->cols, b->cols, 1};
    p->at += b->rows * b->cols * mr_dtype_size(p->dtype);
}

mr_status mr_params_like(mr_model *out, const mr_model *model, mr_dtype dtype, void *memory,
                         mr_err *err) {
    const mr_config *c = &model->config;
    placement p = {memory, dtype};
    *out = (mr_model){.config = *c, .qk_rows = model->qk_rows};
    out->layers = mr_alloc(c->n_layers, sizeof *out->layers, err);
    mr_ffn *ffn = mr_alloc(c->n_layers * blocks(c), sizeof *ffn, err);
    if (out->layers == NULL || ffn == NULL) {
        mr_free(ffn);
        mr_free(out->layers);
        *out = (mr_model){0};
        return MR_BAD;
    }
    for (idx l = 0; l < c->n_layers; l++) out->layers[l].ffn = ffn + l * blocks(c);
    visit_all(out, model, place, &p);
    if (c->tied_embeddings) out->output = out->tok_embeddings;
    return MR_OK;
}

void mr_params_free(mr_model *params) {
    if (params->layers != NULL) mr_free(params->layers[0].ffn);
    mr_free(params->layers);
    *params = (mr_model){0};
}

/* ---- copying and comparing ------------------------------------------------------------------- */

static void copy_block(const mr_matrix *a, const mr_matrix *b, idx row, idx start, idx n) {
    double wide[BLOCK];
    const idx at = row * a->row_stride + start;
    FN(widen)(wide, b, row, start, n, MR_STORE_WIDE);
    for (idx i = 0; i < n; i++) {
        if (a->dtype == MR_F64) ((double *)a->data)[at + i] = wide[i];
        else                    ((float *)a->data)[at + i] = (float)wide[i];
    }
}

static void copy(void *user, mr_matrix *a, const mr_matrix *b) {
    (void)user;
    for (idx r = 0; r < b->rows; r++)
        for (idx c = 0; c < b->cols; c += BLOCK)
            copy_block(a, b, r, c, b->cols - c < BLOCK ? b->cols - c : BLOCK);
}

void mr_params_copy(const mr_model *out, const mr_model *from) {
    mr_model target = *out;
    visit_all(&target, from, copy, NULL);
}

typedef struct {
    mr_dtype dtype;
    bool     fit;
} comparison;

static void compare(void *user, mr_matrix *a, const mr_matrix *b) {
    comparison *c = user;
    c->fit = c->fit && a->dtype == c->dtype && a->rows == b->rows && a->cols == b->cols &&
             a->row_stride == a->cols && a->col_stride == 1;
}

bool mr_params_fit(const mr_model *params, const mr_model *model, mr_dtype dtype) {
    const mr_config *a = &params->config, *b = &model->config;
    comparison c = {dtype, a->n_layers == b->n_layers && a->n_experts == b->n_experts &&
                           a->tied_embeddings == b->tied_embeddings};
    mr_model target = *params;
    if (c.fit) visit_all(&target, model, compare, &c);
    return c.fit;
}
