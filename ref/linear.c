/* Matrix times vectors: the engines meet here, and only this file knows BLAS. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef MR_BLAS
#include <cblas.h>
#if MR_BITS == 64
#define gemm cblas_dgemm
#else
#define gemm cblas_sgemm
#endif
#endif

/* ---- BLAS engine ----------------------------------------------------------------------------- */

#ifdef MR_BLAS
static void blas(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage,
                 real *scratch) {
    const bool direct = FN(readable)(W, storage);
    const idx step = direct ? W->rows : MR_LINEAR_ROWS;
    for (idx o = 0; o < W->rows; o += step) {
        const idx rows = W->rows - o < step ? W->rows - o : step;
        for (idx r = 0; r < rows && !direct; r++)
            FN(widen)(scratch + r * W->cols, W, o + r, 0, W->cols, storage);
        gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)T, (int)rows, (int)W->cols, 1, x,
             (int)W->cols, direct ? W->data : scratch, (int)(direct ? W->row_stride : W->cols), 0,
             y + o, (int)W->rows);
    }
}
#endif

/* (L1) y[t,o] = sum_i W[o,i] x[t,i], no bias anywhere in the family
 *                                                            mistral-src one_file_ref.py, nn.Linear
 * y: [T,rows]  x: [T,cols]  W: [rows,cols] in the file's own type, widened as it is read */
void FN(linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage,
                mr_engine engine, real *scratch) {
#ifdef MR_BLAS
    if (engine == MR_BLAS_ENGINE) {
        if (T > 0) blas(y, x, W, T, storage, scratch);
        return;
    }
#else
    (void)engine, (void)scratch;
#endif
    FN(plain_linear)(y, x, W, T, storage);
}

/* ---- backward -------------------------------------------------------------------------------- */

#ifdef MR_BLAS
static void blas_backward(real *dx, const real *dy, const mr_matrix *W, idx T, real *scratch) {
    const bool direct = FN(readable)(W, MR_STORE_WIDE);
    const idx step = direct ? W->rows : MR_LINEAR_ROWS;
    for (idx o = 0; o < W->rows; o += step) {
        const idx rows = W->rows - o < step ? W->rows - o : step;
        for (idx r = 0; r < rows && !direct; r++)
            FN(widen)(scratch + r * W->cols, W, o + r, 0, W->cols, MR_STORE_WIDE);
        gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)T, (int)W->cols, (int)rows, 1, dy + o,
             (int)W->rows, direct ? W->data : scratch, (int)(direct ? W->row_stride : W->cols), 1,
             dx, (int)W->cols);
    }
}
#endif

/* (L1') dx[t,i] += sum_o dy[t,o] W[o,i]
 *                        dx: [T,cols]  dy: [T,rows]; plain: ascending o in double, one rounding */
void FN(linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T, mr_engine engine,
                         real *scratch) {
#ifdef MR_BLAS
    if (engine == MR_BLAS_ENGINE) {
        if (T > 0) blas_backward(dx, dy, W, T, scratch);
        return;
    }
#else
    (void)engine, (void)scratch;
#endif
    FN(plain_linear_backward)(dx, dy, W, T);
}

/* (L3) dW[o,i] += dy[t,o] x[t,i]
 *           dW: [rows,cols]  dy: [T,rows]  x: [T,cols]; plain: ascending t, each sum in `real`, so
 *           that it does not matter in how many calls the tokens come */
void FN(linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T,
                                mr_engine engine) {
#ifdef MR_BLAS
    if (engine == MR_BLAS_ENGINE) {
        if (T > 0)
            gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)dW->rows, (int)dW->cols, (int)T, 1,
                 dy, (int)dW->rows, x, (int)dW->cols, 1, FN(gradient_row)(dW, 0),
                 (int)dW->row_stride);
        return;
    }
#else
    (void)engine;
#endif
    FN(plain_linear_weight_backward)(dW, dy, x, T);
}

#if MR_BITS == 64   /* one of the two builds has them */
const char *mr_blas_pool(void) {
#ifdef MR_BLAS
    static const char *const kinds[] = {"one thread", "pthread", "OpenMP"};
    return kinds[openblas_get_parallel()];
#else
    return "none";
#endif
}

void mr_set_threads(int n) {
#ifdef _OPENMP
    omp_set_num_threads(n);
#endif
#ifdef MR_BLAS
    openblas_set_num_threads(n);
#endif
    (void)n;
}
#endif
