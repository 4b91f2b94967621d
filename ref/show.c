/* Round, then show: the one place through which every intermediate tensor passes on its way to a
 * trace. */
#include "ref/real.h"
#include "ref/state.h"

#include <stdio.h>
#include <string.h>

enum scope { MODEL, LAYER, DENSE, SPARSE, EXPERT, CACHE };

static const struct {
    const char *name;
    enum scope  scope;
    char        type;
    const char *shape;
} table[] = {
#define TENSOR(field, name, scope, type, shape, equation) {name, scope, #type[0], shape},
#include "ref/tensors.def"
};

static mr_dtype dtype_of(char type) {
    if (type == 'R') return MR_BITS == 64 ? MR_F64 : MR_F32;
    return type == 'I' ? MR_I32 : MR_U8;
}

/* The size that a letter of the table stands for. */
static idx letter(const FN(run) *run, char symbol, idx layer, idx rows) {
    const mr_config *c = &run->model->config;
    switch (symbol) {
    case 'd': return c->dim;
    case 'H': return c->n_heads;
    case 'G': return c->n_kv_heads;
    case 'D': return c->head_dim;
    case 'F': return c->hidden_dim;
    case 'E': return c->n_experts;
    case 'K': return c->n_experts_per_tok;
    case 'V': return c->vocab_size;
    case 'S': return run->columns;
    case 'C': return run->slots[layer] * run->options.n_seqs;
    default:  return rows;   /* T, O, X */
    }
}

static void view(mr_tensor *t, char name[96], const FN(run) *run, enum FN(tensor) which, idx layer,
                 idx expert, idx rows) {
    const enum scope scope = table[which].scope;
    if (scope == MODEL && layer < 0) snprintf(name, 96, "%s", table[which].name);
    else if (scope == EXPERT)
        snprintf(name, 96, "layers.%td.experts.%td.%s", layer, expert, table[which].name);
    else snprintf(name, 96, "layers.%td.%s", layer, table[which].name);
    t->name = name;
    t->dtype = dtype_of(table[which].type);
    t->data = NULL;
    t->rank = (int)strlen(table[which].shape);
    for (int i = 0; i < t->rank; i++) t->dim[i] = letter(run, table[which].shape[i], layer, rows);
}

static idx elements(const FN(run) *run, enum FN(tensor) which, idx rows) {
    mr_tensor t;
    char name[96];
    view(&t, name, run, which, 0, 0, rows);
    return mr_count(t.rank, t.dim);
}

idx FN(tensor_room)(const FN(run) *run, enum FN(tensor) which) {
    const mr_run_options *o = &run->options;
    const bool only_shown = which == FN(T_mask) || which == FN(T_scores) || which == FN(T_probs);
    idx rows = o->max_tokens;
    if (table[which].scope == CACHE || (only_shown && o->tap == NULL)) return 0;
    if (which == FN(T_logits) && o->last_only) rows = o->n_seqs;
    if (table[which].scope == EXPERT && !mr_mul(rows, run->model->config.n_experts_per_tok, &rows))
        return -1;
    return elements(run, which, rows);
}

bool FN(wanted)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows) {
    mr_tensor t;
    char name[96];
    if (run->options.tap == NULL) return false;
    view(&t, name, run, which, layer, expert, rows);
    return run->options.tap(run->options.user, &t);
}

void FN(show)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows,
              const void *data) {
    mr_tensor t;
    char name[96];
    if (!FN(wanted)(run, which, layer, expert, rows)) return;
    view(&t, name, run, which, layer, expert, rows);
    t.data = data;
    run->options.tap(run->options.user, &t);
}

void FN(round_all)(real *data, idx n, mr_storage storage) {
    if (storage == MR_STORE_WIDE) return;
    for (idx i = 0; i < n; i++) data[i] = FN(rd)(data[i], storage);
}

void FN(keep)(const FN(run) *run, enum FN(tensor) which, idx layer, idx rows, real *data) {
    FN(round_all)(data, elements(run, which, rows), run->model->config.storage);
    FN(show)(run, which, layer, -1, rows, data);
}
