/* The verdict on numbers, as a ratio to rounding. cmocka judges structure; its float assertions
 * accept NaN, so they are not
 * used here. Every check is written `ok = (ratio <= limit)`, so that NaN fails. */
#ifndef MR_TESTS_CHECK_H
#define MR_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ref/base.h"

/* Sizes of 64 bits; a 32-bit build (make m32) refuses earlier what it cannot address. */
enum { WIDE_SIZES = sizeof(idx) > 4 };

#define EPS_F32 1.1920928955078125e-07   /* 2^-23 */
#define EPS_F64 2.220446049250313e-16    /* 2^-52 */

/* Fails the running test with name, index, both values and ratio unless |got - want| <= limit *
 * eps * scale for all n
 * elements. scale: what rounding errors are relative to, such as the sum of absolute terms; one
 * number for all. */
void check_close(const char *name, const double *want, const double *got, idx n, double eps,
                 double scale, double limit);

/* One number, relative to its own size. */
void check_number(const char *name, double want, double got, double limit);

/* The same with float results. */
void check_close_f32(const char *name, const double *want, const float *got, idx n, double scale,
                     double limit);

/* Bit equality; says which byte's element differs. size: bytes per element. */
void check_bits(const char *name, const void *want, const void *got, idx n, idx size);

/* The call must not have failed. */
void must(mr_status status, const mr_err *err);

/* The call must have failed with this status and a message that contains `text`. */
void check_refused(mr_status got, mr_status want, const mr_err *err, const char *text);

/* Fills x with a reproducible formula in about [-1,1]; different `stream`s are unrelated. */
void fill_f64(double *x, idx n, uint64_t stream);
void fill_f32(float *x, idx n, uint64_t stream);

/* Folder of the test data that is not part of the project, or NULL (then the test prints that it
 * is skipped). */
const char *test_data(void);

/* PATH of a file in the test data folder, in a static buffer; skips the running test when the
 * folder is absent. */
const char *test_data_file(const char *relative);

#endif
