/* The tiny golden models' weights, from a formula with one number per tensor.
 *   matrix:      M[r][c] = 0.35 sin(0.7 t + 1.3 r + 0.41 c + 0.05 r c)
 *   norm vector: w[c]    = 1 + 0.1 cos(t + c)
 * Every row, column and tensor differs, nothing is symmetric, no norm weight is 1: a swap shows. */
#include <math.h>

#include "weights/element.h"
#include "weights/make.h"

/* The number t of a tensor. Rows of ref/weights.def stand in the order of these numbers. */
static double number_of(mr_param p) {
    const idx layer = p.layer + 1, row = p.kind->row;
    switch (p.kind->scope) {
        case MR_IN_MODEL:  return (double)(1 + row);               /* embedding, norm, head */
        case MR_IN_LAYER:  return (double)(10 * layer + row);      /* attention_norm 0, ... */
        case MR_IN_DENSE:  return (double)(10 * layer + 6 + row);  /* w1 6, w2 7, w3 8 */
        case MR_IN_MOE:    return (double)(10 * layer + 9);        /* gate 9 */
        case MR_IN_EXPERT: return (double)(1000 * layer + 10 * p.expert + 1 + row);
    }
    return 0;
}

static void fill(const void *user, mr_param p, const char *name, mr_dtype dtype, void *data) {
    const double t = number_of(p);
    const idx    rows = p.kind->rows, cols = p.kind->cols;
    (void)user;
    (void)name;
    for (idx i = 0; i < rows * cols; i++) {
        const double r = (double)(i / cols), c = (double)(i % cols);
        mr_element_put(data, dtype, i, p.kind->rank == 1 ? 1 + 0.1 * cos(t + c)
                       : 0.35 * sin(0.7 * t + 1.3 * r + 0.41 * c + 0.05 * r * c));
    }
}

mr_status mr_checkpoint_formula(const mr_config *config, mr_checkpoint *out, mr_err *err) {
    return mr_checkpoint_make(config, MR_F64, fill, NULL, "formula", out, err);
}
