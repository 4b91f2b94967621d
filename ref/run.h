/* A run: one model, some sequences, their caches, and the activations of one call. Any number of
 * runs can live side by side, in threads of their own as well; they may share a model, which none
 * of them writes to. One run belongs to one thread at a time. */
#ifndef MR_REF_RUN_H
#define MR_REF_RUN_H

#include "ref/dispatch.h"
#include "ref/model.h"

/* which of the two builds of the equations */
typedef enum { MR_F32_RUN, MR_F64_RUN } mr_precision;
/* C loops in fixed order, or OpenBLAS */
typedef enum { MR_PLAIN_ENGINE, MR_BLAS_ENGINE } mr_engine;

/* Rows of a matrix that the BLAS engine widens at a time, all threads together; tokens below which
 * it leaves a matrix to the plain engine's loops, which are faster there; and queries that it takes
 * at a time in attention. */
#define MR_LINEAR_ROWS 512
#define MR_BLAS_TOKENS 8
#define MR_ATTENTION_ROWS 64

/* Sees every intermediate tensor (ref/tensors.def), rounded as the model rounds it. Called with
 * data NULL to ask whether the tensor is wanted; only then with the data, which are valid during
 * the call. */
typedef bool (*mr_tap)(void *user, const mr_tensor *tensor);

/* Coefficients of the losses on the router logits of all tokens of one call, by the names of
 * docs/MODEL.md; 0: none. The noisy ones need the noise and are not here. */
typedef struct {
    double balance;      /* Switch, each layer alone, averaged over layers */
    double pooled;       /* Hugging Face's, the tokens of all layers together */
    double z;            /* averaged over layers */
    double importance;   /* averaged over layers */
} mr_router_losses;

typedef struct {
    mr_precision precision;
    mr_engine    engine;
    mr_dispatch  dispatch;
    idx          n_seqs;        /* sequences that live in this run */
    const idx   *capacity;      /* [n_seqs] positions each may reach; copied */
    idx          max_tokens;    /* most new tokens of all sequences together in one call */
    bool         last_only;     /* logits of each sequence's last token only */
    mr_tap       tap;           /* NULL: none, and then scores and probs need no room */
    void        *user;
    /* told before each layer of a forward call of several tokens, so that somebody can bring its
     * weights into memory (weights/pages.h); one token uses few experts, and looking for all of
     * them would cost more than it saves; NULL: nobody */
    void       (*coming)(const mr_model *model, idx layer);
    /* keeps the activations of every layer, so that mr_run_backward can follow a call; no caches:
     * every call begins at the first token of every sequence */
    bool         train;
    mr_router_losses router;    /* joined by mr_run_backward */
} mr_run_options;

typedef struct mr_run mr_run;

/* Threads of both engines, in calls from this thread; 1 or more. They never change a bit of the
 * plain engine. */
void mr_set_threads(int n);

/* How the loaded OpenBLAS makes its threads: "OpenMP" shares ours, "pthread" has its own. */
const char *mr_blas_pool(void);

bool mr_engine_built(mr_engine engine);   /* false for BLAS in a build without it */

/* Bytes that a run needs, all included; -1 when that overflows. mr_run_init carves them from
 * `memory` (64-byte aligned). */
idx       mr_run_size(const mr_model *model, const mr_run_options *options);
mr_status mr_run_init(const mr_model *model, const mr_run_options *options, void *memory,
                      mr_run **out, mr_err *err);

/* The two above with memory from mr_alloc. The model must outlive the run. Close frees only what
 * open allocated. */
mr_status mr_run_open(const mr_model *model, const mr_run_options *options, mr_run **out,
                      mr_err *err);
void      mr_run_close(mr_run *run);

/* Forgets sequence b; its next token gets absolute position `first`, from 0 to 2^31-1 less the
 * capacity. Runs start with every sequence at 0. */
void mr_run_reset(mr_run *run, idx b, int64_t first);

/* Feeds length[b] new tokens to each sequence b (0 is fine); tokens holds them one sequence after
 * the other.
 * MR_BAD when an id is outside the vocabulary, a sequence outgrows its capacity or the call
 * max_tokens. */
mr_status mr_run_forward(mr_run *run, const int32_t *tokens, const idx *length, mr_err *err);

/* Logits of the last call: row r (token order, or one per sequence with last_only), widened into
 * out[V]. */
idx  mr_run_rows(const mr_run *run);
void mr_run_logits(const mr_run *run, idx row, double *out);

/* log p(target) under row r, (X1); mean cross-entropy of targets[rows], negative: not scored,
 * (X2). */
double mr_run_log_probability(const mr_run *run, idx row, int32_t target);
double mr_run_cross_entropy(const mr_run *run, const int32_t *targets);

/* Shows the caches of all layers to the tap: cache_k, cache_v, cache_pos in slot order. */
void mr_run_show_cache(mr_run *run);

idx mr_run_seen(const mr_run *run, idx b);   /* tokens of sequence b so far */

/* ---- backward: runs with options.train --------------------------------------------------------
 * After mr_run_forward the caller says what the loss's derivative by the logits is, as often as it
 * likes (it adds up), then mr_run_backward carries it to all parameters. */

/* dlogits[row] += dlogp d log p(target) / dz, (X1) */
void mr_run_log_probability_backward(mr_run *run, idx row, int32_t target, double dlogp);

/* *loss += (X5) of all rows, a negative target is not scored; with `back`, in a run with
 * options.train, dlogits += its derivative                              targets,weight: [rows] */
void mr_run_token_losses(mr_run *run, double *loss, const int32_t *targets, const double *weight,
                         bool back);

/* dlogits[row][column] += dz: reward and value heads */
void mr_run_logit_backward(mr_run *run, idx row, idx column, double dz);

/* The router losses of the last call, each times its coefficient, as mr_run_backward joins them. */
double mr_run_router_loss(mr_run *run);

/* gradients += d loss / d parameter; then the logits' derivative is 0 again. `gradients` comes
 * from mr_params_like in the run's precision. Plain engine: tokens are added one by one in
 * ascending order, so the tokens of one call, fed in several calls, give the same bits (but for
 * router losses, which are means over a call), as does any number of threads.
 * MR_USAGE in a run without train, MR_BAD when `gradients` has another shape or type. */
mr_status mr_run_backward(mr_run *run, const mr_model *gradients, mr_err *err);

#endif
