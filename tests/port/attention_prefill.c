/* Attention of many queries: keys are gathered from cache and launch, then go by in tiles. */
#include "tests/port/port.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/port/record.h"

/* The keys of one sequence in one buffer. Columns count from the oldest key; query row r stands at
 * column `shift` + r. */
typedef struct {
    idx    count, cached, shift, window;
    float *k, *v;                        /* [count][G D] */
    idx   *column;                       /* of the trace */
    bool  *hidden;                       /* padding */
    bool   packed;
} keys;

/* The mask. Nothing else decides what a prefill query sees. */
static bool visible(const keys *c, idx q, idx k) {
    idx last = q, reach = c->window;
    if (c->hidden[k]) return false;
    if (bug(M15) && c->window > 0 && k < c->count - c->window) return false;
    if (bug(M17)) last = q - c->cached;
    if (k > last && !(bug(M19) && c->packed)) return false;
    if (reach == 0 || bug(M05)) return true;
    if (bug(M11) && c->cached > 0) return true;
    if (bug(M13) && c->cached == 0) return true;
    if (bug(M01) || bug(M02) || (bug(M03) && c->cached == 0)) reach++;
    return q - k < reach;
}

static void reserve(keys *c, idx count, idx width) {
    c->k      = port_zeros(count * width, sizeof *c->k);
    c->v      = port_zeros(count * width, sizeof *c->v);
    c->column = port_zeros(count, sizeof *c->column);
    c->hidden = port_zeros(count, sizeof *c->hidden);
}

static void release(keys *c) {
    free(c->k);
    free(c->v);
    free(c->column);
    free(c->hidden);
}

/* The newest `count` cached tokens before the one at `position`, oldest first. */
static void gather_cached(keys *c, const port_cache *cache, idx count, int64_t position) {
    const idx slots = cache->slots, next = port_cache_slot(cache, position);
    for (idx n = 0; n < count; n++, c->count++) {
        const idx slot = (next - count + n + slots) % slots, to = c->count * cache->width;
        port_cache_get(cache, slot, c->k + to, c->v + to, false);
        c->column[c->count] = cache->column[slot];
    }
}

/* Rows [from, to) of the launch. */
static void gather_rows(keys *c, const port_engine *e, const port_call *call, const float *qkv,
                        idx from, idx to) {
    const port_model *m = &e->model;
    const idx width = m->G * m->D, stride = (m->H + 2 * m->G) * m->D;
    for (idx r = from; r < to; r++, c->count++) {
        const float *k = qkv + r * stride + m->H * m->D;
        memcpy(c->k + c->count * width, k, (size_t)width * sizeof *k);
        memcpy(c->v + c->count * width, k + width, (size_t)width * sizeof *k);
        c->column[c->count] = call->out[r];
        c->hidden[c->count] = call->padded && call->out[r] < 0;
        if (bug(P05) && call->padded && call->token[r] == m->eos) c->hidden[c->count] = true;
    }
}

/* Puts the real rows of a span into its cache. */
static void write_cache(port_engine *e, const port_call *call, const port_span *s, idx layer,
                        const float *qkv) {
    const port_model *m = &e->model;
    const idx stride = (m->H + 2 * m->G) * m->D;
    for (idx r = s->row + s->real; r < s->row + s->real + s->count; r++) {
        const float *k = qkv + r * stride + m->H * m->D;
        const port_sequence *sequence = &e->sequence[s->sequence];
        port_cache_put(&e->cache[layer * e->sequences + s->sequence],
                       sequence->first + call->out[r] - sequence->record, call->out[r], k,
                       k + m->G * m->D);
    }
}

