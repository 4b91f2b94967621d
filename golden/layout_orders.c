/* Orders in which a port may hold one tensor: axes, heads, rotary halves, batches with padding. */
#include "golden/layout_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A tensor's axes as letters, in the source's order; sizes by letter.
 *   b t  sequences and columns of a padded batch     n  heads (g kv heads of m each)
 *   r  channels of a head (c halves of p pairs)      x  channels of a row    h s  heads, keys */
typedef struct {
    idx         size[128];
    const char *batch;         /* words of the batch form, "" for rows one after the other */
    bool        grid, left;
    idx         columns;       /* of the grid */
} letters;

static idx *rows_of_grid(mr_layout_search *s, const letters *l, idx b_stride, idx t_stride) {
    const mr_mapping_sizes *z = &s->map->sizes;
    idx *at = mr_mapping_block(s->map, z->T, s->err), row = 0;
    for (idx b = 0; at != NULL && b < z->n_seqs; b++)
        for (idx a = 0; a < z->length[b]; a++) {
            const idx pad = l->left ? l->columns - z->length[b] : 0;
            at[row++] = b * b_stride + (pad + a) * t_stride;
        }
    return at;
}

/* The view of `target`'s letters in a source whose axes are `source`. */
static void try_order(mr_layout_search *s, const letters *l, const char *source,
                      const char *target, const char *words, bool fault) {
    idx stride[128] = {0}, total = 1;
    for (size_t i = strlen(source); i-- > 0; ) {
        stride[(int)source[i]] = total;
        total *= l->size[(int)source[i]];
    }
    if (total != mr_view_count(&s->whole)) return;
    mr_view v = {.source = s->whole.source, .scale = 1, .rank = s->want_shape->rank};
    memcpy(v.dim, s->want_shape->dim, sizeof v.dim);
    for (const char *c = target; *c != '\0'; c++) {
        mr_view_factor f = {l->size[(int)*c], stride[(int)*c], NULL};
        if (*c == 't' && l->grid) {
            idx *at = rows_of_grid(s, l, stride['b'], stride['t']);
            if (at == NULL) return;
            f = (mr_view_factor){s->want_shape->dim[0], 0, at};
            if (f.size == 1) {
                v.offset += at[0];
                continue;
            }
        }
        if (f.size != 1) v.factor[v.n++] = f;
    }
    char all[MR_LAYOUT_WORDS];
    snprintf(all, sizeof all, "%s%s%s", words, words[0] != '\0' && l->batch[0] != '\0' ? ", " : "",
             l->batch);
    mr_layout_consider(s, &v, all, fault);
}

/* ---- heads: [T,n,r] -------------------------------------------------------------------------- */

static const struct {
    const char *order, *words;   /* T tokens, N heads, R channels */
} head_orders[] = {
    {"TNR", ""},
    {"NTR", "heads before tokens"},
    {"TRN", "head_dim before heads"},
    {"NRT", "heads, head_dim, then tokens"},
    {"RNT", "head_dim, heads, then tokens"},
    {"RTN", "head_dim, tokens, then heads"},
};

/* T, N, R become the letters of this try; a batch goes before its tokens, before everything, or
 * after its tokens. */
static void expand(char *out, const char *order, const char *t, const char *n, const char *r,
                   int batch) {
    if (batch == 2) *out++ = 'b';
    for (; *order != '\0'; order++)
        for (const char *c = *order == 'T' ? t : *order == 'N' ? n : r; *c != '\0'; c++)
            *out++ = *c;
    *out = '\0';
}

/* Do all heads differ? Where two are equal, as in a run of one token, their order means nothing. */
static bool heads_differ(const mr_layout_search *s, idx heads, idx before, idx after) {
    for (idx a = 0; a < heads; a++)
        for (idx b = 0; b < a; b++) {
            double error = 0, norm = 0;
            for (idx i = 0; i < before; i++)
                for (idx k = 0; k < after; k++) {
                    const double x = s->want[(i * heads + a) * after + k],
                                 y = s->want[(i * heads + b) * after + k];
                    if (!isfinite(x) || !isfinite(y)) continue;
                    error += (x - y) * (x - y);
                    norm += x * x;
                }
            if (!(error > 1e-4 * norm)) return false;
        }
    return true;
}

static void try_heads(mr_layout_search *s, letters *l, bool rotary, bool grouped) {
    static const char *const times[] = {"bt", "tb", "t"};
    const char *halves = s->half ? "pc" : "cp", *pairs = s->half ? "cp" : "pc";
    for (size_t o = 0; o < sizeof head_orders / sizeof *head_orders; o++)
        for (int batch = 0; batch < (l->grid ? 3 : 1); batch++)
            for (int apart = 0; apart <= (grouped ? 1 : 0); apart++)
                for (int turned = 0; turned <= (rotary ? 1 : 0); turned++) {
                    char from[16], to[16], words[MR_LAYOUT_WORDS];
                    expand(from, head_orders[o].order, l->grid ? times[batch] : "t",
                           apart ? "mg" : "n", turned ? halves : "r", l->grid ? batch : 0);
                    expand(to, "TNR", "t", apart ? "gm" : "n", turned ? pairs : "r", 0);
                    snprintf(words, sizeof words, "%s%s%s%s%s", head_orders[o].words,
                             head_orders[o].words[0] != '\0' && (apart || turned) ? ", " : "",
                             apart ? "the query heads of one kv head far apart (head h mod G)" : "",
                             apart && turned ? ", " : "",
                             !turned   ? ""
                             : s->half ? "interleaved rotary order"
                                       : "half-split rotary order");
                    try_order(s, l, from, to, words, false);
                }
}

