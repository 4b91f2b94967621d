/* Paths of one port: the same tokens as one prefill, in chunks, token by token, alone, in a batch.
 * Its traces must agree with each other: what an operation adds of its own may differ by the two
 * bounds, and by nothing else. Guide: docs/VERIFY.md. */
#ifndef MR_GOLDEN_PATHS_H
#define MR_GOLDEN_PATHS_H

#include "golden/replay_verify.h"

/* One path, verified by itself. */
typedef struct {
    const char      *name;        /* of the file */
    mr_trace        *trace;
    mr_meta          meta;
    mr_verification  found;
    mr_status        status;      /* of the verification */
    struct mr_path_tensor {
        char    name[96];
        int     rank;
        idx     dim[MR_MAX_RANK];
        double *introduced, *bound;   /* port - expected, and its bound; inf: none is known */
    }               *tensor;
    idx              count, room;
} mr_path;

/* One tensor in two paths. */
typedef struct {
    char    name[96];
    idx     rows, equal;          /* of the same tokens, and those that are bit for bit the same */
    idx     beyond;               /* rows whose difference exceeds both bounds together */
    double  relative;             /* largest distance of a row / its norm */
    double  ratio;                /* largest difference of introduced errors / sum of bounds;
                                   * -1 where no bound is known */
    idx     row, sequence;        /* the first row beyond, else the first that is not equal; -1 */
    int64_t position;             /* of its token */
    bool    guilty[2];            /* whose own error exceeds its own bound there */
} mr_path_step;

typedef struct {
    mr_path_step *step;           /* in execution order */
    idx           count, room;
    idx           parted;         /* the first step with rows beyond, -1 */
    idx           equal;          /* tensors that are the same bit for bit */
    idx           rows;           /* tokens that both paths have */
    idx           judged;         /* tensors with bounds */
} mr_path_pair;

/* Verifies one path; the model may be bare (golden/paths_model.h). Takes over nothing. */
mr_status mr_path_open(const mr_model *model, const mr_arithmetic *arithmetic, const char *name,
                       mr_trace *trace, mr_path *out, mr_err *err);
void      mr_path_close(mr_path *path);

/* Compares two paths. MR_MISSING when they have no token or no tensor in common. */
mr_status mr_paths_compare(const mr_path *a, const mr_path *b, mr_path_pair *out, mr_err *err);
void      mr_path_pair_free(mr_path_pair *pair);

/* For every row of b the row of a that has the same tokens before it at the same positions, -1:
 * none. */
void mr_path_rows(const mr_meta *a, const mr_meta *b, idx *row_of);

#endif
