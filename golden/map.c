/* A port's trace under our names. */
#include "golden/map.h"

#include <stdio.h>
#include <string.h>

#include "golden/replay_meta.h"

idx *mr_mapping_block(mr_mapping *map, idx count, mr_err *err) {
    idx **grown = mr_resize(map->block, map->blocks + 1, (idx)sizeof *grown, err);
    if (grown == NULL) return NULL;
    map->block = grown;
    grown[map->blocks] = mr_alloc(count, (idx)sizeof(idx), err);
    return grown[map->blocks] != NULL ? grown[map->blocks++] : NULL;
}

idx mr_mapping_find(const mr_mapping *map, const char *name) {
    for (idx i = 0; i < map->count; i++)
        if (strcmp(map->entry[i].name, name) == 0) return i;
    return -1;
}

mr_status mr_mapping_add(mr_mapping *map, const char *name, const mr_view *view, mr_err *err) {
    if (strlen(name) >= MR_NAME_LIMIT)
        return mr_fail(err, MR_BAD, "%.80s...: a name of a tensor has at most %d letters", name,
                       MR_NAME_LIMIT - 1);
    if (map->count == map->room) {
        const idx room = 2 * map->room + 64;
        mr_mapping_entry *grown = mr_resize(map->entry, room, (idx)sizeof *grown, err);
        if (grown == NULL) return MR_BAD;
        map->entry = grown;
        map->room = room;
    }
    mr_mapping_entry *e = &map->entry[map->count++];
    *e = (mr_mapping_entry){.view = *view, .known = mr_name_is_ours(name)};
    memcpy(e->name, name, strlen(name) + 1);
    return MR_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

mr_status mr_mapping_read(mr_mapping *map, const mr_view *view, double *out, mr_err *err) {
    const mr_tensor *t = mr_trace_tensor(map->port, view->source);
    if (mr_view_is_plain(view)) return mr_trace_read(map->port, view->source, out, err);
    if (map->buffered != view->source) {
        mr_free(map->buffer);
        map->buffered = -1;
        map->buffer = mr_alloc(mr_count(t->rank, t->dim), (idx)sizeof *map->buffer, err);
        if (map->buffer == NULL || mr_trace_read(map->port, view->source, map->buffer, err))
            return MR_BAD;
        map->buffered = view->source;
    }
    mr_view_read(view, map->buffer, out);
    return MR_OK;
}

static mr_status read_entry(void *user, idx i, double *out, mr_err *err) {
    mr_mapping *map = user;
    return mr_mapping_read(map, &map->entry[i].view, out, err);
}

mr_status mr_mapping_trace(mr_mapping *map, mr_trace **out, mr_err *err) {
    mr_trace_close(map->trace);
    mr_free(map->list);
    map->trace = NULL;
    map->list = mr_alloc(map->count, (idx)sizeof *map->list, err);
    if (map->list == NULL) return MR_BAD;
    for (idx i = 0; i < map->count; i++) {
        const mr_view *v = &map->entry[i].view;
        mr_tensor *t = &map->list[i];
        *t = *mr_trace_tensor(map->port, v->source);
        t->name = map->entry[i].name;
        t->rank = v->rank;
        memcpy(t->dim, v->dim, sizeof t->dim);
    }
    const mr_status status = mr_trace_made(map->list, map->count, mr_trace_meta(map->port),
                                           read_entry, map, &map->trace, err);
    *out = map->trace;
    return status;
}

void mr_mapping_close(mr_mapping *map) {
    mr_trace_close(map->trace);
    for (idx i = 0; i < map->blocks; i++) mr_free(map->block[i]);
    mr_free(map->block);
    mr_free(map->buffer);
    mr_free(map->list);
    mr_free(map->entry);
    *map = (mr_mapping){0};
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Which dimension of which tensor has which size. */
static void size_from(mr_mapping_sizes *s, const mr_tensor *t) {
    static const struct {
        const char *part;
        int         axis;
        size_t      size;
    } table[] = {
#define SIZE(part, axis, letter) {part, axis, offsetof(mr_mapping_sizes, letter)}
        SIZE(".q", 0, T),             SIZE(".q", 1, H),          SIZE(".q", 2, D),
        SIZE(".q_rope", 1, H),        SIZE(".q_rope", 2, D),     SIZE(".attention", 1, H),
        SIZE(".attention", 2, D),     SIZE(".k", 1, G),          SIZE(".v", 1, G),
        SIZE(".k_rope", 1, G),        SIZE(".scores", 2, S),     SIZE(".probs", 2, S),
        SIZE(".w1", 1, F),            SIZE(".router_logits", 1, E),
        SIZE(".router_experts", 1, K), SIZE(".h", 0, T),         SIZE(".h", 1, d),
#undef SIZE
    };
    char number[MR_NAME_LIMIT];
    const char *dot = strrchr(t->name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof table / sizeof *table; i++)
        if (strcmp(dot, table[i].part) == 0 && table[i].axis < t->rank)
            *(idx *)(void *)((char *)s + table[i].size) = t->dim[table[i].axis];
    if (strcmp(t->name, "logits") == 0 && t->rank == 2) s->V = t->dim[1];
    if (strcmp(t->name, "tok_embeddings") == 0 && t->rank == 2) s->T = t->dim[0], s->d = t->dim[1];
    if (mr_name_match("layers.{N}.h", t->name, "{N}", number)) {
        idx n = 0;
        for (const char *c = number; *c != '\0'; c++) n = 10 * n + (*c - '0');
        if (n >= s->L) s->L = n + 1;
    }
}

/* Lengths of the sequences as the meta says; without a usable meta there is one sequence. */
static mr_status read_lengths(mr_mapping *map, mr_trace *golden, mr_err *err) {
    mr_meta meta;
    const bool own = mr_trace_meta(map->port)[0] != '\0';
    mr_mapping_sizes *s = &map->sizes;
    if (mr_meta_read("", mr_trace_meta(own ? map->port : golden), &meta, NULL) != MR_OK)
        return MR_OK;
    idx *length = mr_mapping_block(map, meta.n_seqs, err);
    if (length != NULL) {
        for (idx b = 0; b < meta.n_seqs; b++) length[b] = meta.length[b];
        s->n_seqs = meta.n_seqs;
        s->length = length;
        s->T = meta.count;
    }
    mr_meta_free(&meta);
    return length != NULL ? MR_OK : MR_BAD;
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef enum { OURS, HF, NATIVE } style;

static bool translate(style how, const char *path, idx layers, char *name) {
    return how == HF ? mr_name_of_hf(path, layers, name) : mr_name_of_native(path, name);
}

/* Every tensor of the port under its new name; names that two tensors would share go to the
 * first, and what means nothing keeps its own. */
static mr_status add_all(mr_mapping *map, style how, mr_err *err) {
    idx meant = 0;
    for (idx i = 0; i < mr_trace_count(map->port); i++) {
        const mr_tensor *t = mr_trace_tensor(map->port, i);
        const mr_view whole = mr_view_whole(i, t->rank, t->dim);
        char name[MR_NAME_LIMIT];
        const bool found = how != OURS && translate(how, t->name, map->sizes.L, name) &&
                           mr_mapping_find(map, name) < 0;
        meant += found;
        if (mr_mapping_add(map, found ? name : t->name, &whole, err)) return MR_BAD;
    }
    if (how == OURS || meant > 0) return MR_OK;
    return mr_fail(err, MR_MISSING,
                   "--map %s: none of the port's %td tensors has such a name, the first is \"%s\"; "
                   "write a map file (docs/FORMATS.md)",
                   how == HF ? "hf" : "native", mr_trace_count(map->port),
                   mr_trace_count(map->port) > 0 ? mr_trace_tensor(map->port, 0)->name : "");
}

mr_status mr_mapping_open(const char *names, mr_trace *golden, mr_trace *port, mr_mapping *out,
                      mr_err *err) {
    *out = (mr_mapping){.port = port, .buffered = -1};
    for (idx i = 0; i < mr_trace_count(golden); i++)
        size_from(&out->sizes, mr_trace_tensor(golden, i));
    mr_status status = read_lengths(out, golden, err);
    if (status != MR_OK) return status;
    if (names == NULL) return add_all(out, OURS, err);
    if (strcmp(names, "hf") == 0) return add_all(out, HF, err);
    if (strcmp(names, "native") == 0) return add_all(out, NATIVE, err);
    return mr_mapping_file(out, names, err);
}

void mr_mapping_hint(const mr_mapping *map, char *text, size_t size) {
    char name[MR_NAME_LIMIT];
    text[0] = '\0';
    for (idx i = 0; i < map->count; i++) {
        const char *own = map->entry[i].name;
        if (map->entry[i].known) continue;
        for (style how = HF; how <= NATIVE; how++)
            if (translate(how, own, map->sizes.L, name)) {
                snprintf(text, size, "\"%.90s\" would be %s under --map %s", own, name,
                         how == HF ? "hf" : "native");
                return;
            }
    }
    for (idx i = 0; i < map->count && text[0] == '\0'; i++) {
        if (map->entry[i].known) continue;
        snprintf(text, size, "\"%.90s\" is none of our names", map->entry[i].name);
        mr_name_nearest_ours(map->entry[i].name, text, size);
    }
}
