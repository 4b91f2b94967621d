/* What a run holds, in one precision. Private to ref/; include after ref/real.h. */
#include "ref/mr_internal.h"

#define TYPE_R real
#define TYPE_I int32_t
#define TYPE_U uint8_t

typedef struct FN(run) FN(run);

/* One buffer per row of the table. */
typedef struct {
#define TENSOR(field, name, scope, type, shape, equation) TYPE_##type *field;
#include "ref/tensors.def"
} FN(buffers);

/* The precision-free face of both runs: first member of each, so that one pointer serves as
 * both. */
struct mr_run {
    void      (*reset)(mr_run *run, idx b, int64_t first);
    mr_status (*forward)(mr_run *run, const int32_t *tokens, const idx *length, mr_err *err);
    void      (*logits)(const mr_run *run, idx row, double *out);
    double    (*log_probability)(const mr_run *run, idx row, int32_t target);
    double    (*cross_entropy)(const mr_run *run, const int32_t *targets);
    void      (*show_cache)(mr_run *run);
    idx         rows;    /* rows of logits of the last call */
    idx        *seen;    /* [n_seqs] tokens so far */
    void      (*log_probability_backward)(mr_run *run, idx row, int32_t target, double dlogp);
    void      (*token_losses)(mr_run *run, double *loss, const int32_t *targets,
                              const double *weight, bool back);
    void      (*logit_backward)(mr_run *run, idx row, idx column, double dz);
    double    (*router_loss)(mr_run *run);
    mr_status (*backward)(mr_run *run, const mr_model *gradients, mr_err *err);
    void       *owned;   /* memory to free, or NULL */
};

struct FN(run) {
    mr_run          face;
    const mr_model *model;
    mr_run_options  options;
    idx             T;          /* tokens of this call */
    idx             columns;    /* S: positions of all sequences */
    idx            *length;     /* [n_seqs] new tokens of this call */
    idx            *capacity;   /* [n_seqs] */
    idx            *column;     /* [n_seqs] first column of each sequence */
    int64_t        *first;      /* [n_seqs] absolute position of the first token */
    int64_t        *position;   /* [max_tokens] absolute position of each token */
    real           *cos_, *sin_;/* [max_tokens,D/2] */

    /* activations: one buffer per row of the table, reused by every layer; with train, where the
     * present layer keeps them */
#define TENSOR(field, name, scope, type, shape, equation) TYPE_##type *field;
#include "ref/tensors.def"

    /* with train: all layers' activations, the derivatives of the present layer, the call's tokens,
     * rows of probabilities and of derivatives per kv head, and sums of router losses */
    FN(buffers) kept, d;
    int32_t    *tokens;         /* [max_tokens] */
    /* [G,max_tokens,row_queries] each: a slice for every sequence */
    real       *row_probs, *row_slopes;
    mr_balance  pooled, layer;             /* of all layers, and of the present one */
    double     *importance, *slope;        /* [E] each */

    /* [H,row_room] scores of one query per head, or of a block of them (row_queries) with the BLAS
     * engine, and the keys these see (row_keys), when no tap wants them all */
    real  *row;
    idx    row_room, row_queries, row_keys, longest;
    real  *scratch;             /* mr_linear's */
    real  *expert_in;           /* [max_tokens,d] rows gathered for one expert */
    idx   *copy, *place, *bin;  /* dispatch: [max_tokens*K] twice, [E+1] */
    idx   *slots;               /* [L] ring length of each layer, per sequence */
    real **ring_k, **ring_v;    /* [L] each [n_seqs,slots,G,D] */
    int32_t *slot_position;     /* [n_seqs * longest ring] what cache_pos shows */
};

/* Rows of ref/tensors.def. */
enum FN(tensor) {
#define TENSOR(field, name, scope, type, shape, equation) FN(T_##field),
#include "ref/tensors.def"
    FN(T_count)
};

/* Offers `rows` rows of a tensor to the tap under its full name (show.c). expert: -1 but for
 * experts.E.out. */
bool FN(wanted)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows);
void FN(show)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows,
              const void *data);

/* Rounds n elements to the storage type, then shows them: rounding sites and golden sites are one
 * list. */
void FN(keep)(const FN(run) *run, enum FN(tensor) which, idx layer, idx rows, real *data);
void FN(round_all)(real *data, idx n, mr_storage storage);

/* Elements to allocate for a tensor: the table's shape for max_tokens; 0 when only a tap would
 * need it (show.c). */
idx FN(tensor_room)(const FN(run) *run, enum FN(tensor) which);

/* How many layers keep a buffer of their own for the tensor: 1, or with train all (show.c). */
idx FN(tensor_layers)(const FN(run) *run, enum FN(tensor) which);

/* With train: points the activations at those of a layer (show.c). */
void FN(select_layer)(FN(run) *run, idx layer);

/* Elements to allocate for its derivative, 0 where it shares a buffer (arena.c) or is not asked
 * for; and the tap's look at it, under "grad." and its name (show.c). */
idx  FN(slope_room)(const FN(run) *run, enum FN(tensor) which);
bool FN(slope_wanted)(const FN(run) *run, enum FN(tensor) which, idx layer, idx rows);
void FN(show_slope)(const FN(run) *run, enum FN(tensor) which, idx layer, idx expert, idx rows,
                    const void *data);

/* Counts the bytes of a run (memory NULL) or carves them; -1 when they overflow (arena.c). */
idx FN(carve)(FN(run) *run, char *memory);

/* Bytes of a run, -1 when they overflow; and the run itself in that much zeroed memory
 * (model.c). */
idx     FN(run_size)(const mr_model *model, const mr_run_options *options);
mr_run *FN(run_init)(const mr_model *model, const mr_run_options *options, void *memory);

/* What slots are counted from: ring slots from absolute position 0, the linear cache of a layer
 * without window from the sequence's first token (model.c). */
int64_t FN(slot_origin)(const FN(run) *run, idx layer, idx b);

/* (B2) one layer, from x [T,d] to run->h [T,d] (block.c); its feed-forward half (ffn.c). */
void FN(block)(FN(run) *run, idx layer, const real *x);
void FN(ffn)(FN(run) *run, idx layer);

/* Backward of both: run->d.h [T,d] goes in as the derivative by the layer's output and comes out as
 * that by its input x; those by the parameters are added to g. The half in ffn.c leaves d.h as it
 * is and writes d.ffn_norm. */
void FN(block_backward)(FN(run) *run, idx layer, const real *x, const mr_layer *g);
void FN(ffn_backward)(FN(run) *run, idx layer, const mr_layer *g);

/* x = 0; dx = dy W (add: dx +=), dW += dy^T x for n rows of this call (ffn.c) */
void FN(clear)(real *x, idx n);
void FN(project_backward)(FN(run) *run, real *dx, const mr_matrix *dW, const real *dy,
                          const real *x, const mr_matrix *W, idx n, bool add);

/* The router losses of the last call; their sums over all layers; and, with these, their
 * derivatives by the logits of the present layer, added to d.router_logits (router_losses.c). */
double FN(router_losses)(FN(run) *run);
void   FN(router_losses_pool)(FN(run) *run);
void   FN(router_losses_backward)(FN(run) *run);