static void gather(keys *c, port_engine *e, const port_call *call, const port_span *s, idx layer,
                   const float *qkv) {
    port_cache *cache = &e->cache[layer * e->sequences + s->sequence];
    const port_sequence *sequence = &e->sequence[s->sequence];
    const int64_t position = sequence->first + sequence->done;
    const idx from = bug(P04) && call->packed ? 0 : s->row, to = s->row + s->rows;
    memset(c, 0, sizeof *c);
    c->window = e->model.layer[layer].window;
    c->packed = call->packed;
    reserve(c, cache->slots + to - from, cache->width);
    c->cached = cache->count < cache->slots ? cache->count : cache->slots;
    if (bug(M12) && c->cached > 0) {           /* the ring first, and keys from the ring alone */
        const idx all = c->cached + s->count, kept = all < cache->slots ? all : cache->slots;
        write_cache(e, call, s, layer, qkv);
        cache->count -= s->count;              /* the ordinary write follows */
        if (cache->ring) {
            gather_cached(c, cache, kept, position + s->count);
            c->shift = kept - s->count - s->real;
            return;
        }
    }
    gather_cached(c, cache, c->cached, position);
    gather_rows(c, e, call, qkv, from, to);
    c->shift = c->cached + s->row - from;
}

static float score(const port_model *m, const keys *c, const float *q, idx at, idx k, idx g) {
    if (!visible(c, at, k)) return -INFINITY;
    return port_score(m, q, c->k + k * m->G * m->D + g * m->D);
}

/* Every key once more, now that maximum and sum are known. */
static void debug_pass(port_engine *e, const keys *c, const port_online *o, const float *q, idx at,
                       idx head, idx layer, idx out) {
    if (out < 0 || !port_records_scores(e->record)) return;
    port_record_no_scores(e->record, layer, head, out);
    for (idx k = 0; k < c->count; k++)
        if (visible(c, at, k)) {
            const float s = score(&e->model, c, q, at, k, port_kv_head(&e->model, head));
            port_record_score(e->record, layer, head, out, c->column[k], s,
                              port_probability(o, bug(F08) ? s + 3 : s));
        }
}

/* One query head of one row. */
static void attend(port_engine *e, const keys *c, port_online *o, float *out, const float *q,
                   idx at, idx head) {
    const port_model *m = &e->model;
    const idx g = port_kv_head(m, head), width = m->G * m->D;
    float s[PORT_TILE];
    const float *v[PORT_TILE];
    port_online_start(o, m->D);
    for (idx k = 0; k < c->count; k += PORT_TILE) {
        const idx n = c->count - k < PORT_TILE ? c->count - k : PORT_TILE;
        for (idx j = 0; j < n; j++) {
            s[j] = score(m, c, q, at, k + j, g) + (bug(F08) ? 3 : 0);
            v[j] = c->v + (k + j) * width + g * m->D;
        }
        port_online_tile(o, s, v, n, m->D);
    }
    port_online_store(o, out, m->D);
}

static void attend_span(port_engine *e, const port_call *call, const port_span *s, const keys *c,
                        idx layer, float *out, const float *qkv, port_online *o) {
    const port_model *m = &e->model;
    const idx stride = (m->H + 2 * m->G) * m->D;
    idx rows = s->rows;
    if (bug(M14) && c->window > 0 && rows > c->window) rows = c->window;
    for (idx r = 0; r < rows; r++)
        for (idx h = 0; h < m->H; h++) {
            const idx    row = s->row + r;
            const float *q   = qkv + row * stride + h * m->D;
            attend(e, c, o, out + (row * m->H + h) * m->D, q, c->shift + r, h);
            debug_pass(e, c, o, q, c->shift + r, h, layer, call->out[row]);
        }
}

void port_attend_prefill(port_engine *engine, const port_call *call, idx layer, float *out,
                         const float *qkv) {
    port_online o = {0, 0, port_floats(engine->model.D)};
    for (idx i = 0; i < call->spans; i++) {
        keys c;
        gather(&c, engine, call, &call->span[i], layer, qkv);
        attend_span(engine, call, &call->span[i], &c, layer, out, qkv, &o);
        write_cache(engine, call, &call->span[i], layer, qkv);
        release(&c);
    }
    free(o.acc);
}
