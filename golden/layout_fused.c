/* Tensors that a port keeps in one: q, k and v, gate and up, the rows of all experts. */
#include <stdio.h>
#include <string.h>

#include "golden/layout_state.h"

/* A channel block: `groups` heads or pairs of heads that lie `apart` channels from each other. */
typedef struct {
    idx offset, group, in_group;   /* strides of kv groups and of the heads in one */
} block;

static void try_block(mr_layout_search *s, idx width, block b, idx heads_in_group, bool turned,
                      const char *words) {
    const mr_tensor *t = s->want_shape;
    const idx D = t->dim[2], groups = t->dim[1] / heads_in_group;
    mr_view v = {.source = s->whole.source, .offset = b.offset, .scale = 1, .rank = 3};
    const mr_view_factor all[] = {{t->dim[0], width, NULL},
                                  {groups, b.group, NULL},
                                  {heads_in_group, b.in_group, NULL},
                                  {turned ? D / 2 : D, turned && s->half ? 2 : 1, NULL},
                                  {2, D / 2, NULL}};
    char text[MR_LAYOUT_WORDS];
    for (int i = 0; i < (turned ? 5 : 4); i++)
        if (all[i].size != 1) v.factor[v.n++] = all[i];
    if (turned && s->half) {   /* ours: halves, then pairs; the source: pairs, then halves */
        v.factor[v.n - 1] = (mr_view_factor){D / 2, 2, NULL};
        v.factor[v.n - 2] = (mr_view_factor){2, 1, NULL};
    }
    memcpy(v.dim, t->dim, sizeof v.dim);
    snprintf(text, sizeof text, "%s%s", words,
             !turned ? "" : s->half ? ", interleaved rotary order" : ", half-split rotary order");
    mr_layout_consider(s, &v, text, false);
}

/* Blocks of whole heads one after the other, or per kv head its queries, its key, its value. */
static void try_qkv(mr_layout_search *s, idx width, bool turned) {
    const mr_mapping_sizes *z = &s->map->sizes;
    const idx N = s->want_shape->dim[1], D = s->want_shape->dim[2], G = z->G > 0 ? z->G : N;
    const idx m = z->H / G;
    const bool queries = strncmp(s->part, "q", 1) == 0, values = strcmp(s->part, "v") == 0;
    char text[MR_LAYOUT_WORDS];
    for (idx from = 0; from + N * D <= width; from += D) {
        if (width == N * D) snprintf(text, sizeof text, "is what the port calls otherwise");
        else snprintf(text, sizeof text, "is channels %td to %td of a fused tensor", from,
                      from + N * D - 1);
        try_block(s, width, (block){from, D, D}, 1, turned, text);
    }
    const idx heads = queries ? m : 1;   /* of a group */
    snprintf(text, sizeof text, "is part of a fused tensor that goes kv head by kv head");
    if (N == heads * G && width == (m + 2) * G * D)
        try_block(s, width, (block){queries ? 0 : (m + values) * D, (m + 2) * D, D}, heads, turned,
                  text);
    if (N == G && width == 2 * G * D && !queries)
        try_block(s, width, (block){values * D, 2 * D, D}, 1, turned, text);
}

static void try_gate_up(mr_layout_search *s, idx width) {
    const mr_tensor *t = s->want_shape;
    const idx F = t->dim[1];
    for (int form = 0; form < (width == F ? 1 : 4); form++) {
        static const char *const words[] = {"is the first half of a fused tensor",
                                            "is the second half of a fused tensor",
                                            "is the even channels of a fused tensor",
                                            "is the odd channels of a fused tensor"};
        const idx offset = form == 1 ? F : form == 3 ? 1 : 0, step = form < 2 ? 1 : 2;
        mr_view v = {.source = s->whole.source, .offset = offset, .scale = 1, .rank = 2};
        memcpy(v.dim, t->dim, sizeof v.dim);
        if (t->dim[0] != 1) v.factor[v.n++] = (mr_view_factor){t->dim[0], width, NULL};
        if (F != 1) v.factor[v.n++] = (mr_view_factor){F, step, NULL};
        mr_layout_consider(s, &v, width == F ? "is what the port calls otherwise" : words[form],
                           false);
    }
}

void mr_layout_fused(mr_layout_search *s) {
    const mr_tensor *t = s->want_shape;
    const idx all = mr_view_count(&s->whole), rows = t->dim[0];
    if (rows != s->map->sizes.T || all % rows != 0 || t->rank < 2) return;
    const idx width = all / rows;
    const bool turns = t->rank == 3 && t->dim[2] % 2 == 0 && t->dim[2] > 2 &&
                       strcmp(s->part, "v") != 0 && strcmp(s->part, "attention") != 0;
    if (t->rank == 3 && strcmp(s->part, "scores") != 0 && strcmp(s->part, "probs") != 0) {
        try_qkv(s, width, false);
        if (turns) try_qkv(s, width, true);
    } else if (t->rank == 2 && (width == t->dim[1] || width == 2 * t->dim[1]))
        try_gate_up(s, width);
}

