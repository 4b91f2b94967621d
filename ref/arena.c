/* The memory of a run: one walk over everything it holds, which either counts bytes or carves them
 * from one block. */
#include "ref/real.h"
#include "ref/state.h"

#define ALIGNMENT 64

typedef struct {
    char *memory;   /* NULL while counting */
    idx   used;     /* bytes so far, -1 after an overflow */
} arena;

static void *take(arena *a, idx count, idx size) {
    idx bytes, end;
    if (a->used < 0 || !mr_mul(count, size, &bytes) || !mr_add(bytes, ALIGNMENT - 1, &bytes) ||
        !mr_add(a->used, bytes / ALIGNMENT * ALIGNMENT, &end)) {
        a->used = -1;
        return NULL;
    }
    void *at = a->memory != NULL ? a->memory + a->used : NULL;
    a->used = end;
    return at;
}

/* a * b; -1 on overflow, which take() passes on. */
static idx times(idx a, idx b) { return mr_count(2, (const idx[]){a, b}); }

/* Ring length of a layer, per sequence: what its window can still see, or every position of the
 * longest sequence; nothing with train. */
static idx ring_slots(const FN(run) *run, idx layer) {
    if (run->options.train) return 0;
    const idx span = mr_config_span(&run->model->config, layer);
    return span > 0 ? span : run->longest;
}

static void carve_sequences(FN(run) *run, arena *a) {
    const idx B = run->options.n_seqs;
    run->face.seen = take(a, B, sizeof *run->face.seen);
    run->length    = take(a, B, sizeof *run->length);
    run->capacity  = take(a, B, sizeof *run->capacity);
    run->column    = take(a, B, sizeof *run->column);
    run->first     = take(a, B, sizeof *run->first);
}

/* Queries of which a head holds the scores at a time, and room for these: all keys that neighbours
 * see in the layer with the widest window. */
static void measure_row(FN(run) *run) {
    const mr_config *c = &run->model->config;
    const idx T = run->options.max_tokens;
    run->row_keys = 0;
    run->row_queries = run->options.engine == MR_PLAIN_ENGINE ? 1
                       : T < MR_ATTENTION_ROWS ? T : MR_ATTENTION_ROWS;
    for (idx l = 0; l < c->n_layers; l++) {
        const idx span = mr_config_span(c, l);
        idx keys = span > 0 ? span + run->row_queries - 1 : run->longest;
        keys = keys < run->longest ? keys : run->longest;
        run->row_keys = keys > run->row_keys ? keys : run->row_keys;
    }
    run->row_room = times(run->row_queries, run->row_keys);
}

static void carve_activations(FN(run) *run, arena *a) {
    const mr_config *c = &run->model->config;
    const idx T = run->options.max_tokens, copies = times(T, c->n_experts_per_tok);
    run->position = take(a, T, sizeof *run->position);
    run->cos_ = take(a, times(T, c->head_dim / 2), sizeof(real));
    run->sin_ = take(a, times(T, c->head_dim / 2), sizeof(real));
#define TENSOR(field, name, scope, type, shape, equation) \
    run->kept.field = take(a, times(FN(tensor_room)(run, FN(T_##field)), \
                                    FN(tensor_layers)(run, FN(T_##field))), sizeof *run->field); \
    run->field = run->kept.field;
#include "ref/tensors.def"
    measure_row(run);
    run->row       = take(a, times(c->n_heads, run->row_room), sizeof(real));
    run->expert_in = take(a, c->n_experts > 0 ? times(T, c->dim) : 0, sizeof(real));
    run->copy      = take(a, copies, sizeof *run->copy);
    run->place     = take(a, copies, sizeof *run->place);
    run->bin       = take(a, c->n_experts + 1, sizeof *run->bin);
}

/* What backward needs. The residual stream has one derivative, whatever its name at the moment;
 * rotation and SwiGLU are turned back in place. */
static void carve_slopes(FN(run) *run, arena *a) {
    const mr_config *c = &run->model->config;
    const idx T = run->options.max_tokens, E = c->n_experts;
    if (!run->options.train) return;
#define TENSOR(field, name, scope, type, shape, equation) \
    run->d.field = take(a, FN(slope_room)(run, FN(T_##field)), sizeof *run->d.field);
#include "ref/tensors.def"
    run->d.tok_embeddings = run->d.attention_out = run->d.h_mid = run->d.ffn_out = run->d.h;
    run->d.q = run->d.q_rope;
    run->d.k = run->d.k_rope;
    run->d.w1 = run->d.act;
    run->tokens     = take(a, T, sizeof *run->tokens);
    run->row_probs  = take(a, times(c->n_kv_heads, times(T, run->row_queries)), sizeof(real));
    run->row_slopes = take(a, times(c->n_kv_heads, times(T, run->row_queries)), sizeof(real));
    run->pooled.chosen      = take(a, E, sizeof(double));
    run->pooled.probability = take(a, E, sizeof(double));
    run->layer.chosen       = take(a, E, sizeof(double));
    run->layer.probability  = take(a, E, sizeof(double));
    run->importance = take(a, E, sizeof(double));
    run->slope      = take(a, E, sizeof(double));
}

static void carve_scratch(FN(run) *run, arena *a) {
    const mr_config *c = &run->model->config;
    idx widest = c->dim > c->hidden_dim ? c->dim : c->hidden_dim;
    if (c->n_heads * c->head_dim > widest) widest = c->n_heads * c->head_dim;
    run->scratch = take(a, run->options.engine == MR_BLAS_ENGINE ? MR_LINEAR_ROWS * widest : 0,
                        sizeof(real));
}

static void carve_rings(FN(run) *run, arena *a) {
    const mr_config *c = &run->model->config;
    run->slots  = take(a, c->n_layers, sizeof *run->slots);
    run->ring_k = take(a, c->n_layers, sizeof *run->ring_k);
    run->ring_v = take(a, c->n_layers, sizeof *run->ring_v);
    idx most = 0;
    for (idx l = 0; l < c->n_layers; l++) {
        const idx dim[] = {run->options.n_seqs, ring_slots(run, l), c->n_kv_heads, c->head_dim};
        real *k = take(a, mr_count(4, dim), sizeof *k), *v = take(a, mr_count(4, dim), sizeof *v);
        most = dim[1] > most ? dim[1] : most;
        if (a->memory == NULL) continue;
        run->slots[l] = dim[1];
        run->ring_k[l] = k;
        run->ring_v[l] = v;
    }
    run->slot_position = take(a, times(run->options.n_seqs, most), sizeof *run->slot_position);
}

idx FN(carve)(FN(run) *run, char *memory) {
    arena a = {memory, 0};
    take(&a, 1, sizeof *run);   /* the run itself comes first */
    carve_sequences(run, &a);
    carve_activations(run, &a);
    carve_slopes(run, &a);
    carve_scratch(run, &a);
    carve_rings(run, &a);
    return a.used;
}
