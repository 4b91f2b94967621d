/* What a test of a kernel holds. Private to golden/check*.c. */
#ifndef MR_GOLDEN_CHECK_PARTS_H
#define MR_GOLDEN_CHECK_PARTS_H

#include "golden/check.h"
#include "golden/replay_bound.h"

#define MOST_PARTS 8
#define POISON 0xff           /* of every byte: NaN in all float types, -1 as an index */

/* What an array is to its operation; fills differ by it. */
typedef enum {
    OF_ACTIVATION, OF_WEIGHT, OF_GAIN, OF_QUERY, OF_KEY, OF_VALUE, OF_LOGIT, OF_SILU, OF_UP,
    OF_SHARE,     /* gate weights of experts */
    OF_COPY,      /* any finite number: it is only moved */
    OF_INDEX      /* int32, set by the operation */
} part_kind;

typedef enum { IS_INPUT, IS_OUTPUT, IS_BOTH, IS_WORK /* may be written, is not judged */ } part_use;

typedef struct {
    mr_check_buffer is;
    mr_dtype   dtype;
    part_kind  kind;
    part_use   use;
    int        rank;
    idx        dim[3];
    void      *before;    /* the data before the call */
    mr_bounded in;        /* that in double, without error; zeros for pure outputs */
    mr_bounded want;      /* outputs: expected value and bound */
} part;

typedef struct operation operation;

struct mr_check {
    mr_check_plan    plan;
    const operation *operation;
    mr_arithmetic    a;
    mr_dtype         dtype;      /* of the storage */
    int              parts;
    part             part[MOST_PARTS];
    double           ratio;
    char             note[200];  /* of expect: what is wrong beside numbers, or "" */
    mr_err           err;
};

/* An operation: its arrays, their indices, its result in double with bounds. */
struct operation {
    const char *name;
    unsigned    exact;    /* fills, as bits, for which every correct result is the same number */
    void (*arrays)(mr_check *check);
    void (*prepare)(mr_check *check);    /* after the fill: indices, slots without a key; or NULL */
    void (*expect)(mr_check *check);     /* sets `want` of every output */
};

/* Lists end with an operation without a name. */
extern const operation mr_check_simple[], mr_check_rows[];   /* check_simple.c, check_rows.c */

#define NO_DIM PTRDIFF_MIN   /* ends the dimensions of an array of fewer than three */

/* Adds an array of these dimensions. */
void mr_check_add(mr_check *check, const char *name, part_kind kind, part_use use, idx d0, idx d1,
                  idx d2);
part *mr_check_part(const mr_check *check, const char *name);   /* NULL: no such */
int32_t *mr_check_index(const mr_check *check, const char *name);   /* data of an OF_INDEX */
/* That array as the operation's matrix of rows x cols, as it was before the call. */
mr_matrix mr_check_matrix(const mr_check *check, const char *name, idx rows, idx cols);

/* A random number that depends on the plan's seed, `stream` and i only: [0,1) and bell-shaped. */
double mr_check_uniform(const mr_check *check, uint64_t stream, idx i);
double mr_check_bell(const mr_check *check, uint64_t stream, idx i);

void mr_check_fill(mr_check *check, part *p);                     /* check_fill.c */
/* Position of the key in row `row` of an array of keys or values; -1: the slot holds none. */
int64_t mr_check_position(const mr_check *check, const part *p, idx row);

double mr_check_value(mr_dtype dtype, const void *array, idx i);
void   mr_check_set(mr_dtype dtype, void *array, idx i, double value);
/* x as the storage type holds it; float where the type is wide */
double mr_check_round(mr_dtype dtype, double x);

/* Why the worst element of an output may be wrong: one sentence, or "". check_reason.c */
void mr_check_reason(mr_check *check, const part *p, idx worst, char *text, size_t size);
/* Is every element of every output within its bound? Sets `want`. */
bool mr_check_within(mr_check *check);

#endif
