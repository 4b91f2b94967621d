/* Attention masks: causal, sliding window, Longformer's symmetric window, block-diagonal for
 * packed sequences. */
#include "ref/mask.h"

#include <string.h>

/* (A1) causal: j <= i.  swa: also i-j < W  (Jiang et al. 2023, Fig. 1 and 3; mistral-inference
 * cache.py).
 *      inclusive: i-j <= W  (the same paper's text; Hugging Face in 2023).
 *      longformer: |i-j| <= W/2, not causal  (Beltagy et al. 2020, sec. 3.1) */
void mr_mask_range(mr_window_rule rule, idx window, idx i, idx n, idx *from, idx *to) {
    idx first = 0, last = i;
    if (window > 0) {
        switch (rule) {
        case MR_WINDOW_SWA:        first = i - window + 1; break;
        case MR_WINDOW_INCLUSIVE:  first = i - window;     break;
        case MR_WINDOW_LONGFORMER: default: first = i - window / 2; last = i + window / 2; break;
        }
    }
    *from = first > 0 ? first : 0;
    *to = last < n ? last + 1 : n;
    if (*to < *from) *to = *from;
}

void mr_mask_fill(uint8_t *mask, mr_window_rule rule, idx window, idx n_seqs, const idx *length,
                  const idx *seen, const idx *column, idx columns) {
    idx row = 0;
    for (idx b = 0; b < n_seqs; b++)
        for (idx a = 0; a < length[b]; a++, row++) {
            idx from, to;
            mr_mask_range(rule, window, seen[b] + a, seen[b] + length[b], &from, &to);
            memset(mask + row * columns, 0, (size_t)columns);
            memset(mask + row * columns + column[b] + from, 1, (size_t)(to - from));
        }
}
