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
    case 'V': return run->model->output.rows;   /* of the head: V, or N labels */
    case 'S': return run->columns;
    case 'C': return run->slots[layer] * run->options.n_seqs;
    default:  return rows;   /* T, O, X */
    }
}

/* prefix: "" or "grad." */
static void view(mr_tensor *t, char name[96], const char *prefix, const FN(run) *run,
                 enum FN(tensor) which, idx layer, idx expert, idx rows) {
    const enum scope scope = table[which].scope;
    if (scope == MODEL && layer < 0) snprintf(name, 96, "%s%s", prefix, table[which].name);
    else if (scope == EXPERT)
        snprintf(name, 96, "%slayers.%td.experts.%td.%s", prefix, layer, expert,
                 table[which].name);
    else snprintf(name, 96, "%slayers.%td.%s", prefix, layer, table[which].name);
    t->name = name;
    t->dtype = dtype_of(table[which].type);
    t->data = NULL;
    t->rank = (int)strlen(table[which].shape);
    for (int i = 0; i < t->rank; i++) t->dim[i] = letter(run, table[which].shape[i], layer, rows);
}

static idx elements(const FN(run) *run, enum FN(tensor) which, idx rows) {
    mr_tensor t;
    char name[96];
    view(&t, name, "", run, which, 0, 0, rows);
    return mr_count(t.rank, t.dim);
}

idx FN(tensor_room)(const FN(run) *run, enum FN(tensor) which) {
    const mr_run_options *o = &run->options;
    const bool only_shown = which == FN(T_mask) || which == FN(T_scores) || which == FN(T_probs);
    const idx K = run->model->config.n_experts_per_tok;
    /* rows of all experts together, not of one at a time */
    const bool copies = table[which].scope == EXPERT ||
                        (table[which].scope == DENSE && o->train && K > 0);
    idx rows = o->max_tokens;
    if (table[which].scope == CACHE || (only_shown && o->tap == NULL)) return 0;
    if (which == FN(T_logits) && o->last_only) rows = o->n_seqs;
    if (copies && !mr_mul(rows, K, &rows)) return -1;
    return elements(run, which, rows);
}

/* What backward does not read again. */
static bool passing(enum FN(tensor) which) {
    return which == FN(T_q) || which == FN(T_k) || which == FN(T_scores) ||
           which == FN(T_probs) || which == FN(T_attention_out) || which == FN(T_ffn_out);
}

idx FN(tensor_layers)(const FN(run) *run, enum FN(tensor) which) {
    const bool kept = run->options.train && table[which].scope != MODEL && !passing(which);
    return kept ? run->model->config.n_layers : 1;
}

void FN(select_layer)(FN(run) *run, idx l) {
    if (!run->options.train) return;
#define TENSOR(field, name, scope, type, shape, equation) \
    run->field = run->kept.field + \
                 l % FN(tensor_layers)(run, FN(T_##field)) * FN(tensor_room)(run, FN(T_##field));
#include "ref/tensors.def"
}

idx FN(slope_room)(const FN(run) *run, enum FN(tensor) which) {
    switch (which) {
    case FN(T_tok_embeddings): case FN(T_attention_out): case FN(T_h_mid): case FN(T_ffn_out):
    case FN(T_q): case FN(T_k): case FN(T_w1):
        return 0;   /* shared: carve_slopes */
    case FN(T_w3): case FN(T_act):
        return elements(run, which, run->options.max_tokens);   /* one expert at a time */
    default:
        return table[which].type == 'R' ? FN(tensor_room)(run, which) : 0;
    }
}

static bool asked(const FN(run) *run, const char *prefix, enum FN(tensor) which, idx layer,
                  idx expert, idx rows) {
    mr_tensor t;
    char name[96];
    if (run->options.tap == NULL) return false;
    view(&t, name, prefix, run, which, layer, expert, rows);
    return run->options.tap(run->options.user, &t);
}

static void offer(const FN(run) *run, const char *prefix, enum FN(tensor) which, idx layer,
                  idx expert, idx rows, const void *data) {
    mr_tensor t;
    char name[96];
    if (!asked(run, prefix, which, layer, expert, rows)) return;
    view(&t, name, prefix, run, which, layer, expert, rows);
    t.data = data;
    run->options.tap(run->options.user, &t);
}

bool FN(wanted)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows) {
    return asked(run, "", which, layer, expert, rows);
}

void FN(show)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows,
              const void *data) {
    offer(run, "", which, layer, expert, rows, data);
}

bool FN(slope_wanted)(const FN(run) *run, enum FN(tensor) which, idx layer, idx rows) {
    return asked(run, "grad.", which, layer, -1, rows);
}

void FN(show_slope)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows,
                    const void *data) {
    offer(run, "grad.", which, layer, expert, rows, data);
}

void FN(round_all)(real *data, idx n, mr_storage storage) {
    if (storage == MR_STORE_WIDE) return;
    for (idx i = 0; i < n; i++) data[i] = FN(rd)(data[i], storage);
}

void FN(keep)(const FN(run) *run, enum FN(tensor) which, idx layer, idx rows, real *data) {
    FN(round_all)(data, elements(run, which, rows), run->model->config.storage);
    FN(show)(run, which, layer, -1, rows, data);
}
