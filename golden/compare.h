/* Measures of how far two tensors are apart. Knows tensors, not transformers. */
#ifndef MR_GOLDEN_COMPARE_H
#define MR_GOLDEN_COMPARE_H

#include "ref/base.h"

typedef struct {
    idx    count;        /* elements compared */
    idx    differ;       /* elements that are not equal (NaN equals NaN, inf of the same sign
                          * equals itself) */
    idx    worst;        /* index of the element with the largest absolute difference, -1 when
                          * all are equal */
    double want, got;    /* its two values */
    double max_abs;      /* largest absolute difference; NaN where only one side is NaN, inf
                          * where only one is infinite */
    double norm;         /* Euclidean norm of the finite elements of want */
    double relative;     /* Euclidean norm of the difference / norm (0/0 = 0); NaN or inf
                          * propagate */
    double max_ulp;      /* largest difference in units in the last place of the type given by
                          * `digits` */
} mr_measure;

/* digits: significand bits of the type whose ulp is meant: 53 f64, 24 f32, 11 f16, 8 bf16. */
mr_measure mr_compare(const double *want, const double *got, idx count, int digits);

#endif