/* k whose rows were permuted as if there were H key heads: out[h,p,c] = in[h,c,p] of H heads of
 * G D/H channels, where G heads of D were meant. A fault of loading, with either direction. */
static void try_permuted_k(mr_layout_search *s) {
    const idx G = s->map->sizes.G, H = s->map->sizes.H, D = s->map->sizes.D, width = G * D;
    if (H == G || H == 0 || width % (2 * H) != 0 || s->count % width != 0 || D % 2 != 0) return;
    const idx own = width / H;
    idx *pick = mr_mapping_block(s->map, s->count, s->err);
    for (idx i = 0; pick != NULL && i < s->count; i++) {
        const idx at = i % width, r = at % D;
        /* ours at [g,r] is row `file` of the matrix as stored; the port put that row elsewhere */
        const idx file = s->half ? at - r + r % (D / 2) * 2 + r / (D / 2)
                                 : at - r + r % 2 * (D / 2) + r / 2;
        const idx f = file % own;
        pick[i] = i - at + file - f + (s->half ? f % 2 * (own / 2) + f / 2
                                               : f % (own / 2) * 2 + f / (own / 2));
    }
    mr_view v = {.source = s->whole.source, .scale = 1, .rank = s->want_shape->rank, .pick = pick};
    memcpy(v.dim, s->want_shape->dim, sizeof v.dim);
    if (pick != NULL && mr_view_count(&s->whole) == s->count)
        mr_layout_consider(s, &v, "its rows are permuted as if there were as many key heads as "
                           "query heads", true);
}

/* ---- rows, tables ---------------------------------------------------------------------------- */

static void try_rows(mr_layout_search *s, letters *l) {
    if (!l->grid) {
        try_order(s, l, "tx", "tx", "", false);
        try_order(s, l, "xt", "tx", "transposed", false);
        return;
    }
    try_order(s, l, "btx", "tx", "", false);
    try_order(s, l, "tbx", "tx", "time before batch", false);
    try_order(s, l, "bxt", "tx", "each sequence transposed", false);
}

static const struct {
    const char *order, *words;
} table_orders[] = {
    {"hts", ""},
    {"ths", "tokens before heads"},
    {"hst", "keys before tokens"},
    {"tsh", "tokens, keys, then heads"},
    {"sth", "keys, tokens, then heads"},
    {"sht", "keys, heads, then tokens"},
};

static void try_tables(mr_layout_search *s, letters *l, bool grouped) {
    for (size_t o = 0; o < sizeof table_orders / sizeof *table_orders; o++)
        for (int apart = 0; apart <= (grouped ? 1 : 0); apart++) {
            char from[8], words[MR_LAYOUT_WORDS];
            const char *order = table_orders[o].order, *h = strchr(order, 'h');
            snprintf(from, sizeof from, "%.*s%s%s", (int)(h - order), order, apart ? "mg" : "h",
                     h + 1);
            snprintf(words, sizeof words, "%s%s%s", table_orders[o].words,
                     apart && table_orders[o].words[0] != '\0' ? ", " : "",
                     apart ? "the query heads of one kv head far apart (head h mod G)" : "");
            try_order(s, l, from, apart ? "gmts" : "hts", words, false);
        }
}

/* A square per sequence, of which ours holds the rest as masked. b sequences, h heads, t columns,
 * s keys. */
static const struct {
    const char *order, *words;
} square_orders[] = {
    {"bhts", ""},
    {"hbts", "heads before sequences, "},
    {"bths", "tokens before heads, "},
    {"tbhs", "tokens, sequences, then heads, "},
};

