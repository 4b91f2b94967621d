/* The plain engine, backward: gradients of an input and of a matrix as C loops, in blocks that stay
 * in registers. As in products.c, blocks never change the order in which terms are added. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

#define ROWS MR_DOT_ROWS
#define TILE 32       /* tokens that share a row of dW */
#define PANEL 64      /* rows of dW that share a tile of tokens; of ROWS */
#define TOKENS 4      /* tokens of dx worked on together */
#define COLUMNS 16    /* columns of dx */
#define SPAN 32       /* columns of dW */

/* ---- dx += W^T dy ---------------------------------------------------------------------------- */

/* sum[t,i] += dy[t,o] w[o,i] for n rows o; inlined twice, once with constant bounds */
INLINE void add_slopes(acc sum[TOKENS][COLUMNS], const real *dy, idx across, const real *w,
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

/* dW[a,i] += dy[t,a] x[t,i] for all tokens; inlined twice, once with constant bounds, so that the
 * sums stay in registers */
INLINE void add_outer(const mr_matrix *dW, idx o, idx i0, const real *dy, const real *x, idx T,
                      idx rows, idx columns) {
    real sum[ROWS][SPAN] = {{0}};
    for (idx a = 0; a < rows; a++)
        for (idx i = 0; i < columns; i++) sum[a][i] = FN(gradient_row)(dW, o + a)[i0 + i];
    for (idx t = 0; t < T; t++)
        for (idx a = 0; a < rows; a++) {
            const real slope = dy[t * dW->rows + o + a];
            SIMD
            for (idx i = 0; i < columns; i++) sum[a][i] += slope * x[t * dW->cols + i0 + i];
        }
    for (idx a = 0; a < rows; a++)
        for (idx i = 0; i < columns; i++) FN(gradient_row)(dW, o + a)[i0 + i] = sum[a][i];
}

CLONES static void FN(weight_tile)(const mr_matrix *dW, idx o, idx i0, const real *dy,
                                   const real *x, idx T) {
    const idx rows = dW->rows - o < ROWS ? dW->rows - o : ROWS;
    const idx columns = dW->cols - i0 < SPAN ? dW->cols - i0 : SPAN;
    if (rows == ROWS && columns == SPAN) add_outer(dW, o, i0, dy, x, T, ROWS, SPAN);
    else add_outer(dW, o, i0, dy, x, T, rows, columns);
}

/* Rows [first, first + PANEL), a tile of tokens after the other: it is still near for the next
 * rows. */
static void weight_panel(const mr_matrix *dW, idx first, const real *dy, const real *x, idx T) {
    const idx end = first + PANEL < dW->rows ? first + PANEL : dW->rows;
    for (idx t = 0; t < T; t += TILE)
        for (idx o = first; o < end; o += ROWS)
            for (idx i = 0; i < dW->cols; i += SPAN)
                FN(weight_tile)(dW, o, i, dy + t * dW->rows, x + t * dW->cols,
                                T - t < TILE ? T - t : TILE);
}

void FN(plain_linear_weight_backward)(const mr_matrix *dW, const real *dy, const real *x, idx T) {
    PARALLEL_FOR(dW->rows * dW->cols * T)
    for (idx o = 0; o < dW->rows; o += PANEL) weight_panel(dW, o, dy, x, T);
}
