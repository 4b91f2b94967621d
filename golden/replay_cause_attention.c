/* Hypotheses on attention: windows, masks, rotation, heads, scale, caches. */
#include <math.h>
#include <string.h>

#include "golden/replay_cause_list.h"

#define NAME(f, ...) snprintf((f)->name, sizeof (f)->name, __VA_ARGS__)

mr_fault *mr_suppose(mr_hypotheses *h, const mr_config *config, char acts) {
    if (h->count == (idx)(sizeof h->acts)) h->count--;   /* the last one gives way */
    mr_fault *f = &h->list[h->count];
    memset(f, 0, sizeof *f);
    f->config = *config;
    h->acts[h->count++] = acts;
    return f;
}

/* Kinds of calls that the run has. */
static unsigned kinds(const mr_meta *m) {
    unsigned found = MR_FIRST_CALL;
    for (idx b = 0; b < m->n_seqs; b++) {
        const idx prompt = m->length[b] > m->decode ? m->length[b] - m->decode : 1;
        if (m->chunk > 0 && prompt > m->chunk) found |= MR_LATER_CALL;
        if (m->length[b] > prompt) found |= MR_DECODE_CALL;
    }
    return found;
}

static const char *where(unsigned calls) {
    static const char *const names[] = {
        "", ", in the first call only", ", with cached keys only", ", in prefill only",
        ", in decode only", ", in first calls and decode", ", with cached keys only", ""};
    return names[calls & 7];
}

static void one_window(mr_hypotheses *h, const mr_config *c, idx window, unsigned calls) {
    const idx now = c->n_windows > 0 ? c->windows[0] : 0;
    if (window == now && c->n_windows < 2) return;
    mr_fault *f = mr_suppose(h, c, 'a');
    f->config.n_windows = window > 0;
    f->config.windows[0] = window;
    f->config.window_rule = MR_WINDOW_SWA;
    f->calls = calls;
    char is[64], was[40] = "";
    snprintf(is, sizeof is, window > 0 ? "a sliding window of %td key%s" : "no sliding window",
             window, window == 1 ? "" : "s");
    if (c->n_windows > 1) snprintf(was, sizeof was, "in every layer");
    else if (now > 0) snprintf(was, sizeof was, "instead of %td", now);
    else snprintf(was, sizeof was, "instead of none");
    NAME(f, "%s %s%s", is, was, where(calls));
}

static void windows(mr_hypotheses *h, const mr_config *c, idx T, unsigned calls) {
    one_window(h, c, 0, calls);
    for (idx i = 0; i < c->n_windows; i++) {
        bool before = false;
        for (idx j = 0; j < i; j++) before = before || c->windows[j] == c->windows[i];
        for (idx shift = -1; shift <= 1 && !before && c->windows[i] > 0; shift++)
            if (c->windows[i] + shift > 0) one_window(h, c, c->windows[i] + shift, calls);
    }
    for (idx window = 1; c->n_windows == 0 && window < T; window++)
        if (window == 1 || window > T - 16 || window == 4096) one_window(h, c, window, calls);
}

static void mask(mr_hypotheses *h, const mr_config *c, mr_sees sees, unsigned calls,
                 const char *name) {
    mr_fault *f = mr_suppose(h, c, 'a');
    f->sees = sees;
    f->calls = calls;
    NAME(f, "%s", name);
}

