/* Every row against the mask's keys, then runs of neighbouring keys, then keys solved for. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/paths_keys_state.h"
#include "golden/replay_round.h"

#define LONGEST ((idx)512)

double mr_key_fit(mr_key_search *s, idx t, const idx *keys, idx n) {
    const idx H = s->c->n_heads, G = s->c->n_kv_heads, D = s->c->head_dim;
    double worst = 0;
    for (idx h = 0; h < H && worst <= 1; h++) {
        const idx g = h / (H / G);
        const double *found = s->found + (t * H + h) * D;
        if (n > 0) {
            mr_bound_scores(s->scores, mr_bounded_at(s->q, (t * H + h) * D),
                            mr_bounded_at(s->k, g * D), keys, n, D, G * D, 1 / sqrt((double)D),
                            s->a);
            mr_bound_softmax(s->scores, s->scores, n, s->a);
        }
        mr_bound_weighted_sum(s->o, s->scores, mr_bounded_at(s->v, g * D), keys, n, D, G * D, s->a);
        for (idx c = 0; c < D; c++) {
            mr_recorded(s->o, c, &s->file);
            worst = fmax(worst, mr_error_ratio(s->o.v[c], found[c], s->o.e[c]));
        }
    }
    return worst;
}

static idx fill(idx *keys, idx from, idx to) {
    for (idx j = from; j < to; j++) keys[j - from] = j;
    return to - from;
}

/* "places 3 to 7" of the row's own sequence; others are named by the distance before it */
static void words(char *text, size_t size, const idx *keys, idx n, idx base) {
    size_t at = 0;
    snprintf(text, size, n > 0 ? "places " : "no key");
    for (idx i = 0, run; i < n && (at = strlen(text)) + 24 < size; i += run) {
        for (run = 1; i + run < n && keys[i + run] == keys[i] + run; ) run++;
        snprintf(text + at, size - at, run > 1 ? "%s%td to %td" : "%s%td", i > 0 ? ", " : "",
                 keys[i] - base, keys[i + run - 1] - base);
    }
}

/* Every run of keys that ends at the row or at an end of its sequence. Prefers the longest. */
static void try_runs(mr_key_search *s, idx t, idx base, idx end, mr_keys_row *out) {
    const idx ends[] = {t + 1, end, t};
    for (int e = 0; e < 3 && out->fits == 0; e++) {
        const idx first = ends[e] > LONGEST ? ends[e] - LONGEST : 0;
        for (idx from = first; from < ends[e]; from++) {
            const idx n = fill(s->keys, from, ends[e]);
            if ((e > 0 && ends[e] == t + 1) || !(mr_key_fit(s, t, s->keys, n) <= 1)) continue;
            if (out->fits++ > 0) continue;
            out->kind = MR_SEEN_RANGE;
            out->last = e == 0;
            out->count = n;
            words(out->keys, sizeof out->keys, s->keys, n, base);
        }
    }
}

/* Solved among the keys of its sequence, then among all; proved by the bounds, and a set that may
 * lose or gain a key is not told. */
static void try_solving(mr_key_search *s, idx t, idx base, idx end, mr_keys_row *out) {
    const idx ranges[][2] = {{base, t + 1}, {base, end}, {0, s->meta->count}};
    for (int r = 0; r < 3 && out->fits == 0; r++) {
        const idx n = mr_key_solve(s, t, ranges[r][0], ranges[r][1], s->keys);
        if (n == 0 || !(mr_key_fit(s, t, s->keys, n) <= 1)) continue;
        out->kind = MR_SEEN_SOLVED;
        out->count = n;
        out->fits = 1;
        words(out->keys, sizeof out->keys, s->keys, n, base);
        for (idx skip = 0; skip < n; skip++) {
            idx m = 0;
            for (idx j = 0; j < n; j++)
                if (j != skip) s->other[m++] = s->keys[j];
            out->fits += mr_key_fit(s, t, s->other, m) <= 1;
        }
    }
}

static void look(mr_key_search *s, idx layer, idx t, idx base, idx length, mr_keys_seen *out) {
    idx from, to;
    mr_mask_range(s->c->window_rule, mr_config_window(s->c, layer), t - base, length, &from, &to);
    const idx n = fill(s->keys, base + from, base + to);
    mr_keys_row row = {.kind = MR_SEEN_UNKNOWN, .row = t};
    out->rows++;
    if (mr_key_fit(s, t, s->keys, n) <= 1) return;
    words(row.rule, sizeof row.rule, s->keys, n, base);
    try_runs(s, t, base, base + length, &row);
    if (row.fits == 0) try_solving(s, t, base, base + length, &row);
    out->row[out->count++] = row;
}

