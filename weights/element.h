/* Single elements of the four types a model can have, exact into double and rounded to nearest
 * even out of it. */
#ifndef MR_WEIGHTS_ELEMENT_H
#define MR_WEIGHTS_ELEMENT_H

#include "ref/model.h"

/* True for F64, F32, F16 and BF16. */
bool mr_element_float(mr_dtype dtype);

/* Element i of an array; `data` may be unaligned. */
double mr_element_get(const void *data, mr_dtype dtype, idx i);
void   mr_element_put(void *data, mr_dtype dtype, idx i, double value);

/* Element (r, c) of a matrix view. */
double mr_matrix_get(const mr_matrix *matrix, idx r, idx c);

#endif
