/* Matrix times vectors: the only file with a dot product, and the only one that knows BLAS. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

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

#define LANES 16      /* partial sums of a dot product; a power of two */
#define BLOCK 512     /* elements of a row widened at a time; a multiple of LANES */
#define TILE 8        /* tokens that share one widened block */

/* ---- reading weights ------------------------------------------------------------------------- */

static double element(const mr_matrix *W, idx offset) {
    uint16_t half;
    float    single;
    double   value;
    const unsigned char *at = (const unsigned char *)W->data + offset * mr_dtype_size(W->dtype);
    switch (W->dtype) {
    case MR_F64:  memcpy(&value, at, sizeof value);   return value;
    case MR_F32:  memcpy(&single, at, sizeof single); return (double)single;
    case MR_BF16: memcpy(&half, at, sizeof half);     return mr_bf16_to_double(half);
    default:      memcpy(&half, at, sizeof half);     return mr_half_to_double(half);
    }
}

static bool dtype_is_real(mr_dtype dtype) { return dtype == (MR_BITS == 64 ? MR_F64 : MR_F32); }

static bool needs_rounding(const mr_matrix *W, mr_storage storage) {
    return (storage == MR_STORE_BF16 && W->dtype != MR_BF16) ||
           (storage == MR_STORE_F16 && W->dtype != MR_F16);
}

static void widen_bf16(real *out, const unsigned char *at, idx n) {
    for (idx i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, at + 2 * i, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;    /* bf16 is the upper half of a float */
        float single;
        memcpy(&single, &bits, sizeof single);
        out[i] = (real)single;
    }
}

void FN(widen)(real *out, const mr_matrix *W, idx r, idx start, idx n, mr_storage storage) {
    const idx offset = r * W->row_stride + start * W->col_stride;
    const unsigned char *at = (const unsigned char *)W->data + offset * mr_dtype_size(W->dtype);
    if (needs_rounding(W, storage))   /* from the file's own value: one rounding */
        for (idx i = 0; i < n; i++)
            out[i] = (real)mr_round(element(W, offset + i * W->col_stride), storage);
    else if (W->col_stride == 1 && dtype_is_real(W->dtype))
        memcpy(out, at, (size_t)n * sizeof *out);
    else if (W->col_stride == 1 && W->dtype == MR_BF16) widen_bf16(out, at, n);
    else
        for (idx i = 0; i < n; i++) out[i] = (real)element(W, offset + i * W->col_stride);
}

/* ---- plain engine ---------------------------------------------------------------------------- */

/* lane[l] += sum of a[i] b[i] over i = l (mod LANES): any vector width gives the same bits. */
static void add_products(acc lane[LANES], const real *a, const real *b, idx n) {
    idx i = 0;
    for (; i + LANES <= n; i += LANES)
        for (idx l = 0; l < LANES; l++) lane[l] += (acc)a[i + l] * (acc)b[i + l];
    for (idx l = 0; i + l < n; l++) lane[l] += (acc)a[i + l] * (acc)b[i + l];
}

static acc sum_lanes(acc lane[LANES]) {
    for (idx width = LANES / 2; width > 0; width /= 2)
        for (idx l = 0; l < width; l++) lane[l] += lane[l + width];
    return lane[0];
}

/* (L2) sum_i a[i] b[i] = tree over l of ( sum over i = l (mod 16) of a[i] b[i] ), ascending i
 * within a lane */
acc FN(dot)(const real *a, const real *b, idx n) {
    acc lane[LANES] = {0};
    add_products(lane, a, b, n);
    return sum_lanes(lane);
}

/* y[t,o] for TILE tokens and one output o: the row is widened once for all of them. */
static void plain_tile(real *y, const real *x, const mr_matrix *W, idx o, idx tokens,
                       mr_storage storage) {
    acc lane[TILE][LANES] = {{0}};
    for (idx start = 0; start < W->cols; start += BLOCK) {
        const idx n = W->cols - start < BLOCK ? W->cols - start : BLOCK;
        real row[BLOCK];
        FN(widen)(row, W, o, start, n, storage);
        for (idx t = 0; t < tokens; t++) add_products(lane[t], x + t * W->cols + start, row, n);
    }
    for (idx t = 0; t < tokens; t++) y[t * W->rows + o] = (real)sum_lanes(lane[t]);
}

static void plain(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage) {
    PARALLEL_FOR(W->rows * W->cols * T)
    for (idx o = 0; o < W->rows; o++)
        for (idx t = 0; t < T; t += TILE)
            plain_tile(y + t * W->rows, x + t * W->cols, W, o, T - t < TILE ? T - t : TILE,
                       storage);
}

/* ---- BLAS engine ----------------------------------------------------------------------------- */

#ifdef MR_BLAS
static void blas(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage,
                 real *scratch) {
    const bool direct = dtype_is_real(W->dtype) && W->col_stride == 1 && W->row_stride >= W->cols &&
                        !needs_rounding(W, storage) && (uintptr_t)W->data % sizeof(real) == 0;
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
    plain(y, x, W, T, storage);
}

#if MR_BITS == 64   /* one of the two builds has it */
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
