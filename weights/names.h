/* ref/weights.def made walkable: every parameter of a configuration with its names, shape and
 * place in mr_model. */
#ifndef MR_WEIGHTS_NAMES_H
#define MR_WEIGHTS_NAMES_H

#include "ref/model.h"
#include "weights/checkpoint.h"

#define MR_NAME_SIZE 128   /* room for any name of the table, with NUL */
#define MR_KINDS 20        /* at least the rows of ref/weights.def */

typedef enum { MR_IN_MODEL, MR_IN_LAYER, MR_IN_DENSE, MR_IN_MOE, MR_IN_EXPERT } mr_scope;

/* A row of ref/weights.def with its letters replaced by numbers. */
typedef struct {
    mr_scope    scope;
    int         row;            /* place among the rows of its scope, from 0 */
    size_t      offset;         /* of the mr_matrix in mr_model, mr_layer or mr_ffn */
    const char *native, *hf;    /* the part of the name after layer and expert */
    int         rank;
    idx         rows, cols;
} mr_kind;

/* The kinds that a configuration has, in three groups, and how many parameters that makes. */
typedef struct {
    mr_kind kind[MR_KINDS];
    idx     kinds, per_model, per_layer, per_expert;   /* the first is the sum of the others */
    idx     layers, experts;
    idx     count;
} mr_names;

/* One parameter. */
typedef struct {
    const mr_kind *kind;
    idx            layer, expert;
} mr_param;

/* The configuration must have passed mr_config_check. A tied head is no parameter. */
void mr_names_init(mr_names *names, const mr_config *config);

/* Parameter number i of names->count: those of the model, then layer by layer, experts last. */
mr_param mr_names_at(const mr_names *names, idx i);

/* Its name in a layout, one tensor per expert, into text[MR_NAME_SIZE]. */
void mr_param_name(mr_param param, mr_layout layout, char *text);

/* Its place in a model whose layers and experts exist. */
mr_matrix *mr_param_matrix(mr_model *model, mr_param param);

/* True for wq and wk, whose rows are rotary pairs. */
bool mr_param_rotary(mr_param param);

/* Row of such a matrix in the layout `from` that is row r in the layout `to`. In each head of D
 * rows the pair i is rows 2i and 2i+1 interleaved, i and i+D/2 half-split. D is all it takes:
 * heads follow each other in both, H of them in wq and G in wk. */
idx mr_rotary_row(idx r, idx D, mr_rope_layout from, mr_rope_layout to);

#endif
