/* Which rows go into which launch: prompts in chunks of a padded grid or a packed row, then one
 * token per sequence. Positions are made here. */
#include "tests/port/port.h"

#include <stdlib.h>

/* A batch of sequences [from, to) under way. */
typedef struct {
    port_engine *engine;
    port_layout  layout;
    idx          from, to, longest, chunk;   /* longest: prompt, of what is still to be fed */
    idx         *start;                      /* [sequences] first token of this turn */
} batch;

static port_call open_call(idx rows, idx spans) {
    port_call c = {.rows = 0};
    c.span       = port_zeros(spans, sizeof *c.span);
    c.token      = port_zeros(rows, sizeof *c.token);
    c.position   = port_zeros(rows, sizeof *c.position);
    c.position_q = port_zeros(rows, sizeof *c.position_q);
    c.out        = port_zeros(rows, sizeof *c.out);
    return c;
}

static void close_call(port_call *c) {
    free(c->span);
    free(c->token);
    free(c->position);
    free(c->position_q);
    free(c->out);
}

/* One row: token n of a sequence, or padding when n is negative. Padding is the end token, as
 * models without a pad token have it. */
static void add_row(port_call *c, const port_engine *e, const port_sequence *s, idx n,
                    int64_t position) {
    const idx r = c->rows++;
    if (bug(F02)) position += 7;
    c->token[r]      = n >= 0 ? s->tokens[n] : e->model.eos >= 0 ? e->model.eos : 0;
    c->position[r]   = position;
    c->position_q[r] = position;
    c->out[r]        = n >= 0 ? s->record + n : -1;
}

/* Position of token n in a prompt chunk; column: place in the padded grid. */
static int64_t prompt_position(const port_sequence *s, idx n, idx chunk_start, idx column,
                               port_layout layout) {
    if (bug(K09) && s->done == 0) return s->first + n - 1;
    if (bug(S12)) return s->first + n - chunk_start;
    if (bug(P02) && layout == PORT_LEFT) return s->first + column;
    return s->first + n;
}

/* Columns [from, to) of the grid; without padding, tokens [from, to) of every sequence. */
static void add_span(port_call *c, const batch *b, idx sequence, idx from, idx to) {
    const port_sequence *s = &b->engine->sequence[sequence];
    const idx start = b->start[sequence], fed = s->prompt - start,
              shift = b->layout == PORT_LEFT ? b->longest - fed : 0;
    port_span *span = &c->span[c->spans];
    *span = (port_span){.sequence = sequence, .row = c->rows};
    for (idx column = from; column < to; column++) {
        const idx  n = column - shift;
        const bool real = n >= 0 && n < fed;
        if (!real && !c->padded) continue;
        if (real && span->count++ == 0) span->real = c->rows - span->row;
        add_row(c, b->engine, s, real ? start + n : -1,
                real ? prompt_position(s, start + n, s->done, column, b->layout) : s->first);
    }
    span->rows = c->rows - span->row;
    if (span->rows > 0) c->spans++;
}

static void prefill(const batch *b) {
    const idx sequences = b->to - b->from;
    for (idx at = 0; at < b->longest; at += b->chunk) {
        const idx to = at + b->chunk < b->longest ? at + b->chunk : b->longest;
        port_call c = open_call(sequences * (to - at), sequences);
        c.packed = b->layout == PORT_PACKED;
        c.padded = b->layout == PORT_LEFT || b->layout == PORT_RIGHT;
        for (idx i = b->from; i < b->to; i++) add_span(&c, b, i, at, to);
        port_forward(b->engine, &c);
        for (idx i = 0; i < c.spans; i++)
            b->engine->sequence[c.span[i].sequence].done += c.span[i].count;
        close_call(&c);
    }
}

/* Position of the next token of sequence i when decoding. */
static int64_t next_position(const batch *b, idx i) {
    const port_sequence *s = &b->engine->sequence[i];
    const idx pad = b->longest - (s->prompt - b->start[i]);
    if (bug(S12)) return s->first;
    if ((bug(P01) || bug(P02)) && b->layout == PORT_LEFT) return s->first + s->done + pad;
    if (bug(R11)) {              /* positions are sharded over two devices, users are not */
        const port_sequence *other = &b->engine->sequence[b->from + (i - b->from) % 2];
        return other->first + (other->done < other->length ? other->done : other->length - 1);
    }
    return s->first + s->done;
}

