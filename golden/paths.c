/* The paths of a port against each other, row by row. */
#include "golden/paths.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- one path -------------------------------------------------------------------------------- */

static idx begin(void *user, const char *name, int rank, const idx *dim) {
    mr_path *p = user;
    const idx n = mr_count(rank, dim);
    if (p->count == p->room) {
        struct mr_path_tensor *grown = mr_resize(p->tensor, 2 * p->room + 64,
                                                 (idx)sizeof *grown, NULL);
        if (grown == NULL) return -1;
        p->tensor = grown;
        p->room = 2 * p->room + 64;
    }
    struct mr_path_tensor *t = &p->tensor[p->count];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rank = rank;
    memcpy(t->dim, dim, (size_t)rank * sizeof *dim);
    t->introduced = mr_alloc(2 * n, (idx)sizeof *t->introduced, NULL);
    if (t->introduced == NULL) return -1;
    t->bound = t->introduced + n;
    return p->count++;
}

static void piece(void *user, idx slot, idx offset, idx n, mr_bounded expected,
                  const double *found) {
    const mr_path *p = user;
    for (idx i = 0; slot >= 0 && i < n; i++) {
        const double e = found[i] == expected.v[i] ? 0 : found[i] - expected.v[i];
        p->tensor[slot].introduced[offset + i] = e;
        p->tensor[slot].bound[offset + i] = expected.e[i] < 1e100 ? expected.e[i]
                                                                  : (double)INFINITY;
    }
}

static void forbidden(void *user, idx slot, idx offset) { (void)user, (void)slot, (void)offset; }

static void choice(void *user, idx slot, idx token, const int32_t *port, const int32_t *expected,
                   double margin, bool explained) {
    (void)user, (void)slot, (void)token, (void)port, (void)expected, (void)margin, (void)explained;
}

mr_status mr_path_open(const mr_model *model, const mr_arithmetic *a, const char *name,
                       mr_trace *trace, mr_path *out, mr_err *err) {
    mr_err inner = {0};
    const mr_watch watch = {out, begin, piece, forbidden, choice};
    *out = (mr_path){.name = name, .trace = trace};
    if (mr_meta_read(name, mr_trace_meta(trace), &out->meta, err) != MR_OK) return MR_BAD;
    mr_model own = *model;
    own.config.rope_layout = out->meta.rope_layout;
    own.config.rope_angles = out->meta.rope_angles;
    out->status = mr_verify_watched(&own, &out->meta, trace, a, NULL, &watch, &out->found, &inner);
    return inner.code != MR_OK ? mr_fail(err, inner.code, "%s: %s", name, inner.text) : MR_OK;
}

void mr_path_close(mr_path *p) {
    for (idx i = 0; i < p->count; i++) mr_free(p->tensor[i].introduced);
    mr_free(p->tensor);
    mr_verification_free(&p->found);
    mr_meta_free(&p->meta);
    *p = (mr_path){0};
}

/* ---- rows ------------------------------------------------------------------------------------ */

void mr_path_rows(const mr_meta *a, const mr_meta *b, idx *row_of) {
    for (idx s = 0, row = 0; s < b->n_seqs; row += b->length[s++]) {
        idx best = 0, from = -1;
        for (idx u = 0, at = 0; u < a->n_seqs; at += a->length[u++]) {
            idx n = 0;
            while (n < a->length[u] && n < b->length[s] && a->first[u] == b->first[s] &&
                   a->tokens[at + n] == b->tokens[row + n]) n++;
            if (n > best) best = n, from = at;
        }
        for (idx i = 0; i < b->length[s]; i++) row_of[row + i] = i < best ? from + i : -1;
    }
}

static const struct mr_path_tensor *tensor_of(const mr_path *p, const char *name) {
    for (idx i = 0; i < p->count; i++)
        if (strcmp(p->tensor[i].name, name) == 0) return &p->tensor[i];
    return NULL;
}

/* Tokens of the rows of an expert's tensor, from the choices of the same trace. */
static idx expert_rows(const mr_path *p, const char *name, idx *token, double *room) {
    int layer = 0, expert = 0;
    char other[96];
    mr_err ignored = {0};
    if (sscanf(name, "layers.%9d.experts.%9d.", &layer, &expert) != 2) return -1;
    snprintf(other, sizeof other, "layers.%d.router_experts", layer);
    const idx at = mr_trace_find(p->trace, other);
    if (at < 0 || mr_trace_read(p->trace, at, room, &ignored) != MR_OK) return -1;
    const mr_tensor *t = mr_trace_tensor(p->trace, at);
    const idx K = t->dim[t->rank - 1], n = mr_count(t->rank, t->dim);
    idx rows = 0;
    for (idx i = 0; i < n; i++)
        if ((int)room[i] == expert) token[rows++] = i / K;
    return rows;
}

