/* The plain engine: products of matrices as C loops, in blocks that stay in registers.
 *
 * Blocks only decide which outputs are worked on together. The order in which one output's terms
 * are added is the equation's, whatever the block, the vector width or the number of threads. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

#define LANES 16      /* partial sums of a dot product; a power of two */
#define ROWS MR_DOT_ROWS
#define CHUNK 64      /* elements of 16-bit rows widened at a time for one token; of LANES */
#define LINE 64       /* bytes that come from memory at a time */
#define BLOCK 512     /* and for many tokens */
#define FEW 3         /* tokens up to which each reads the rows of W anew */
#define TILE 32       /* tokens that share the widened rows */
#define PANEL 64      /* rows that share a tile of tokens; of ROWS */
#define TOKENS 4      /* tokens of dx worked on together */
#define COLUMNS 16    /* columns of dx */
#define SPAN 32       /* columns of dW */

/* ---- dot products ---------------------------------------------------------------------------- */

/* The tree of (L2) over the lanes l of each row: l and l+8, then l+4, l+2, l+1 */
INLINE void sum_lanes(acc *total, acc lane[][LANES], idx rows) {
    acc four[ROWS][4];
    for (idx a = 0; a < rows; a++)
        SIMD
        for (idx l = 0; l < 4; l++)
            four[a][l] = (lane[a][l] + lane[a][l + 8]) + (lane[a][l + 4] + lane[a][l + 12]);
    SIMD
    for (idx a = 0; a < rows; a++)
        total[a] = (four[a][0] + four[a][2]) + (four[a][1] + four[a][3]);
}

/* (L2) sum_i a[i] b[i] = tree over l of ( sum over i = l (mod 16) of a[i] b[i] ), ascending i
 * within a lane: any vector width gives the same bits */
CLONES static acc FN(dot_clone)(const real *a, const real *b, idx n) {
    const idx whole = n / LANES * LANES;
    acc sum[LANES] = {0}, lane[1][LANES], total;
    for (idx i = 0; i < whole; i += LANES)
        SIMD
        for (idx l = 0; l < LANES; l++) sum[l] += (acc)a[i + l] * (acc)b[i + l];
    memcpy(lane, sum, sizeof lane);
    for (idx l = 0; whole + l < n; l++) lane[0][l] += (acc)a[whole + l] * (acc)b[whole + l];
    sum_lanes(&total, lane, 1);
    return total;
}

acc FN(dot)(const real *a, const real *b, idx n) { return FN(dot_clone)(a, b, n); }

/* lane[a][l] += products of x[l] with element i+l of row a */
INLINE void add_stored(acc lane[ROWS][LANES], const void *const row[ROWS], mr_dtype dtype, idx i,
                       const real *x, idx n) {
    for (idx a = 0; a < ROWS; a++)
        SIMD
        for (idx l = 0; l < n; l++)
            lane[a][l] += (acc)FN(stored)(row[a], i + l, dtype) * (acc)x[l];
}

/* (L2) for ROWS rows as they are stored; inlined once per element type. 16-bit elements are widened
 * a chunk at a time, because compilers do that in other vectors than the sums. `sum` stays in
 * registers because all its indices are constants.
 * ahead: bytes from here to what will be read next; memory is asked for it while this is summed */
INLINE void dot_stored(acc total[ROWS], const void *const row[ROWS], mr_dtype dtype, idx ahead,
                       const real *x, idx n) {
    const bool narrow = dtype == MR_BF16 || dtype == MR_F16;
    const idx step = narrow ? CHUNK : LANES, size = narrow ? 2 : dtype == MR_F32 ? 4 : 8;
    acc sum[ROWS][LANES] = {{0}}, lane[ROWS][LANES];
    idx i = 0;
    for (; i + step <= n; i += step) {
        real wide[ROWS][CHUNK];
        const void *chunk[ROWS];
        for (idx a = 0; a < ROWS; a++)
            for (idx l = 0; l < step * size; l += LINE)
                __builtin_prefetch((const char *)row[a] + i * size + l + ahead);
        if (!narrow) {
            add_stored(sum, row, dtype, i, x + i, LANES);
            continue;
        }
        for (idx a = 0; a < ROWS; a++) {
            chunk[a] = wide[a];
            SIMD
            for (idx l = 0; l < CHUNK; l++) wide[a][l] = FN(stored)(row[a], i + l, dtype);
        }
        for (idx l = 0; l < CHUNK; l += LANES)
            add_stored(sum, chunk, REAL_TYPE, l, x + i + l, LANES);
    }
    memcpy(lane, sum, sizeof lane);
    for (; i < n; i += LANES)
        add_stored(lane, row, dtype, i, x + i, n - i < LANES ? n - i : LANES);
    sum_lanes(total, lane, ROWS);
}

CLONES static void FN(dot_rows_clone)(acc total[ROWS], const void *const row[ROWS],
                                      mr_dtype dtype, idx ahead, const real *x, idx n) {
    switch (dtype) {
    case MR_BF16: dot_stored(total, row, MR_BF16, ahead, x, n); break;
    case MR_F16:  dot_stored(total, row, MR_F16, ahead, x, n);  break;
    case MR_F32:  dot_stored(total, row, MR_F32, ahead, x, n);  break;
    default:      dot_stored(total, row, MR_F64, ahead, x, n);  break;
    }
}

