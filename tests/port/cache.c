/* Key-value cache of one sequence in one layer: a ring under a window, else a plain list. */
#include "tests/port/port.h"

#include <stdlib.h>
#include <string.h>

/* The 8-bit caches that K11 comes from store k / K_SCALE and v / V_SCALE. Powers of two, so that
 * nothing is rounded here. */
#define K_SCALE 0.5f
#define V_SCALE 4.0f

void port_cache_init(port_cache *cache, idx slots, idx width, bool ring) {
    memset(cache, 0, sizeof *cache);
    cache->slots    = slots;
    cache->width    = width;
    cache->ring     = ring;
    cache->k        = port_floats(slots * width);
    cache->v        = port_floats(slots * width);
    cache->position = port_zeros(slots, sizeof *cache->position);
    cache->column   = port_zeros(slots, sizeof *cache->column);
    port_cache_clear(cache);
}

void port_cache_free(port_cache *cache) {
    free(cache->k);
    free(cache->v);
    free(cache->position);
    free(cache->column);
}

void port_cache_clear(port_cache *cache) {
    for (idx s = 0; s < cache->slots; s++) cache->position[s] = -1;
    cache->count = cache->trimmed = 0;
}

/* Where the token of a position goes, which is the next one without a ring. */
idx port_cache_slot(const port_cache *cache, int64_t position) {
    int64_t at = cache->ring ? position : cache->count;
    if (bug(K03)) at -= cache->trimmed;
    at %= cache->slots;
    return (idx)(at < 0 ? at + cache->slots : at);
}

void port_cache_put(port_cache *cache, int64_t position, idx column, const float *k,
                    const float *v) {
    const idx slot = port_cache_slot(cache, position);
    for (idx i = 0; i < cache->width; i++) {
        cache->k[slot * cache->width + i] = k[i] / K_SCALE;
        cache->v[slot * cache->width + i] = v[i] / V_SCALE;
    }
    cache->position[slot] = position;
    cache->column[slot]   = column;
    cache->count++;
}

void port_cache_get(const port_cache *cache, idx slot, float *k, float *v, bool decoding) {
    float scale_k = K_SCALE, scale_v = V_SCALE;
    if (bug(K11) && decoding) scale_v = 1;     /* the kernel is handed one scale for both */
    if (bug(K11b) && !decoding) scale_k = 1;   /* the scale never reaches the prefill path */
    for (idx i = 0; i < cache->width; i++) {
        k[i] = cache->k[slot * cache->width + i] * scale_k;
        v[i] = cache->v[slot * cache->width + i] * scale_v;
    }
}

bool port_cache_wrapped(const port_cache *cache) { return cache->count > cache->slots; }

bool port_cache_truncate(port_cache *cache, idx keep, int64_t first) {
    const bool wrapped = port_cache_wrapped(cache);
    if (wrapped && !bug(K05)) return false;
    cache->trimmed = cache->count - keep;
    cache->count   = keep;
    for (idx s = 0; s < cache->slots; s++)
        if (cache->position[s] >= first + keep && !wrapped) cache->position[s] = -1;
    return true;
}
