/* Dropless grouped dispatch: a counting sort of the copies by expert; optionally with a capacity
 * that drops the overflow. */
#include "ref/dispatch.h"

#include <math.h>

/* (M5) C = floor(capacity_factor K T / E), a factor of 0 is dropless
 *                                                            Gale et al. 2022; megablocks moe.py */
idx mr_capacity(double factor, idx T, idx E, idx K) {
    return factor > 0 ? (idx)floor(factor * (double)K * (double)T / (double)E) : 0;
}

/* Copy that has rank n in the order in which capacity is given out. */
static idx ranked(idx n, idx T, idx K, mr_capacity_rank rank) {
    /* slot-major: all first choices before all second */
    return rank == MR_CAPACITY_TOKENS ? n : n % T * K + n / T;
}

/* (M4) copies sorted by expert, stable in the flat index token*K + slot
 *                                                   Gale et al. 2022, sec. 4; megablocks dmoe.py */
void mr_dispatch_sort(idx *copy, idx *place, idx *bin, const int32_t *experts, idx T, idx E, idx K,
                      idx capacity, mr_capacity_rank rank) {
    for (idx e = 0; e <= E; e++) bin[e] = 0;
    for (idx n = 0; n < T * K; n++) {
        const idx c = ranked(n, T, K, rank);
        const bool fits = capacity == 0 || bin[experts[c] + 1] < capacity;
        place[c] = fits ? 0 : -1;
        bin[experts[c] + 1] += fits;
    }
    for (idx e = 0; e < E; e++) bin[e + 1] += bin[e];                /* counts become starts */
    for (idx c = 0; c < T * K; c++)
        if (place[c] >= 0) {
            place[c] = bin[experts[c]]++;
            copy[place[c]] = c;
        }
    /* the fill moved every start to its end */
    for (idx e = E; e > 0; e--) bin[e] = bin[e - 1];
    bin[0] = 0;
}
