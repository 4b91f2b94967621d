/* The plain engine: products of matrices as C loops, in blocks that stay in registers.
 *
 * Blocks only decide which outputs are worked on together. The order in which one output's terms
 * are added is the equation's, whatever the block, the vector width or the number of threads. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

#define LANES 16      /* partial sums of a dot product; a power of two */
#define ROWS MR_DOT_ROWS
#define PAIRS (LANES / 2)
#define LINE 64       /* bytes that come from memory at a time */
#define AHEAD 2048    /* bytes of a row's future that are asked for */
#define FEW 8         /* tokens up to which each reads the rows of W anew: the crossing, measured */
#define STRIPE 16     /* rows of each quarter that a thread reads in one go */
#define BLOCK 512     /* elements of a row widened at a time for many tokens */
#define TILE 32       /* tokens that share the widened rows */
#define PANEL 64      /* rows that share a tile of tokens; of ROWS */

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

/* lane[a][i mod 16] += element i of row a times x[i], for those that are left from i on */
INLINE void add_rest(acc lane[ROWS][LANES], const void *const row[ROWS], mr_dtype dtype,
                     const real *x, idx i, idx n) {
    for (; i < n; i++)
        for (idx a = 0; a < ROWS; a++)
            lane[a][i % LANES] += (acc)FN(stored)(row[a], i, dtype) * (acc)x[i];
}

/* The same for rows of 32- or 64-bit elements, 16 at once. `sum` stays in registers because all
 * its indices are constants.
 * ahead: bytes of each row's future that memory is asked for while this is summed; 0: none */
INLINE void add_wide(acc lane[ROWS][LANES], const void *const row[ROWS], mr_dtype dtype, idx ahead,
                     const real *x, idx n) {
    const idx size = dtype == MR_F32 ? 4 : 8;
    acc sum[ROWS][LANES] = {{0}};
    idx i = 0;
    for (; i + LANES <= n; i += LANES)
        for (idx a = 0; a < ROWS; a++) {
            for (idx b = 0; ahead > 0 && b < LANES * size; b += LINE)
                __builtin_prefetch((const char *)row[a] + i * size + b + ahead);
            SIMD
            for (idx l = 0; l < LANES; l++)
                sum[a][l] += (acc)FN(stored)(row[a], i + l, dtype) * (acc)x[i + l];
        }
    memcpy(lane, sum, sizeof sum);
    add_rest(lane, row, dtype, x, i, n);
}

/* The same for rows of 16-bit elements. Two neighbours are read as one word, whose halves are
 * widened where they are, without a move between lanes: even and odd elements are summed apart. */
INLINE void add_narrow(acc lane[ROWS][LANES], const void *const row[ROWS], mr_dtype dtype,
                       const real *x, idx n) {
    acc even[ROWS][PAIRS] = {{0}}, odd[ROWS][PAIRS] = {{0}};
    idx i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        acc xe[LANES], xo[LANES];
        SIMD
        for (idx l = 0; l < LANES; l++) {
            xe[l] = (acc)x[i + 2 * l];
            xo[l] = (acc)x[i + 2 * l + 1];
        }
        for (idx a = 0; a < ROWS; a++) {
            const char *at = (const char *)row[a] + 2 * i;
            acc e[LANES], o[LANES];
            __builtin_prefetch(at + AHEAD);
            SIMD
            for (idx l = 0; l < LANES; l++) {
                uint32_t word;
                memcpy(&word, at + 4 * l, sizeof word);
                e[l] = (acc)FN(widened)((uint16_t)word, dtype) * xe[l];
                o[l] = (acc)FN(widened)((uint16_t)(word >> 16), dtype) * xo[l];
            }
            for (idx l = 0; l < LANES; l += PAIRS) {
                SIMD
                for (idx k = 0; k < PAIRS; k++) even[a][k] += e[l + k];
                SIMD
                for (idx k = 0; k < PAIRS; k++) odd[a][k] += o[l + k];
            }
        }
    }
    for (idx a = 0; a < ROWS; a++)
        for (idx k = 0; k < PAIRS; k++) {
            lane[a][2 * k] = even[a][k];
            lane[a][2 * k + 1] = odd[a][k];
        }
    add_rest(lane, row, dtype, x, i, n);
}

/* (L2) for ROWS rows of `real` */
CLONES static void FN(dot_rows_clone)(acc total[ROWS], const void *const row[ROWS], const real *x,
                                      idx n) {
    acc lane[ROWS][LANES];
    add_wide(lane, row, REAL_TYPE, 0, x, n);
    sum_lanes(total, lane, ROWS);
}

void FN(dot_rows)(acc total[ROWS], const void *const row[ROWS], const real *x, idx n) {
    FN(dot_rows_clone)(total, row, x, n);
}

/* ---- y = W x, few tokens --------------------------------------------------------------------- */

/* Rows of W that are worked on together lie a quarter apart, so that each of them goes on where the
 * one before ended: four streams from memory. */
static idx quarter(const mr_matrix *W) { return (W->rows + ROWS - 1) / ROWS; }

/* y[r] for rows o, o + quarter, o + 2 quarter, ...; beyond the last row, that row again. Inlined
 * once per element type. */
INLINE void few_rows(real *y, const real *x, const mr_matrix *W, mr_dtype dtype, idx o) {
    const void *row[ROWS];
    acc lane[ROWS][LANES], total[ROWS];
    for (idx a = 0; a < ROWS; a++) {
        const idx r = o + a * quarter(W);
        row[a] = (const char *)W->data
               + (r < W->rows ? r : W->rows - 1) * W->row_stride * mr_dtype_size(W->dtype);
    }
    if (dtype == MR_BF16 || dtype == MR_F16) add_narrow(lane, row, dtype, x, W->cols);
    else add_wide(lane, row, dtype, AHEAD, x, W->cols);
    sum_lanes(total, lane, ROWS);
    for (idx a = 0, r = o; a < ROWS && r < W->rows; a++, r += quarter(W)) y[r] = (real)total[a];
}

/* y[t,r] straight from W for few tokens and the rows r from `first` to `end` of every quarter */
CLONES static void FN(linear_few)(real *y, const real *x, const mr_matrix *W, idx T, idx first,
                                  idx end) {
    for (idx o = first; o < end; o++)
        for (idx t = 0; t < T; t++) {
            real *yt = y + t * W->rows;
            const real *xt = x + t * W->cols;
            switch (W->dtype) {
            case MR_BF16: few_rows(yt, xt, W, MR_BF16, o); break;
            case MR_F16:  few_rows(yt, xt, W, MR_F16, o);  break;
            case MR_F32:  few_rows(yt, xt, W, MR_F32, o);  break;
            default:      few_rows(yt, xt, W, MR_F64, o);  break;
            }
        }
}

/* ---- y = W x, many tokens -------------------------------------------------------------------- */

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
        const idx end = quarter(W);
        PARALLEL_FOR(W->rows * W->cols * T)
        for (idx o = 0; o < end; o += STRIPE)
            FN(linear_few)(y, x, W, T, o, o + STRIPE < end ? o + STRIPE : end);
    } else {
        PARALLEL_FOR(W->rows * W->cols * T)
        for (idx o = 0; o < W->rows; o += PANEL) linear_panel(y, x, W, o, T, storage);
    }
}
