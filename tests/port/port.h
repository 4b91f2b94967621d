/* The second implementation: what its kernels share. It knows nothing of ref/ but sizes and
 * statuses. */
#ifndef TESTS_PORT_PORT_H
#define TESTS_PORT_PORT_H

#include "ref/base.h"
#include "tests/port/bugs.h"

/* ---- number.c: element types, emulated in float ---------------------------------------------- */

typedef enum { PORT_F32, PORT_BF16, PORT_F16 } port_storage;
typedef enum { PORT_ACC_F32, PORT_ACC_TF32, PORT_ACC_F16, PORT_ACC_BF16 } port_accumulator;

/* What a GPU build would fix at compile time; set once by main. */
extern port_storage     port_store;
extern port_accumulator port_acc;

float    port_to_bf16(float x);
float    port_to_f16(float x);
float    port_st(float x);               /* as a kernel stores an element */
float    port_factor(float x);           /* operand of a product, as the multiplier takes it */
float    port_sum(float x);              /* running sum, as the accumulator holds it */
float    port_dot(const float *a, const float *b, idx n);
uint16_t port_bf16_bits(float x);
uint16_t port_f16_bits(float x);
float    port_bf16_value(uint16_t bits);
float    port_f16_value(uint16_t bits);
float    port_junk(idx i);               /* what uninitialised memory holds here: finite, no 0 */
float   *port_floats(idx count);         /* filled with junk; without memory the program ends */
void    *port_zeros(idx count, size_t size);

/* ---- load.c ---------------------------------------------------------------------------------- */

typedef struct {
    float *attention_norm, *qkv, *wo, *ffn_norm;   /* qkv: [(H+2G) D, d], q over k over v */
    float *router;                                 /* [E,d], NULL in a dense model */
    float *gate_up, *down;   /* [max(E,1), 2F, d], gate rows over up rows; [max(E,1), d, F] */
    idx    window;                                 /* 0: none */
} port_layer;

typedef struct {
    idx   d, L, H, G, D, F, V, E, K;
    float eps, theta;
    bool  half;                          /* rotary pairs (n, n+D/2), else (2n, 2n+1) */
    int32_t eos;
    float *embedding, *norm, *head;
    port_layer *layer;
} port_model;

mr_status port_load(const char *folder, bool half, port_model *out, mr_err *err);
void      port_unload(port_model *model);

/* ---- matmul.c: y[rows][n] = x[rows][k] w[n][k]^T --------------------------------------------- */

void port_matmul(float *y, const float *x, const float *w, idx rows, idx n, idx k);
void port_gemv(float *y, const float *x, const float *w, idx n, idx k);

/* ---- norm.c ---------------------------------------------------------------------------------- */

/* residual += add (unless NULL), normed = RMSNorm(residual): one launch for [rows][d]. */
void port_add_norm(float *normed, float *residual, const float *add, const float *weight,
                   idx rows, idx d, float eps);

/* ---- rope.c ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t low, high;                   /* positions the table covers */
    idx     half;                        /* D/2 */
    float  *cos, *sin;
} port_rope;

void port_rope_build(port_rope *rope, const port_model *model, int64_t low, int64_t high);
void port_rope_free(port_rope *rope);
void port_rotate(float *x, idx heads, const port_rope *rope, int64_t position, bool half);

/* ---- cache.c --------------------------------------------------------------------------------- */

/* Keys and values of one sequence in one layer. A slot is empty while position is -1. */
typedef struct {
    idx      slots, width, count, trimmed;   /* count: tokens put in so far */
    bool     ring;                           /* slot = position mod slots, else in order */
    float   *k, *v;                          /* [slots][width] */
    int64_t *position;
    idx     *column;                         /* of the debug pass */
} port_cache;

void port_cache_init(port_cache *cache, idx slots, idx width, bool ring);
void port_cache_free(port_cache *cache);
void port_cache_clear(port_cache *cache);
idx  port_cache_slot(const port_cache *cache, int64_t position);
void port_cache_put(port_cache *cache, int64_t position, idx column, const float *k,
                    const float *v);
void port_cache_get(const port_cache *cache, idx slot, float *k, float *v, bool decoding);
/* Takes back what comes after the first `keep` tokens; false when the ring overwrote some of what
 * is left, and the sequence has to start again. */
bool port_cache_truncate(port_cache *cache, idx keep, int64_t first);
bool port_cache_wrapped(const port_cache *cache);

/* ---- one launch of the model ----------------------------------------------------------------- */

typedef struct {
    int64_t first;                       /* absolute position of token 0 */
    idx     length, prompt, done, record;/* record: row of token 0 in the trace */
    const int32_t *tokens;
} port_sequence;

/* Rows [row, row+rows) of a launch belong to one sequence; the real ones are [real, real+count). */
typedef struct {
    idx sequence, row, rows, real, count;
} port_span;

typedef struct {
    idx rows, spans;
    port_span *span;
    int32_t   *token;
    int64_t   *position, *position_q;
    idx       *out;                      /* row of the trace, -1 for padding */
    bool       decoding, packed, padded;
} port_call;

struct port_record;

typedef struct {
    port_model model;
    port_rope  rope;
    port_cache *cache;                   /* [L][sequences] */
    port_sequence *sequence;
    idx        sequences, total;
    struct port_record *record;
} port_engine;

void port_forward(port_engine *engine, const port_call *call);

/* ---- attention_prefill.c, attention_decode.c, softmax.c -------------------------------------- */

#define PORT_TILE 16                     /* keys per step of the online softmax */

typedef struct {
    float  max, sum;
    float *acc;                          /* [D] */
} port_online;

void port_online_start(port_online *o, idx D);
void port_online_tile(port_online *o, const float *score, const float *const *v, idx n, idx D);
void port_online_store(const port_online *o, float *out, idx D);
float port_probability(const port_online *o, float score);
/* Joins b into a, as split kernels do at the end. */
void port_online_join(port_online *a, const port_online *b, idx D);

idx   port_kv_head(const port_model *model, idx head);
float port_score(const port_model *model, const float *q, const float *k);

/* out: [rows][H D]  qkv: [rows][(H+2G) D], rotated; also writes the cache */
void port_attend_prefill(port_engine *engine, const port_call *call, idx layer, float *out,
                         const float *qkv);
void port_attend_decode(port_engine *engine, const port_call *call, idx layer, float *out,
                        const float *qkv);

/* ---- mlp.c, router.c, experts.c -------------------------------------------------------------- */

/* act[rows][F] from gate_up[rows][2F] */
void port_silu_mul(float *act, const float *gate_up, idx rows, idx F, bool sparse);
void port_dense(port_engine *engine, const port_call *call, idx layer, float *out, const float *x);
/* expert, weight: [rows][K] */
void port_route(port_engine *engine, const port_call *call, idx layer, int32_t *expert,
                float *weight, const float *x);
void port_sparse(port_engine *engine, const port_call *call, idx layer, float *out,
                 const float *x);

/* ---- schedule.c ------------------------------------------------------------------------------ */

typedef enum { PORT_ALONE, PORT_RIGHT, PORT_LEFT, PORT_PACKED } port_layout;

/* Feeds every sequence: prompts in chunks, then tail tokens one by one. reuse > 0: the requests
 * come a second time and keep the first `reuse` tokens of the cache. */
void port_run(port_engine *engine, port_layout layout, idx chunk, idx reuse);

#endif
