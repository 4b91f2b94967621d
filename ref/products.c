/* The plain engine: products of matrices as C loops, in blocks that stay in registers.
 *
 * Blocks only decide which outputs are worked on together. The order in which one output's terms
 * are added is the equation's, whatever the block, the vector width or the number of threads. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

#define LANES 16      /* partial sums of a dot product; a power of two */
#define BLOCK 512     /* elements of a row widened at a time; a multiple of LANES */
#define ROWS 4        /* rows of W worked on together */
#define TILE 32       /* tokens that share the widened rows */
#define TOKENS 4      /* tokens of dx worked on together */
#define COLUMNS 16    /* columns of dx */
#define SPAN 32       /* columns of dW */

/* ---- dot products ---------------------------------------------------------------------------- */

/* sum[l] += a[i] b[i] over i = l (mod LANES): any vector width gives the same bits. n counts whole
 * lanes; what is left over is added where the sums are not held in registers. */
CLONES static void FN(add_products)(acc lane[LANES], const real *a, const real *b, idx n) {
    acc sum[LANES];
    memcpy(sum, lane, sizeof sum);
    for (idx i = 0; i < n; i += LANES)
        SIMD
        for (idx l = 0; l < LANES; l++) sum[l] += (acc)a[i + l] * (acc)b[i + l];
    memcpy(lane, sum, sizeof sum);
}

static inline acc sum_lanes(acc lane[LANES]) {
    for (idx width = LANES / 2; width > 0; width /= 2)
        SIMD
        for (idx l = 0; l < width; l++) lane[l] += lane[l + width];
    return lane[0];
}

/* (L2) sum_i a[i] b[i] = tree over l of ( sum over i = l (mod 16) of a[i] b[i] ), ascending i
 * within a lane */
acc FN(dot)(const real *a, const real *b, idx n) {
    const idx whole = n / LANES * LANES;
    acc lane[LANES] = {0};
    FN(add_products)(lane, a, b, whole);
    for (idx l = 0; whole + l < n; l++) lane[l] += (acc)a[whole + l] * (acc)b[whole + l];
    return sum_lanes(lane);
}

/* ---- y = W x --------------------------------------------------------------------------------- */

/* lane[a] += products of x with row a of w, for ROWS rows and one token; n counts whole lanes */
CLONES static void FN(add_rows)(acc lane[ROWS][LANES], acc w[ROWS][BLOCK], const real *x, idx n) {
    acc sum[ROWS][LANES];
    memcpy(sum, lane, sizeof sum);
    for (idx i = 0; i < n; i += LANES) {
        acc wide[LANES];
        SIMD
        for (idx l = 0; l < LANES; l++) wide[l] = (acc)x[i + l];
        for (idx a = 0; a < ROWS; a++)
            SIMD
            for (idx l = 0; l < LANES; l++) sum[a][l] += w[a][i + l] * wide[l];
    }
    memcpy(lane, sum, sizeof sum);
}

/* y[a] = the sum of row a's lanes */
CLONES static void FN(sum_rows)(real *y, acc lane[ROWS][LANES], idx rows) {
    for (idx a = 0; a < rows; a++) y[a] = (real)sum_lanes(lane[a]);
}

/* y[t,o] for up to TILE tokens and ROWS outputs from o on: rows are widened once for all tokens */
static void linear_tile(real *y, const real *x, const mr_matrix *W, idx o, idx tokens,
                        mr_storage storage) {
    const idx rows = W->rows - o < ROWS ? W->rows - o : ROWS;
    acc lane[TILE][ROWS][LANES], w[ROWS][BLOCK] = {{0}};
    real row[BLOCK];
    memset(lane, 0, (size_t)tokens * sizeof *lane);
    for (idx start = 0; start < W->cols; start += BLOCK) {
        const idx n = W->cols - start < BLOCK ? W->cols - start : BLOCK;
        for (idx a = 0; a < rows; a++) {
            FN(widen)(row, W, o + a, start, n, storage);
            for (idx i = 0; i < n; i++) w[a][i] = (acc)row[i];
        }
        for (idx t = 0; t < tokens; t++) {
            const idx whole = n / LANES * LANES;
            const real *at = x + t * W->cols + start;
            FN(add_rows)(lane[t], w, at, whole);
            for (idx a = 0; a < rows; a++)
                for (idx l = 0; whole + l < n; l++)
                    lane[t][a][l] += w[a][whole + l] * (acc)at[whole + l];
        }
    }
    for (idx t = 0; t < tokens; t++) FN(sum_rows)(y + t * W->rows + o, lane[t], rows);
}

void FN(plain_linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage) {
    PARALLEL_FOR(W->rows * W->cols * T)
    for (idx o = 0; o < W->rows; o += ROWS)
        for (idx t = 0; t < T; t += TILE)
            linear_tile(y + t * W->rows, x + t * W->cols, W, o, T - t < TILE ? T - t : TILE,
                        storage);
}