/* Element (h, i, j) of our table is where in the source? -1: masked. NULL: the shape is another. */
static idx *squares(mr_layout_search *s, const char *order, bool left) {
    const mr_mapping_sizes *z = &s->map->sizes;
    const idx H = s->want_shape->dim[0], T = s->want_shape->dim[1], S = s->want_shape->dim[2];
    idx size[128] = {0}, stride[128] = {0}, longest = 0, first = 0,
        total = 1;
    for (int i = 3; i >= 0; i--) {
        size[(int)order[i]] = s->source_shape->dim[i];
        stride[(int)order[i]] = total;
        total *= s->source_shape->dim[i];
    }
    for (idx b = 0; b < z->n_seqs; b++) longest = z->length[b] > longest ? z->length[b] : longest;
    if (size['b'] != z->n_seqs || size['h'] != H || size['t'] < longest || size['s'] < longest)
        return NULL;
    idx *pick = mr_mapping_block(s->map, s->count, s->err);
    for (idx i = 0; pick != NULL && i < s->count; i++) pick[i] = -1;
    for (idx b = 0; pick != NULL && b < z->n_seqs; first += z->length[b++]) {
        const idx n = z->length[b], row = left ? size['t'] - n : 0, key = left ? size['s'] - n : 0;
        for (idx h = 0; h < H; h++)
            for (idx i = 0; i < n; i++)
                for (idx j = 0; j < n; j++)
                    pick[(h * T + first + i) * S + first + j] =
                        b * stride['b'] + h * stride['h'] + (row + i) * stride['t'] +
                        (key + j) * stride['s'];
    }
    return pick;
}

static void try_squares(mr_layout_search *s, bool left) {
    const mr_mapping_sizes *z = &s->map->sizes;
    const idx T = s->want_shape->dim[1];
    if (s->source_shape->rank != 4 || T != s->want_shape->dim[2] || T != z->T) return;
    /* one sequence without padding is a table as any other */
    const int orders = z->n_seqs == 1 && mr_view_count(&s->whole) == s->count ? 1 : 4;
    for (int o = 0; o < orders; o++) {
        idx *pick = squares(s, square_orders[o].order, left);
        if (pick == NULL) continue;
        mr_view v = {.source = s->whole.source, .scale = 1, .rank = 3, .pick = pick,
                     .fill = strcmp(s->part, "probs") == 0 ? 0 : -(double)INFINITY};
        char words[MR_LAYOUT_WORDS];
        memcpy(v.dim, s->want_shape->dim, sizeof v.dim);
        snprintf(words, sizeof words, "%sa batch padded on the %s", square_orders[o].words,
                 left ? "left" : "right");
        mr_layout_consider(s, &v, words, false);
    }
}

/* ---- all ------------------------------------------------------------------------------------- */

static void try_shapes(mr_layout_search *s, letters *l) {
    const mr_mapping_sizes *z = &s->map->sizes;
    const mr_tensor *t = s->want_shape;
    const char *part = s->part;
    const bool k = strcmp(part, "k") == 0 || strcmp(part, "k_rope") == 0 ||
                   strcmp(part, "cache_k") == 0,
               q = strcmp(part, "q") == 0 || strcmp(part, "q_rope") == 0;
    const bool table = strcmp(part, "scores") == 0 || strcmp(part, "probs") == 0;
    l->size['m'] = z->G > 0 && z->H % z->G == 0 ? z->H / z->G : 1;
    l->size['g'] = z->G;
    const bool grouped = l->size['m'] > 1 && z->G > 1;
    if (t->rank == 2) {
        l->size['x'] = t->dim[1];
        try_rows(s, l);
    } else if (t->rank == 3 && !table) {
        l->size['n'] = t->dim[1], l->size['r'] = t->dim[2];
        l->size['c'] = 2, l->size['p'] = t->dim[2] / 2;
        try_heads(s, l, (q || k) && t->dim[2] % 2 == 0, t->dim[1] == z->H && grouped &&
                      heads_differ(s, z->H, t->dim[0], t->dim[2]));
    } else if (t->rank == 3 && !l->grid) {
        l->size['h'] = t->dim[0], l->size['t'] = t->dim[1], l->size['s'] = t->dim[2];
        try_tables(s, l, grouped && heads_differ(s, z->H, 1, t->dim[1] * t->dim[2]));
    }
}

void mr_layout_orders(mr_layout_search *s) {
    const mr_mapping_sizes *z = &s->map->sizes;
    const idx rows = s->want_shape->dim[0], rest = s->count / rows,
              all = mr_view_count(&s->whole);
    idx longest = 0;
    for (idx b = 0; b < z->n_seqs; b++) longest = z->length[b] > longest ? z->length[b] : longest;
    letters l = {.batch = "", .columns = rows};
    l.size['t'] = rows;
    if (s->want_shape->rank < 2) return;
    if (all == s->count) try_shapes(s, &l);
    if (strcmp(s->part, "k") == 0) try_permuted_k(s);
    if (strcmp(s->part, "scores") == 0 || strcmp(s->part, "probs") == 0) {
        try_squares(s, false);
        try_squares(s, true);
        return;
    }
    if (rows != z->T || z->n_seqs == 0 || all % (z->n_seqs * rest) != 0) return;
    l.columns = l.size['t'] = all / (z->n_seqs * rest);
    l.size['b'] = z->n_seqs;
    if (l.columns < longest || (z->n_seqs == 1 && l.columns == rows)) return;
    l.grid = true;
    for (int left = 0; left < 2; left++) {
        l.left = left == 1;
        l.batch = left ? "a batch padded on the left" : "a batch padded on the right";
        try_shapes(s, &l);
    }
}