/* What two paths have in one tensor, and where its rows and columns are. */
typedef struct {
    const mr_path *a, *b;
    const struct mr_path_tensor *ta, *tb;
    double    *va, *vb;
    const idx *row_of;       /* [rows of b's run] */
    bool       table, expert;
    idx       *token_a, *token_b, count_a, count_b;
    mr_path_step *out;
} pair;

typedef struct {
    double difference, norm, ratio;
    bool   equal, beyond, known, guilty[2];
} sums;

static void add(const pair *p, idx i, idx j, sums *s) {
    const double x = p->va[i], y = p->vb[j], room = p->ta->bound[i] + p->tb->bound[j];
    if (x == y || (isnan(x) && isnan(y))) return;
    s->equal = false;
    if (isfinite(x)) s->norm += x * x;
    s->difference += isfinite(x - y) ? (x - y) * (x - y) : (double)INFINITY;
    const double apart = fabs(p->ta->introduced[i] - p->tb->introduced[j]);
    if (!(room < 1e100)) return;
    s->known = true;
    const double ratio = apart == 0 ? 0 : apart / room;
    if (!(ratio <= s->ratio)) s->ratio = ratio;
    if (ratio <= 1) return;
    s->beyond = true;
    s->guilty[0] = s->guilty[0] || !(fabs(p->ta->introduced[i]) <= p->ta->bound[i]);
    s->guilty[1] = s->guilty[1] || !(fabs(p->tb->introduced[j]) <= p->tb->bound[j]);
}

/* First column of the sequence that row t belongs to; *end is one past its last. */
static idx columns_of(const mr_meta *m, idx t, idx *end) {
    idx base = 0, b = 0;
    while (t >= base + m->length[b]) base += m->length[b++];
    *end = base + m->length[b];
    return base;
}

/* Row r of b (a token) against its row in a: all elements, or the columns of its sequence in every
 * head. */
static void add_row(const pair *p, idx ra, idx rb, sums *s) {
    const idx *da = p->ta->dim, *db = p->tb->dim;
    if (!p->table) {
        const idx width = mr_count(p->ta->rank - 1, da + 1);
        for (idx i = 0; i < width; i++) add(p, ra * width + i, rb * width + i, s);
        return;
    }
    idx end;
    const idx base = columns_of(&p->b->meta, rb, &end);
    for (idx h = 0; h < db[0]; h++)
        for (idx j = base; j < end; j++)
            if (p->row_of[j] >= 0)
                add(p, (h * da[1] + ra) * da[2] + p->row_of[j], (h * db[1] + rb) * db[2] + j, s);
}

static void note_row(const pair *p, idx token, const sums *s) {
    mr_path_step *o = p->out;
    const mr_meta *m = &p->b->meta;
    const double relative = s->equal ? 0 : s->norm > 0 ? sqrt(s->difference / s->norm)
                                                       : (double)INFINITY;
    const bool first = (s->beyond && o->beyond == 0) || (o->row < 0 && !s->equal);
    o->rows++;
    o->equal += s->equal;
    if (relative > o->relative) o->relative = relative;
    if (s->known && !(s->ratio <= o->ratio)) o->ratio = s->ratio;
    if (first) {
        o->row = token;
        o->guilty[0] = s->guilty[0], o->guilty[1] = s->guilty[1];
        idx at = token;
        for (o->sequence = 0; at >= m->length[o->sequence]; ) at -= m->length[o->sequence++];
        o->position = m->first[o->sequence] + at;
    }
    o->beyond += s->beyond;
}

static void compare_rows(const pair *p) {
    const idx rows = p->expert ? p->count_b : p->tb->dim[p->table ? 1 : 0];
    for (idx r = 0, k = 0; r < rows; r++) {
        const idx token = p->expert ? p->token_b[r] : r;
        idx ra = p->row_of[token];
        if (ra < 0) continue;
        if (p->expert) {   /* both lists rise */
            while (k < p->count_a && p->token_a[k] < ra) k++;
            if (k == p->count_a || p->token_a[k] != ra) continue;
            ra = k;
        }
        sums s = {.equal = true};
        add_row(p, ra, r, &s);
        note_row(p, token, &s);
    }
    if (p->out->ratio < 0 && p->out->equal == p->out->rows) p->out->ratio = 0;
}

