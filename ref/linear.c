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

static idx least(idx a, idx b) { return a < b ? a : b; }
#endif

/* ---- BLAS engine ----------------------------------------------------------------------------- */

#ifdef MR_BLAS
void FN(gemm)(bool turn_a, bool turn_b, idx m, idx n, idx k, real scale, const real *a, idx a_row,
              const real *b, idx b_row, real keep, real *c, idx c_row) {
    if (m > 0 && n > 0 && k > 0)
        gemm(CblasRowMajor, turn_a ? CblasTrans : CblasNoTrans, turn_b ? CblasTrans : CblasNoTrans,
             (int)m, (int)n, (int)k, scale, a, (int)a_row, b, (int)b_row, keep, c, (int)c_row);
}

/* Rows [o,o+rows) of W as BLAS reads them: where they are, or widened into `scratch`. */
static const real *rows_of(const mr_matrix *W, idx o, idx rows, mr_storage storage,
                           real *scratch) {
    if (FN(readable)(W, storage)) return (const real *)W->data + o * W->row_stride;
    for (idx r = 0; r < rows; r++)
        FN(widen)(scratch + r * W->cols, W, o + r, 0, W->cols, storage);
    return scratch;
}

/* Products that run side by side, each on one thread; 1 where OpenBLAS has threads of its own. */
static idx side_by_side(void) {
#ifdef _OPENMP
    if (openblas_get_parallel() == OPENBLAS_OPENMP)
        return least(omp_get_max_threads(), MR_LINEAR_ROWS);
#endif
    return 1;
}

/* How many of n rows or columns each of them takes. An expert's few tokens are too little work for
 * OpenBLAS' own threads, which wait for each other inside a product. */
static idx share_of(idx n) {
    const idx parts = side_by_side();
    return (n + parts - 1) / parts;
}

/* Every thread multiplies its share of W's rows, as many at a time as its share of the scratch
 * holds. */
static void blas(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage,
                 real *scratch) {
    const bool direct = FN(readable)(W, storage);
    const idx parts = side_by_side(), room = MR_LINEAR_ROWS / parts;
    const idx share = share_of(W->rows), step = direct ? share : room;
    PARALLEL_FOR(W->rows * W->cols * T)
    for (idx part = 0; part < parts; part++) {
        const idx end = least((part + 1) * share, W->rows);
        for (idx o = part * share; o < end; o += step) {
            const idx rows = least(step, end - o);
            FN(gemm)(false, true, T, rows, W->cols, 1, x, W->cols,
                     rows_of(W, o, rows, storage, scratch + part * room * W->cols),
                     direct ? W->row_stride : W->cols, 0, y + o, W->rows);
        }
    }
}
#endif

/* (L1) y[t,o] = sum_i W[o,i] x[t,i], no bias anywhere in the family
 *                                                            mistral-src one_file_ref.py, nn.Linear
 * y: [T,rows]  x: [T,cols]  W: [rows,cols] in the file's own type, widened as it is read */
void FN(linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage,
                mr_engine engine, real *scratch) {
#ifdef MR_BLAS
    if (engine == MR_BLAS_ENGINE && T >= MR_BLAS_TOKENS) {
        blas(y, x, W, T, storage, scratch);
        return;
    }
#else
    (void)engine, (void)scratch;
#endif
    FN(plain_linear)(y, x, W, T, storage);
}

/* ---- backward -------------------------------------------------------------------------------- */

#ifdef MR_BLAS
/* Every thread forms its share of dx' columns. */
static void blas_backward(real *dx, const real *dy, const mr_matrix *W, idx T, real *scratch) {
    const bool direct = FN(readable)(W, MR_STORE_WIDE);
    const idx step = direct ? W->rows : MR_LINEAR_ROWS, share = share_of(W->cols);
    for (idx o = 0; o < W->rows; o += step) {
        const idx rows = least(step, W->rows - o);
        const real *w = rows_of(W, o, rows, MR_STORE_WIDE, scratch);
        PARALLEL_FOR(rows * W->cols * T)
        for (idx i = 0; i < W->cols; i += share)
            FN(gemm)(false, false, T, least(share, W->cols - i), rows, 1, dy + o, W->rows, w + i,
                     direct ? W->row_stride : W->cols, 1, dx + i, W->cols);
    }
}

/* Every thread forms its share of dW's rows. */
static void blas_weight_backward(const mr_matrix *dW, const real *dy, const real *x, idx T) {
    const idx share = share_of(dW->rows);
    PARALLEL_FOR(dW->rows * dW->cols * T)
    for (idx o = 0; o < dW->rows; o += share)
        FN(gemm)(true, false, least(share, dW->rows - o), dW->cols, T, 1, dy + o, dW->rows, x,
                 dW->cols, 1, FN(gradient_row)(dW, o), dW->row_stride);
}
#endif

/* (L1') dx[t,i] += sum_o dy[t,o] W[o,i]
 *                        dx: [T,cols]  dy: [T,rows]; plain: ascending o in double, one rounding */
void FN(linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T, mr_engine engine,
                         real *scratch) {
#ifdef MR_BLAS
    if (engine == MR_BLAS_ENGINE) {
        blas_backward(dx, dy, W, T, scratch);
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
        blas_weight_backward(dW, dy, x, T);
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
