/* Everything public of ref/: the run, and every equation in both precisions (mr_rmsnorm_f32,
 * mr_rmsnorm_f64, ...). */
#ifndef MR_REF_MR_H
#define MR_REF_MR_H

#include "ref/base.h"
#include "ref/config.h"
#include "ref/half.h"
#include "ref/mask.h"
#include "ref/model.h"
#include "ref/params.h"
#include "ref/run.h"
#include "ref/sample.h"
#include "ref/schedule.h"

/* Scratch that linear() needs in the BLAS engine, in elements of the precision. */
#define mr_linear_scratch(cols) (MR_LINEAR_ROWS * (cols))

#define MR_BITS 32
#include "ref/real.h"
#include "ref/ops.h"
#undef MR_BITS
#define MR_BITS 64
#include "ref/real.h"
#include "ref/ops.h"
#undef MR_BITS
#undef real
#undef FN

#endif