static bool same_width(const pair *p) {
    bool same = p->ta->rank == p->tb->rank;
    if (p->table) return same && p->ta->dim[0] == p->tb->dim[0];
    for (int i = 1; same && i < p->ta->rank; i++) same = p->ta->dim[i] == p->tb->dim[i];
    return same;
}

/* Is a path's tensor one with a row per token? Logits of the last token only are not. */
static bool has_all_rows(const mr_path *p, const struct mr_path_tensor *t, bool table) {
    return t->dim[table ? 1 : 0] == p->meta.count && (!table || t->dim[2] == p->meta.count);
}

/* ---- two paths ------------------------------------------------------------------------------- */

static mr_status read_both(pair *p, mr_err *err) {
    const idx na = mr_count(p->ta->rank, p->ta->dim), nb = mr_count(p->tb->rank, p->tb->dim);
    p->va = mr_alloc(na + nb, (idx)sizeof *p->va, err);
    if (p->va == NULL) return MR_BAD;
    p->vb = p->va + na;
    return mr_trace_read(p->a->trace, mr_trace_find(p->a->trace, p->ta->name), p->va, err) ||
                   mr_trace_read(p->b->trace, mr_trace_find(p->b->trace, p->tb->name), p->vb, err)
               ? MR_BAD
               : MR_OK;
}

static mr_status compare_tensor(pair *p, double *room, mr_path_pair *out, mr_err *err) {
    const char *dot = strrchr(p->tb->name, '.');
    p->table = dot != NULL && (strcmp(dot, ".scores") == 0 || strcmp(dot, ".probs") == 0);
    p->expert = strstr(p->tb->name, ".experts.") != NULL;
    if (!same_width(p)) return MR_OK;
    if (p->expert) {
        p->count_a = expert_rows(p->a, p->ta->name, p->token_a, room);
        p->count_b = expert_rows(p->b, p->tb->name, p->token_b, room);
        if (p->count_a != p->ta->dim[0] || p->count_b != p->tb->dim[0]) return MR_OK;
    } else if (!has_all_rows(p->a, p->ta, p->table) || !has_all_rows(p->b, p->tb, p->table))
        return MR_OK;
    if (out->count == out->room) {
        mr_path_step *grown = mr_resize(out->step, 2 * out->room + 64, (idx)sizeof *grown, err);
        if (grown == NULL) return MR_BAD;
        out->step = grown;
        out->room = 2 * out->room + 64;
    }
    p->out = &out->step[out->count];
    *p->out = (mr_path_step){.ratio = -1, .row = -1, .sequence = -1, .position = -1};
    snprintf(p->out->name, sizeof p->out->name, "%s", p->tb->name);
    const mr_status status = read_both(p, err);
    if (status == MR_OK) compare_rows(p);
    mr_free(p->va);
    if (status != MR_OK || p->out->rows == 0) return status;
    out->judged += p->out->ratio >= 0;
    out->equal += p->out->equal == p->out->rows;
    if (p->out->beyond > 0 && out->parted < 0) out->parted = out->count;
    out->count++;
    return MR_OK;
}

mr_status mr_paths_compare(const mr_path *a, const mr_path *b, mr_path_pair *out, mr_err *err) {
    const idx most = (a->meta.count > b->meta.count ? a->meta.count : b->meta.count);
    idx *row_of = mr_alloc(3 * most, (idx)sizeof *row_of, err);
    double *room = mr_alloc(most * 1024, (idx)sizeof *room, err);
    *out = (mr_path_pair){.parted = -1};
    mr_status status = row_of != NULL && room != NULL ? MR_OK : MR_BAD;
    if (status == MR_OK) {
        mr_path_rows(&a->meta, &b->meta, row_of);
        for (idx t = 0; t < b->meta.count; t++) out->rows += row_of[t] >= 0;
    }
    for (idx i = 0; i < b->count && status == MR_OK; i++) {
        pair p = {.a = a, .b = b, .tb = &b->tensor[i], .row_of = row_of};
        p.ta = tensor_of(a, p.tb->name);
        p.token_a = row_of + most, p.token_b = row_of + 2 * most;
        if (p.ta != NULL) status = compare_tensor(&p, room, out, err);
    }
    mr_free(row_of);
    mr_free(room);
    if (status == MR_OK && (out->rows == 0 || out->count == 0))
        return mr_fail(err, MR_MISSING, "%s and %s have no %s in common", a->name, b->name,
                       out->rows == 0 ? "tokens at the same positions" : "tensor with their rows");
    return status;
}

void mr_path_pair_free(mr_path_pair *out) {
    mr_free(out->step);
    *out = (mr_path_pair){0};
}
