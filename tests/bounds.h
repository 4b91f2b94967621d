/* Operands with errors, and arithmetics of which all units are zero but the named ones, so that
 * every term of a bound can be asked for alone. */
#ifndef MR_TESTS_BOUNDS_H
#define MR_TESTS_BOUNDS_H

#include "tests/check.h"

#include <math.h>

#include "golden/replay_bound.h"

typedef struct {
    double v[8], e[8], s[8];
} numbers;

static inline mr_bounded of(numbers *n) { return (mr_bounded){n->v, n->e, n->s}; }

#define UNITS(...) \
    &(const mr_arithmetic){.huge = (double)INFINITY, .storage = MR_STORE_WIDE, __VA_ARGS__}
#define EXACT UNITS(.sum = 0)

/* Up to rounding of the few operations that make it. */
static inline void check_is(const char *name, double want, double got) {
    check_number(name, want, got, 64);
}

#endif
