/* Matrix products in tiles, as a GEMM does for many rows and a split GEMV for one. */
#include "tests/port/port.h"

#define ROWS 8      /* of a tile */
#define COLS 8
#define DEPTH 32    /* products summed before they join the tile's accumulator */
#define SPLITS 4

static idx min(idx a, idx b) { return a < b ? a : b; }

static void tile(float *y, const float *x, const float *w, idx rows, idx cols, idx n, idx k,
                 idx depth) {
    float acc[ROWS][COLS] = {{0}};
    for (idx at = 0; at < k; at += depth)
        for (idx r = 0; r < rows; r++)
            for (idx c = 0; c < cols; c++)
                acc[r][c] = port_sum(acc[r][c] + port_dot(x + r * k + at, w + c * k + at,
                                                          min(depth, k - at)));
    for (idx r = 0; r < rows; r++)
        for (idx c = 0; c < cols; c++) y[r * n + c] = port_st(acc[r][c]);
}

void port_matmul(float *y, const float *x, const float *w, idx rows, idx n, idx k) {
    idx depth = DEPTH;
    if (bug(F06)) depth = rows < ROWS ? 5 : 12;   /* another kernel for another batch size */
    for (idx r = 0; r < rows; r += ROWS)
        for (idx c = 0; c < n; c += COLS)
            tile(y + r * n + c, x + r * k, w + c * k, min(ROWS, rows - r), min(COLS, n - c), n, k,
                 depth);
}

/* k is cut in SPLITS stretches; their sums are joined pairwise. */
void port_gemv(float *y, const float *x, const float *w, idx n, idx k) {
    const idx part = (k + SPLITS - 1) / SPLITS;
    for (idx r = 0; r < n; r++) {
        float sum[SPLITS] = {0};
        for (idx s = 0; s < SPLITS; s++)
            if (s * part < k)
                sum[s] = port_dot(x + s * part, w + r * k + s * part, min(part, k - s * part));
        y[r] = port_st(port_sum(port_sum(sum[0] + sum[1]) + port_sum(sum[2] + sum[3])));
    }
}
