/* Names of a port's tensors: which of ours each is, and how its elements become ours. The mapped
 * trace is read like any other; nothing is copied. Guide: docs/VERIFY.md, map file:
 * docs/FORMATS.md. */
#ifndef MR_GOLDEN_MAP_H
#define MR_GOLDEN_MAP_H

#include "golden/map_view.h"
#include "golden/trace.h"

#define MR_NAME_LIMIT 96

/* Sizes of the model, 0 where nothing tells: the letters of docs/MODEL.md. */
typedef struct {
    idx T, H, G, D, d, F, E, K, V, S, L;
    idx        n_seqs;
    const idx *length;        /* [n_seqs], NULL when the meta does not say */
} mr_mapping_sizes;

typedef struct {
    char      name[MR_NAME_LIMIT];   /* ours, or the port's own where it means nothing to us */
    mr_view   view;
    bool      known;                 /* the name is one of ours */
} mr_mapping_entry;

typedef struct mr_mapping {
    mr_trace     *port;              /* borrowed */
    mr_mapping_sizes  sizes;
    idx           count, room;
    mr_mapping_entry *entry;
    idx         **block;             /* tables and picks of the views, freed with the map */
    idx           blocks;
    double       *buffer;            /* of the source tensor last read */
    idx           buffered;          /* its number, -1: none */
    mr_tensor    *list;
    mr_trace     *trace;             /* the mapped one */
} mr_mapping;

/* names: NULL (the port uses ours), "hf", "native", or the path of a map file. golden gives the
 * sizes. MR_USAGE, MR_BAD or MR_MISSING with a message that names the nearest candidates. */
mr_status mr_mapping_open(const char *names, mr_trace *golden, mr_trace *port, mr_mapping *out,
                      mr_err *err);
/* The port under our names; valid until the map changes or closes. */
mr_status mr_mapping_trace(mr_mapping *map, mr_trace **out, mr_err *err);
void      mr_mapping_close(mr_mapping *map);                  /* {0} afterwards */

/* Used by recognition (golden/layout.c) and by the readers of names. */
idx       mr_mapping_find(const mr_mapping *map, const char *name);            /* -1 when absent */
mr_status mr_mapping_add(mr_mapping *map, const char *name, const mr_view *view, mr_err *err);
idx      *mr_mapping_block(mr_mapping *map, idx count, mr_err *err);   /* freed with the map */
/* Elements of a view, in the view's order. */
mr_status mr_mapping_read(mr_mapping *map, const mr_view *view, double *out, mr_err *err);

/* One line for somebody whose names mean nothing to us: what they could be, or "". */
void mr_mapping_hint(const mr_mapping *map, char *text, size_t size);

/* ---- map_names.c ----------------------------------------------------------------------------- */

/* Is this one of our names, whatever its layer? */
bool mr_name_is_ours(const char *name);
/* Our name for a module path of Hugging Face or mistral-inference, with an optional ending .input,
 * .output, .input.0 or .output.0. False: it has none. */
bool mr_name_of_hf(const char *path, idx layers, char *name);
bool mr_name_of_native(const char *path, char *name);
/* Fits the pattern, with {N} and {E} for numbers? Then *out is `target` with them filled in. */
bool mr_name_match(const char *pattern, const char *path, const char *target, char *out);
/* Insertions, deletions and replacements from a to b, at most `limit` + 1. */
idx  mr_name_distance(const char *a, const char *b, idx limit);
/* Appends " (nearest: a, b, c)" with up to three of the names that are near `name`. */
void mr_name_nearest(const char *name, const char *const *names, idx count, char *text,
                     size_t size);
/* The same with ours, in the layer and for the expert that the name has numbers for. */
void mr_name_nearest_ours(const char *name, char *text, size_t size);

/* ---- map_file.c ------------------------------------------------------------------------------ */

mr_status mr_mapping_file(mr_mapping *map, const char *path, mr_err *err);

#endif