void FN(dot_rows)(acc total[ROWS], const void *const row[ROWS], mr_dtype dtype, idx ahead,
                  const real *x, idx n) {
    FN(dot_rows_clone)(total, row, dtype, ahead, x, n);
}

/* ---- y = W x --------------------------------------------------------------------------------- */

/* y[t,o] for few tokens and ROWS outputs from o on, straight from W. Beyond the last row, that row
 * again. */
static void linear_few(real *y, const real *x, const mr_matrix *W, idx o, idx T) {
    const idx rows = W->rows - o < ROWS ? W->rows - o : ROWS;
    const idx stride = W->row_stride * mr_dtype_size(W->dtype);
    const void *row[ROWS];
    acc total[ROWS];
    for (idx a = 0; a < ROWS; a++)
        row[a] = (const char *)W->data + (o + (a < rows ? a : rows - 1)) * stride;
    for (idx t = 0; t < T; t++) {
        FN(dot_rows)(total, row, W->dtype, ROWS * stride, x + t * W->cols, W->cols);
        for (idx a = 0; a < rows; a++) y[t * W->rows + o + a] = (real)total[a];
    }
}

/* lane[t,a] += products of x[t] with row a of w, for ROWS rows and all tokens of a tile */
CLONES static void FN(add_block)(acc lane[TILE][ROWS][LANES], acc w[ROWS][BLOCK], const real *x,
                                 idx stride, idx tokens, idx n) {
    const idx whole = n / LANES * LANES;
    for (idx t = 0; t < tokens; t++, x += stride) {
        acc sum[ROWS][LANES];
        memcpy(sum, lane[t], sizeof sum);
        for (idx i = 0; i < whole; i += LANES) {
            acc wide[LANES];
            SIMD
            for (idx l = 0; l < LANES; l++) wide[l] = (acc)x[i + l];
            for (idx a = 0; a < ROWS; a++)
                SIMD
                for (idx l = 0; l < LANES; l++) sum[a][l] += w[a][i + l] * wide[l];
        }
        memcpy(lane[t], sum, sizeof sum);
        for (idx a = 0; a < ROWS; a++)
            for (idx l = 0; whole + l < n; l++)
                lane[t][a][l] += w[a][whole + l] * (acc)x[whole + l];
    }
}

/* y[t,a] = the sum of row a's lanes of token t */
CLONES static void FN(sum_tile)(real *y, idx stride, acc lane[TILE][ROWS][LANES], idx tokens,
                                idx rows) {
    for (idx t = 0; t < tokens; t++) {
        acc total[ROWS];
        sum_lanes(total, lane[t], ROWS);
        for (idx a = 0; a < rows; a++) y[t * stride + a] = (real)total[a];
    }
}

CLONES static void FN(to_acc)(acc *out, const real *x, idx n) {
    for (idx i = 0; i < n; i++) out[i] = (acc)x[i];
}

/* y[t,o] for up to TILE tokens and ROWS outputs from o on: rows are widened once for all tokens.
 * Beyond the last row, that row again. */
static void linear_tile(real *y, const real *x, const mr_matrix *W, idx o, idx tokens,
                        mr_storage storage) {
    const idx rows = W->rows - o < ROWS ? W->rows - o : ROWS;
    ALIGNED acc lane[TILE][ROWS][LANES];
    ALIGNED acc w[ROWS][BLOCK];
    real row[BLOCK];
    memset(lane, 0, (size_t)tokens * sizeof *lane);
    for (idx start = 0; start < W->cols; start += BLOCK) {
        const idx n = W->cols - start < BLOCK ? W->cols - start : BLOCK;
        for (idx a = 0; a < ROWS; a++) {
            FN(widen)(row, W, o + (a < rows ? a : rows - 1), start, n, storage);
            FN(to_acc)(w[a], row, n);
        }
        FN(add_block)(lane, w, x + start, W->cols, tokens, n);
    }
    FN(sum_tile)(y + o, W->rows, lane, tokens, rows);
}

/* Outputs [first, first + PANEL) of all tokens: tokens and rows that are used again soon are still
 * near. */
static void linear_panel(real *y, const real *x, const mr_matrix *W, idx first, idx T,
                         mr_storage storage) {
    const idx end = first + PANEL < W->rows ? first + PANEL : W->rows;
    for (idx t = 0; t < T; t += TILE)
        for (idx o = first; o < end; o += ROWS)
            linear_tile(y + t * W->rows, x + t * W->cols, W, o, T - t < TILE ? T - t : TILE,
                        storage);
}

void FN(plain_linear)(real *y, const real *x, const mr_matrix *W, idx T, mr_storage storage) {
    if (T <= FEW && FN(stored_in_order)(W, storage)) {
        PARALLEL_FOR(W->rows * W->cols * T)
        for (idx o = 0; o < W->rows; o += ROWS) linear_few(y, x, W, o, T);
    } else {
        PARALLEL_FOR(W->rows * W->cols * T)
        for (idx o = 0; o < W->rows; o += PANEL) linear_panel(y, x, W, o, T, storage);
    }
}

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