static void decode(const batch *b) {
    for (;;) {
        port_call c = open_call(b->to - b->from, b->to - b->from);
        int64_t   most = 0;
        c.decoding = true;
        for (idx i = b->from; i < b->to; i++) {
            const port_sequence *s = &b->engine->sequence[i];
            if (s->done == s->length) continue;
            c.span[c.spans++] = (port_span){i, c.rows, 1, 0, 1};
            add_row(&c, b->engine, s, s->done, next_position(b, i));
            if (c.position[c.rows - 1] > most) most = c.position[c.rows - 1];
        }
        for (idx r = 0; bug(K08) && r < c.rows; r++) c.position_q[r] = most;
        if (c.rows > 0) port_forward(b->engine, &c);
        for (idx i = 0; i < c.spans; i++) b->engine->sequence[c.span[i].sequence].done++;
        close_call(&c);
        if (c.rows == 0) return;
    }
}

/* What the cache still holds of the last turn's tokens; all of it or nothing. */
static void reuse_cache(port_engine *e, idx sequence, idx keep) {
    port_sequence *s = &e->sequence[sequence];
    bool usable = keep < s->length;
    s->done = 0;
    for (idx l = 0; l < e->model.L; l++) {
        const port_cache *c = &e->cache[l * e->sequences + sequence];
        usable = usable && (bug(K05) || !port_cache_wrapped(c));
    }
    for (idx l = 0; l < e->model.L; l++) {
        port_cache *c = &e->cache[l * e->sequences + sequence];
        if (usable) port_cache_truncate(c, keep, s->first);
        else port_cache_clear(c);
    }
    if (usable) s->done = keep;
    if (s->prompt < s->done) s->prompt = s->done;
}

/* The slot of a batch that sequence i takes over from the one before it. */
static void take_over(port_engine *e, idx i) {
    for (idx l = 0; bug(K10) && i > 0 && l < e->model.L; l++) {
        const port_cache *old = &e->cache[l * e->sequences + i - 1];
        port_cache *c = &e->cache[l * e->sequences + i];
        for (idx n = 0; n < c->slots * c->width; n++) {
            c->k[n] = old->k[n];
            c->v[n] = old->v[n];
        }
        for (idx n = 0; n < c->slots; n++) {
            c->position[n] = old->position[n];
            c->column[n]   = old->column[n];
        }
        c->count = old->count;           /* the length of a slot is not set back to 0 */
    }
}

static void run_batch(port_engine *engine, port_layout layout, idx chunk, idx from, idx to) {
    batch b = {engine, layout, from, to, 0, chunk,
               port_zeros(engine->sequences, sizeof(idx))};
    for (idx i = from; i < to; i++) {
        const port_sequence *s = &engine->sequence[i];
        b.start[i] = s->done;
        if (s->prompt - s->done > b.longest) b.longest = s->prompt - s->done;
    }
    if (b.chunk == 0 || b.chunk > b.longest) b.chunk = b.longest;
    if (b.longest > 0) prefill(&b);
    decode(&b);
    free(b.start);
}

static void run_turn(port_engine *engine, port_layout layout, idx chunk, bool fresh) {
    if (layout != PORT_ALONE) run_batch(engine, layout, chunk, 0, engine->sequences);
    for (idx i = 0; layout == PORT_ALONE && i < engine->sequences; i++) {
        if (fresh) take_over(engine, i);
        run_batch(engine, layout, chunk, i, i + 1);
    }
}

void port_run(port_engine *engine, port_layout layout, idx chunk, idx reuse) {
    run_turn(engine, layout, chunk, true);
    if (reuse == 0) return;
    for (idx i = 0; i < engine->sequences; i++) reuse_cache(engine, i, reuse);
    run_turn(engine, layout, chunk, false);
}
