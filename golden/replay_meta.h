/* What a trace says about its own run: the JSON text `meta`. Fields: docs/FORMATS.md. */
#ifndef MR_GOLDEN_REPLAY_META_H
#define MR_GOLDEN_REPLAY_META_H

#include "golden/replay.h"
#include "ref/config.h"

typedef enum { MR_ALONE, MR_RIGHT_PADDED, MR_LEFT_PADDED, MR_PACKED } mr_batch;

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
    idx      chunk, decode;    /* columns per prefill call (0: all), last tokens decoded singly */
} mr_meta;

/* `source` opens messages. MR_BAD when a field is missing or of another kind. */
mr_status mr_meta_read(const char *source, const char *text, mr_meta *out, mr_err *err);
void      mr_meta_free(mr_meta *meta);

#endif
