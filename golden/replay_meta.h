/* What a trace says about its own run: the JSON text `meta`. Fields: docs/FORMATS.md. */
#ifndef MR_GOLDEN_REPLAY_META_H
#define MR_GOLDEN_REPLAY_META_H

#include "golden/replay.h"
#include "ref/config.h"

typedef enum { MR_ALONE, MR_RIGHT_PADDED, MR_LEFT_PADDED, MR_PACKED } mr_batch;

/* A tensor that holds some rows only. */
typedef struct {
    char *name;
    idx   count, *row;
} mr_meta_part;

typedef struct {
    mr_trace_precision precision;
    mr_convention      convention;
    mr_rope_angles     rope_angles;
    mr_rope_layout     rope_layout;
    idx      n_seqs, count;    /* sequences, and tokens of all of them */
    idx     *length;           /* [n_seqs] */
    int64_t *first;            /* [n_seqs] absolute position of the first token */
    int32_t *tokens;           /* [count] one sequence after the other */
    double   smallest_gap;     /* least router gap recorded, -1 if none */
    mr_batch batch;            /* how sequences were laid out; optional, as the next two */
    bool     wide_inside;      /* "inside": "f32": kernels keep what they do not write in float */
    mr_router_losses router;   /* coefficients that a recorded gradient includes; optional */
    idx      chunk, decode;    /* columns per prefill call (0: all), last tokens decoded singly */
    idx      parts;
    mr_meta_part *part;        /* optional */
} mr_meta;

/* `source` opens messages. MR_BAD when a field is missing or of another kind. */
mr_status mr_meta_read(const char *source, const char *text, mr_meta *out, mr_err *err);
void      mr_meta_free(mr_meta *meta);

/* The rows of that tensor, NULL when it has all. */
const mr_meta_part *mr_meta_rows(const mr_meta *meta, const char *name);

/* Called by mr_meta_read with meta's JSON, and by mr_meta_free. */
struct json_t;
mr_status mr_meta_read_rows(const char *source, const struct json_t *json, mr_meta *meta,
                            mr_err *err);
void      mr_meta_free_rows(mr_meta *meta);

/* MR_BAD when the configuration in meta has other sizes than this one; MR_OK without one. */
mr_status mr_meta_of_model(const char *source, const char *text, const mr_config *config,
                           mr_err *err);

#endif
