/* Grouped-query attention from a multi-head checkpoint: average the key and the value projections
 * of each group. */
#include "ref/gqa.h"

#define MR_BITS 64
#include "ref/real.h"
#include "ref/mr_internal.h"

/* (A3) W_K^(g) = (1/r) sum over the r heads h of group g of W_K^(h); W_V likewise
 *                                                                     Ainslie et al. 2023, sec. 2.1
 * out: [kv_heads*D, cols]  W: [heads*D, cols]  r = heads/kv_heads; sums in double, ascending
 * heads */
void mr_gqa_mean(double *out, const mr_matrix *W, idx heads, idx kv_heads, idx D) {
    const idx r = heads / kv_heads;
    for (idx row = 0; row < kv_heads * D; row++)
        for (idx c = 0; c < W->cols; c++) {
            double sum = 0, value;
            for (idx n = 0; n < r; n++) {
                FN(widen)(&value, W, (row / D * r + n) * D + row % D, c, 1, MR_STORE_WIDE);
                sum += value;
            }
            out[row * W->cols + c] = sum / (double)r;
        }
}