/* ---- experts --------------------------------------------------------------------------------- */

typedef struct {
    idx     e, n, before;     /* the expert, its rows, rows of experts before it */
    double *choice;           /* [T,K] of the port, or of the golden trace */
} share;

static bool load_choice(mr_layout_search *s, share *x) {
    char name[MR_NAME_LIMIT];
    const mr_mapping_sizes *z = &s->map->sizes;
    snprintf(name, sizeof name, "layers.%td.router_experts", s->layer);
    const idx own = mr_mapping_find(s->map, name), ours = mr_trace_find(s->golden, name);
    const idx n = z->T * z->K;
    x->choice = n > 0 ? mr_alloc(n, (idx)sizeof *x->choice, s->err) : NULL;
    if (x->choice == NULL) return false;
    if (own >= 0 && mr_view_count(&s->map->entry[own].view) == n) {
        const mr_view *view = &s->map->entry[own].view;
        if (mr_mapping_read(s->map, view, x->choice, s->err) != MR_OK) return false;
    } else if (ours < 0 || mr_trace_read(s->golden, ours, x->choice, s->err) != MR_OK) return false;
    for (idx i = 0; i < n; i++) {
        x->n += (idx)x->choice[i] == x->e;
        x->before += (idx)x->choice[i] < x->e;
    }
    return x->n == s->want_shape->dim[0];
}

enum { FIRST_ROWS, TOKEN_ROWS, CAPACITY, SORTED, BY_TOKEN, BY_SLOT, DENSE, ROW_FORMS };

/* The source row of the expert's i-th row, which is copy `copy` = token K + slot. */
static idx row_of(int form, const mr_mapping_sizes *z, const share *x, idx i, idx copy,
                  idx capacity) {
    switch (form) {
    case FIRST_ROWS: return i;
    case TOKEN_ROWS: return copy / z->K;
    case CAPACITY:   return x->e * capacity + i;
    case SORTED:     return x->before + i;
    case BY_TOKEN:   return copy;
    case BY_SLOT:    return copy % z->K * z->T + copy / z->K;
    default:         return x->e * z->T + copy / z->K;
    }
}

static void try_rows_of(mr_layout_search *s, const share *x, int form, idx rows) {
    static const char *const words[] = {
        "is the first rows of a tensor padded to the expert's capacity",
        "is the rows of its own tokens in a tensor of all tokens",
        "is in a tensor of all experts, each padded to its capacity",
        "is in a tensor of all rows, sorted by expert",
        "is in a tensor of all rows, token by token",
        "is in a tensor of all rows, choice by choice",
        "is in a tensor of all experts and all tokens"};
    const mr_mapping_sizes *z = &s->map->sizes;
    const idx d = s->want_shape->dim[1], capacity = z->E > 0 ? rows / z->E : 0;
    const idx need[] = {x->n, z->T, z->E * capacity, z->T * z->K, z->T * z->K, z->T * z->K,
                        z->E * z->T};
    if ((form == FIRST_ROWS ? rows < need[form] : rows != need[form]) ||
        (form == CAPACITY && capacity < x->n)) return;
    idx *pick = mr_mapping_block(s->map, s->count, s->err);
    for (idx copy = 0, i = 0; pick != NULL && copy < z->T * z->K; copy++) {
        if ((idx)x->choice[copy] != x->e) continue;
        for (idx c = 0; c < d; c++)
            pick[i * d + c] = row_of(form, z, x, i, copy, capacity) * d + c;
        i++;
    }
    mr_view v = {.source = s->whole.source, .scale = 1, .rank = 2, .pick = pick};
    memcpy(v.dim, s->want_shape->dim, sizeof v.dim);
    if (pick != NULL) mr_layout_consider(s, &v, words[form], false);
}

void mr_layout_experts(mr_layout_search *s) {
    share x = {0};
    const mr_tensor *t = s->want_shape;
    const idx all = mr_view_count(&s->whole);
    const bool own = strcmp(s->source_shape->name, t->name) == 0;
    if (strncmp(s->part, "experts.", 8) != 0 || t->rank != 2 || all % t->dim[1] != 0) return;
    for (const char *c = s->part + 8; *c >= '0' && *c <= '9' && x.e < 10000; c++)
        x.e = 10 * x.e + (*c - '0');
    if (load_choice(s, &x))
        for (int form = own ? FIRST_ROWS : CAPACITY; form < (own ? CAPACITY : ROW_FORMS); form++)
            try_rows_of(s, &x, form, all / t->dim[1]);
    mr_free(x.choice);
}
