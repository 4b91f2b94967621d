/* Rolling cache: position p lives in slot p mod W, so the newest W keys overwrite the oldest. */
#include "ref/real.h"
#include "ref/mr_internal.h"

#include <string.h>

/* (C1) ring[p mod slots] = row of position p, for the last min(s,slots) of s new rows
 *                                                        Jiang et al. 2023, sec. 2 and Fig. 2;
 * mistral-inference cache.py
 * ring_k,ring_v: [slots,width]  k,v: [s,width]  position: absolute, of the first new row  width:
 * G*D Must follow the attention of the same rows: an early row of a chunk still needs keys that
 * the chunk overwrites. */
void FN(cache_write)(real *ring_k, real *ring_v, const real *k, const real *v, idx s,
                     int64_t position, idx slots, idx width) {
    for (idx a = s > slots ? s - slots : 0; a < s; a++) {
        const idx slot = (idx)((position + a) % slots);
        memcpy(ring_k + slot * width, k + a * width, (size_t)width * sizeof *k);
        memcpy(ring_v + slot * width, v + a * width, (size_t)width * sizeof *v);
    }
}