/* ---- dx += W^T dy ---------------------------------------------------------------------------- */

/* sum[t,i] += dy[t,o] w[o,i] for n rows o; inlined twice, once with constant bounds */
static inline void add_slopes(acc sum[TOKENS][COLUMNS], const real *dy, idx across, const real *w,
                              idx stride, idx n, idx tokens, idx columns) {
    for (idx o = 0; o < n; o++)
        for (idx t = 0; t < tokens; t++) {
            const acc slope = (acc)dy[t * across + o];
            SIMD
            for (idx i = 0; i < columns; i++) sum[t][i] += slope * (acc)w[o * stride + i];
        }
}

CLONES static void FN(add_slopes_tile)(acc sum[TOKENS][COLUMNS], const real *dy, idx across,
                                   const real *w, idx stride, idx n, idx tokens, idx columns) {
    acc part[TOKENS][COLUMNS];
    memcpy(part, sum, sizeof part);
    if (tokens == TOKENS && columns == COLUMNS)
        add_slopes(part, dy, across, w, stride, n, TOKENS, COLUMNS);
    else add_slopes(part, dy, across, w, stride, n, tokens, columns);
    memcpy(sum, part, sizeof part);
}

static void backward_tile(real *dx, const real *dy, const mr_matrix *W, idx i0, idx tokens) {
    const idx columns = W->cols - i0 < COLUMNS ? W->cols - i0 : COLUMNS;
    acc sum[TOKENS][COLUMNS] = {{0}};
    if (FN(readable)(W, MR_STORE_WIDE))
        FN(add_slopes_tile)(sum, dy, W->rows, (const real *)W->data + i0, W->row_stride, W->rows,
                        tokens, columns);
    else
        for (idx o = 0; o < W->rows; o++) {
            real row[COLUMNS];
            FN(widen)(row, W, o, i0, columns, MR_STORE_WIDE);
            add_slopes(sum, dy + o, W->rows, row, 0, 1, tokens, columns);
        }
    for (idx t = 0; t < tokens; t++)
        for (idx i = 0; i < columns; i++) {
            real *at = &dx[t * W->cols + i0 + i];
            *at = (real)((acc)*at + sum[t][i]);
        }
}

void FN(plain_linear_backward)(real *dx, const real *dy, const mr_matrix *W, idx T) {
    const idx across = (W->cols + COLUMNS - 1) / COLUMNS;
    PARALLEL_FOR(W->rows * W->cols * T)
    for (idx n = 0; n < across; n++)
        for (idx t = 0; t < T; t += TOKENS)
            backward_tile(dx + t * W->cols, dy + t * W->rows, W, n * COLUMNS,
                          T - t < TOKENS ? T - t : TOKENS);
}

/* ---- dW += dy^T x ---------------------------------------------------------------------------- */

/* sum[a,i] += dy[t,a] x[t,i] for all tokens; inlined twice, once with constant bounds */
static inline void add_outer(real sum[ROWS][SPAN], const real *dy, idx down, const real *x,
                             idx across, idx T, idx rows, idx columns) {
    for (idx t = 0; t < T; t++)
        for (idx a = 0; a < rows; a++) {
            const real slope = dy[t * down + a];
            SIMD
            for (idx i = 0; i < columns; i++) sum[a][i] += slope * x[t * across + i];
        }
}

CLONES static void FN(weight_tile)(const mr_matrix *dW, idx o, idx i0, const real *dy,
                                   const real *x, idx T) {
    const idx rows = dW->rows - o < ROWS ? dW->rows - o : ROWS;
    const idx columns = dW->cols - i0 < SPAN ? dW->cols - i0 : SPAN;
    const idx down = dW->rows, across = dW->cols;
    real sum[ROWS][SPAN] = {{0}};
    for (idx a = 0; a < rows; a++)
        memcpy(sum[a], FN(gradient_row)(dW, o + a) + i0, (size_t)columns * sizeof(real));
    if (rows == ROWS && columns == SPAN)
        add_outer(sum, dy + o, down, x + i0, across, T, ROWS, SPAN);
    else add_outer(sum, dy + o, down, x + i0, across, T, rows, columns);
    for (idx a = 0; a < rows; a++)
        memcpy(FN(gradient_row)(dW, o + a) + i0, sum[a], (size_t)columns * sizeof(real));
}

void FN(plain_linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T) {
    PARALLEL_FOR(dW->rows * dW->cols * T)
    for (idx o = 0; o < dW->rows; o += ROWS)
        for (idx i = 0; i < dW->cols; i += SPAN) FN(weight_tile)(dW, o, i, dy, x, T);
}