void mr_suppose_masks(mr_hypotheses *h, const mr_config *c, const mr_meta *m) {
    const unsigned found = kinds(m);
    windows(h, c, m->count, 0);
    for (unsigned calls = 1; calls < MR_ANY_CALL; calls++)
        if ((calls & ~found) == 0 && calls != found) windows(h, c, m->count, calls);
    mask(h, c, MR_SEES_LATER, 0, "not causal: rows see later keys of their call");
    if (m->n_seqs > 1)
        mask(h, c, MR_SEES_OTHERS, 0, "rows see keys of other sequences, before theirs");
    if (found != MR_FIRST_CALL)
        mask(h, c, MR_SEES_FROM_FIRST, 0, "causal mask counted from the first key, not the last");
    if (c->n_windows > 0) {
        const unsigned prefill = MR_FIRST_CALL | MR_LATER_CALL;
        mask(h, c, MR_SEES_LAST, prefill,
             "keys cut to the last window of the call: early rows are without keys");
        mask(h, c, MR_SEES_RING, MR_LATER_CALL,
             "the call is written to the ring before its rows read");
        mask(h, c, MR_SEES_POINTER, MR_DECODE_CALL,
             "write pointer of the ring taken for its number of keys");
    }
    if (c->eos_id >= 0 && (m->batch == MR_LEFT_PADDED || m->batch == MR_RIGHT_PADDED))
        mask(h, c, MR_SEES_NO_END, 0, "end tokens hidden as if they were padding");
    if (m->batch == MR_LEFT_PADDED) {
        mr_fault *f = mr_suppose(h, c, 'a');
        f->nan_of_padding = true;
        NAME(f, "NaN of padding rows without keys reaches the others as 0 * NaN");
    }
}

static void tables(mr_hypotheses *h, const mr_config *c, const mr_meta *m) {
    int64_t last = 0;
    for (idx b = 0; b < m->n_seqs; b++)
        if (m->first[b] + m->length[b] > last) last = m->first[b] + m->length[b];
    for (idx table = 512; table < last; table *= 2) {
        mr_fault *f = mr_suppose(h, c, 'r');
        f->at = MR_AT_TABLE_END;
        f->table = table;
        NAME(f, "rotary table of %td rows: later positions take its last row", table);
        if (c->rope_theta == 1e4) continue;
        f = mr_suppose(h, c, 'r');
        f->table = table;
        f->table_theta = 1e4;
        NAME(f, "rotary table extended from row %td on with rope_theta 10000", table);
    }
}

static void positions(mr_hypotheses *h, const mr_config *c, mr_at at, const char *name) {
    mr_fault *f = mr_suppose(h, c, 'r');
    f->at = at;
    NAME(f, "%s", name);
}

static void all_positions(mr_hypotheses *h, const mr_config *c, const mr_meta *m) {
    const unsigned found = kinds(m);
    for (int shift = -8; shift <= 8; shift++) {
        if (shift == 0) continue;
        mr_fault *f = mr_suppose(h, c, 'r');
        f->position_offset = shift;
        f->harmless = true;            /* scores depend on differences only */
        NAME(f, "every position shifted by %+d", shift);
    }
    if (found != MR_FIRST_CALL) {
        positions(h, c, MR_AT_CALL, "positions start again in every call");
        positions(h, c, MR_AT_MINUS_FIRST, "the first call starts at position -1");
    }
    if (m->batch == MR_LEFT_PADDED) {
        positions(h, c, MR_AT_PADDED, "positions count the padding on the left");
        if (found & MR_DECODE_CALL)
            positions(h, c, MR_AT_PADDED_DECODE, "decode positions count the padding on the left");
    }
    if (m->n_seqs > 1 && (found & MR_DECODE_CALL) != 0) {
        positions(h, c, MR_AT_LARGEST_QUERY,
                  "decode rotates queries to the largest position of the batch");
        positions(h, c, MR_AT_OTHER_USER,
                  "decode takes the position of another sequence (b mod 2)");
    }
    positions(h, c, MR_AT_BF16, "positions rounded to bf16");
}

