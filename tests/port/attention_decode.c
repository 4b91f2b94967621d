/* Attention of one query per sequence over its cache, split in two stretches that are joined. */
#include "tests/port/port.h"

#include <math.h>
#include <stdlib.h>

#include "tests/port/record.h"

/* Which key head a query head reads: head / group. */
idx port_kv_head(const port_model *model, idx head) {
    const idx group = model->H / model->G;
    if (bug(A01)) return head % model->G;
    if (bug(A02)) return head / 16 * 16 / group;   /* the tile's first head decides for all 16 */
    if (bug(A11)) {              /* 2 G ranks hold one key head each, every one of them twice */
        const idx total = 2 * model->G, share = model->H / total > 0 ? model->H / total : 1,
                  g = head / share;
        return g < model->G ? g : model->G - 1;
    }
    return head / group;
}

float port_score(const port_model *model, const float *q, const float *k) {
    float width = (float)model->D, s = port_dot(q, k, model->D);
    if (bug(A04)) width = (float)(model->d / model->H);
    if (bug(A09)) s = port_to_f16(s);
    return s * (1 / sqrtf(width));
}

/* How far the kernel reads: all slots, of which empty ones count for nothing. */
static idx slots_read(const port_cache *cache, int64_t position) {
    if (bug(K04) && cache->ring) return (idx)(position % cache->slots) + 1;
    if (bug(M17)) return 1;
    return cache->slots;
}

static bool skipped(const port_cache *cache, idx slot, int64_t position, idx used) {
    if (bug(M21)) {                      /* up to the end of the block of PORT_TILE slots */
        const idx block = (used + PORT_TILE - 1) / PORT_TILE * PORT_TILE;
        return cache->position[slot] < 0 && slot >= block;
    }
    if (bug(K01) && cache->ring && cache->position[slot] == position - cache->slots + 1)
        return true;
    return cache->position[slot] < 0;
}

/* What a launch needs per sequence. */
typedef struct {
    idx    count;
    float *k, *v;        /* [count][G D] the cache as the kernel reads it */
    idx   *column;
} window;

static void open_window(window *w, const port_cache *cache, int64_t position) {
    const idx read = slots_read(cache, position), width = cache->width;
    w->count  = 0;
    w->k      = port_zeros(cache->slots * width, sizeof *w->k);
    w->v      = port_zeros(cache->slots * width, sizeof *w->v);
    w->column = port_zeros(cache->slots, sizeof *w->column);
    for (idx n = 0; n < read; n++) {
        const idx slot = bug(F04) ? read - 1 - n : n;
        if (skipped(cache, slot, position, cache->count)) continue;
        port_cache_get(cache, slot, w->k + w->count * width, w->v + w->count * width, true);
        w->column[w->count++] = cache->position[slot] < 0 ? -1 : cache->column[slot];
    }
}

static void close_window(window *w) {
    free(w->k);
    free(w->v);
    free(w->column);
}

static float score(const port_model *m, const window *w, const float *q, idx k, idx g) {
    return port_score(m, q, w->k + (k * m->G + g) * m->D);
}

/* Keys [from, to). */
static void stretch(port_online *o, const port_model *m, const window *w, const float *q, idx g,
                    idx from, idx to) {
    port_online_start(o, m->D);
    for (idx at = from; at < to; at += PORT_TILE) {
        const idx n = to - at < PORT_TILE ? to - at : PORT_TILE;
        float s[PORT_TILE];
        const float *v[PORT_TILE];
        for (idx j = 0; j < n; j++) {
            s[j] = score(m, w, q, at + j, g) + (bug(F08) ? 3 : 0);
            v[j] = w->v + ((at + j) * m->G + g) * m->D;
        }
        port_online_tile(o, s, v, n, m->D);
    }
}

static void attend_row(port_engine *e, const window *w, idx layer, float *out, const float *q,
                       idx record) {
    const port_model *m = &e->model;
    port_online a = {0, 0, port_floats(m->D)}, b = {0, 0, port_floats(m->D)};
    for (idx h = 0; h < m->H; h++, q += m->D) {
        const idx g = port_kv_head(m, h);
        stretch(&a, m, w, q, g, 0, w->count / 2);
        stretch(&b, m, w, q, g, w->count / 2, w->count);
        port_online_join(&a, &b, m->D);
        port_online_store(&a, out + h * m->D, m->D);
        if (!port_records_scores(e->record)) continue;
        port_record_no_scores(e->record, layer, h, record);
        for (idx k = 0; k < w->count; k++) {
            const float s = score(m, w, q, k, g);
            port_record_score(e->record, layer, h, record, w->column[k], s,
                              port_probability(&a, bug(F08) ? s + 3 : s));
        }
    }
    free(a.acc);
    free(b.acc);
}

void port_attend_decode(port_engine *engine, const port_call *call, idx layer, float *out,
                        const float *qkv) {
    const port_model *m = &engine->model;
    const idx stride = (m->H + 2 * m->G) * m->D;
    for (idx i = 0; i < call->spans; i++) {
        const idx b = call->span[i].sequence, row = call->span[i].row;
        const port_sequence *s = &engine->sequence[b];
        port_cache  *cache = &engine->cache[layer * engine->sequences + b];
        const float *q = qkv + row * stride, *k = q + m->H * m->D;
        const int64_t position = s->first + s->done;
        window w;
        port_cache_put(cache, position, call->out[row], k, k + m->G * m->D);
        open_window(&w, cache, position);
        attend_row(engine, &w, layer, out + row * m->H * m->D, q, call->out[row]);
        close_window(&w);
    }
}