/* One sentence when all rows tell one story. */
static void summarise(const mr_config *c, idx layer, mr_keys_seen *out) {
    const idx window = mr_config_window(c, layer);
    idx told = 0;
    while (told < out->count && out->row[told].kind == MR_SEEN_UNKNOWN) told++;
    const mr_keys_row *r = &out->row[told];   /* the first whose keys are known */
    bool windows = out->count > 0;
    for (idx i = 0; i < out->count; i++)
        windows = windows && out->row[i].kind == MR_SEEN_RANGE && out->row[i].fits == 1 &&
                  out->row[i].last &&
                  out->row[i].count == out->row[0].count;
    if (windows && window > 0)
        snprintf(out->summary, sizeof out->summary,
                 "%td rows from %td on see the last %td keys instead of %td", out->count,
                 out->row[0].row, out->row[0].count, window);
    else if (told < out->count)
        snprintf(out->summary, sizeof out->summary,
                 "%td of %td rows do not see the keys of the mask; row %td sees %s instead of %s",
                 out->count, out->rows, r->row, r->keys, r->rule);
    else if (out->count > 0)
        snprintf(out->summary, sizeof out->summary,
                 "no set of keys gives the %td rows that are wrong: not a matter of the mask",
                 out->count);
}

/* Loads a tensor of shape [T,heads,D]; *file: what its element type added to the numbers. */
static bool load(mr_key_search *s, mr_trace *port, idx layer, const char *part, idx heads,
                 double *into, mr_recording *file, mr_err *err) {
    char name[64];
    snprintf(name, sizeof name, "layers.%td.%s", layer, part);
    const idx at = mr_trace_find(port, name);
    if (at < 0) return false;
    const mr_tensor *t = mr_trace_tensor(port, at);
    *file = mr_recording_of(part, t->dtype, s->a);
    return t->rank == 3 && t->dim[0] == s->meta->count && t->dim[1] == heads &&
           t->dim[2] == s->c->head_dim && mr_trace_read(port, at, into, err) == MR_OK;
}

/* The same as values with the errors of the recording. */
static bool load_bounded(mr_key_search *s, mr_trace *port, idx layer, const char *part, idx heads,
                         mr_bounded into, mr_err *err) {
    mr_recording file;
    if (!load(s, port, layer, part, heads, into.v, &file, err)) return false;
    for (idx i = 0; i < s->meta->count * heads * s->c->head_dim; i++)
        mr_take_recorded(into, i, into.v[i], &file);
    return true;
}

mr_status mr_keys_look(const mr_config *c, const mr_meta *meta, mr_trace *port,
                       const mr_arithmetic *a, idx layer, mr_keys_seen *out, mr_err *err) {
    const idx T = meta->count, H = c->n_heads, G = c->n_kv_heads, D = c->head_dim;
    const idx most = T < LONGEST ? T : LONGEST;
    const idx total = T * H * D + 3 * T * (H + 2 * G) * D + 3 * (T + D) + 2 * most * most;
    mr_err inner = {0};
    mr_key_search s = {.c = c, .meta = meta, .a = a, .err = &inner};
    double *pool = mr_alloc(total, (idx)sizeof *pool, &inner), *at = pool;
    *out = (mr_keys_seen){.layer = layer};
    out->row = mr_alloc(T, (idx)sizeof *out->row, &inner);
    s.keys = mr_alloc(2 * T, (idx)sizeof *s.keys, &inner);
    mr_status status = MR_OK;
    if (inner.code == MR_OK) {
        mr_bounded *const parts[] = {&s.q, &s.k, &s.v, &s.scores, &s.o};
        const idx sizes[] = {T * H * D, T * G * D, T * G * D, T, D};
        for (int i = 0; i < 5; at += 3 * sizes[i++])
            *parts[i] = (mr_bounded){at, at + sizes[i], at + 2 * sizes[i]};
        s.found = at;
        s.matrix = at + T * H * D;
        s.other = s.keys + T;
        if (!load_bounded(&s, port, layer, "q_rope", H, s.q, &inner) ||
            !load_bounded(&s, port, layer, "k_rope", G, s.k, &inner) ||
            !load_bounded(&s, port, layer, "v", G, s.v, &inner) ||
            !load(&s, port, layer, "attention", H, s.found, &s.file, &inner)) status = MR_MISSING;
        for (idx b = 0, base = 0; b < meta->n_seqs && status == MR_OK; base += meta->length[b++])
            for (idx t = base; t < base + meta->length[b]; t++)
                look(&s, layer, t, base, meta->length[b], out);
        summarise(c, layer, out);
    }
    mr_free(s.keys);
    mr_free(pool);
    if (inner.code != MR_OK) return mr_fail(err, inner.code, "%s", inner.text);
    return status;
}

void mr_keys_free(mr_keys_seen *seen) {
    mr_free(seen->row);
    *seen = (mr_keys_seen){0};
}