void mr_suppose_rotations(mr_hypotheses *h, const mr_model *model, const mr_meta *m) {
    static const double thetas[] = {1e3, 1e4, 1e5, 5e5, 1e6, 1e7};
    const mr_config *c = &model->config;
    const idx H = c->n_heads, rows = c->n_kv_heads * c->head_dim;
    mr_fault *f;
    for (size_t i = 0; i < sizeof thetas / sizeof *thetas; i++) {
        if (thetas[i] == c->rope_theta) continue;
        f = mr_suppose(h, c, 'r');
        f->config.rope_theta = thetas[i];
        NAME(f, "rope_theta %g instead of %g", thetas[i], c->rope_theta);
    }
    f = mr_suppose(h, c, 'r');
    f->other_pairs = true;
    NAME(f, "rotates %s pairs, but the rows are %s",
         c->rope_layout == MR_HALF_SPLIT ? "interleaved" : "half-split",
         c->rope_layout == MR_HALF_SPLIT ? "half-split" : "interleaved");
    for (int type = MR_STORE_BF16; type <= MR_STORE_F16; type++) {
        f = mr_suppose(h, c, 'r');
        f->frequencies = (mr_storage)type;
        NAME(f, "inverse frequencies rounded to %s", type == MR_STORE_BF16 ? "bf16" : "f16");
    }
    if (rows % (2 * H) == 0 && model->qk_rows != c->rope_layout) {
        f = mr_suppose(h, c, 'k');
        f->k_by_queries = true;
        NAME(f, "rows of wk permuted with the count of query heads");
    }
    all_positions(h, c, m);
    tables(h, c, m);
}

static void heads(mr_hypotheses *h, const mr_config *c, mr_heads how, idx tile) {
    mr_fault *f = mr_suppose(h, c, 'a');
    f->heads = how;
    f->tile = tile;
    if (how == MR_HEADS_MODULO) NAME(f, "KV heads tiled (h mod G) instead of repeated (h / (H/G))");
    else if (how == MR_HEADS_TILE)
        NAME(f, "the first of every tile of %td heads picks the KV head", tile);
    else NAME(f, "KV heads counted as twice as many, as in replicated shards");
}

static void caches(mr_hypotheses *h, const mr_config *c, unsigned found) {
    for (int power = -8; power <= 8; power++)
        for (unsigned calls = MR_LATER_CALL; calls <= MR_DECODE_CALL; calls *= 2) {
            if (power == 0 || (found & calls) == 0) continue;
            mr_fault *f = mr_suppose(h, c, 'a');
            f->calls = calls;
            f->cached_k = ldexp(1, power);
            NAME(f, "cached keys scaled by %g%s", f->cached_k, where(calls));
            if (calls != MR_DECODE_CALL) continue;
            f = mr_suppose(h, c, 'a');
            f->calls = calls;
            f->cached_v = ldexp(1, power);
            NAME(f, "cached values scaled by %g%s", f->cached_v, where(calls));
        }
}

void mr_suppose_attention(mr_hypotheses *h, const mr_config *c, const mr_meta *m) {
    const idx H = c->n_heads, G = c->n_kv_heads;
    mr_fault *f;
    if (G > 1 && G < H) heads(h, c, MR_HEADS_MODULO, 0);
    for (idx tile = 2; G > 1 && tile < 2 * H; tile *= 2)
        if (H / G % tile != 0) heads(h, c, MR_HEADS_TILE, tile);
    if (G > 1) heads(h, c, MR_HEADS_SHARDS, 0);
    if (c->dim != H * c->head_dim) {
        f = mr_suppose(h, c, 'a');
        f->score_scale = 1 / sqrt((double)(c->dim / H));
        NAME(f, "scores scaled by (dim/heads)^-1/2 instead of head_dim^-1/2");
        f = mr_suppose(h, c, 'o');
        f->rows_of_dim = true;
        NAME(f, "attention output read as rows of dim, not heads * head_dim, elements");
    }
    if (H > 1 && m->n_seqs == 1 && m->count > 1) {
        f = mr_suppose(h, c, 'a');
        f->heads_first = true;
        NAME(f, "attention output left with heads before tokens, and read as tokens before heads");
    }
    f = mr_suppose(h, c, 'a');
    f->score_scale = 1;
    NAME(f, "scores not scaled");
    for (int type = MR_STORE_BF16; type <= MR_STORE_F16; type++) {
        f = mr_suppose(h, c, 'a');
        f->score_storage = (mr_storage)type;
        NAME(f, "q.k rounded to %s before the scale", type == MR_STORE_BF16 ? "bf16" : "f16");
    }
    caches(h, c, kinds(m));
}
