/* Map files: JSON that says which of our tensors each of a port's is, and by which steps. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "golden/map.h"
#include "weights/json.h"

#define FILE_CAP ((idx)1000000)

typedef struct {
    mr_mapping     *map;
    const char *path, *pattern;
    mr_err     *err;
} reader;

static mr_status refuse(const reader *r, const char *what, const char *found) {
    return mr_fail(r->err, MR_BAD, "%s: \"%s\": %s%s%s; see docs/FORMATS.md, \"Map files\"",
                   r->path, r->pattern, what, found[0] != '\0' ? ", found " : "", found);
}

/* A size: a number, or letters and numbers joined by * and /, as "H*D/2". 0: it is none. */
static idx size_of(const mr_mapping_sizes *s, const json_t *value) {
    const struct {
        char letter;
        idx  size;
    } letters[] = {{'T', s->T}, {'H', s->H}, {'G', s->G}, {'D', s->D}, {'d', s->d}, {'F', s->F},
                   {'E', s->E}, {'K', s->K}, {'V', s->V}, {'S', s->S}, {'B', s->n_seqs}};
    const char *text = json_string_value(value);
    idx total = 1;
    if (json_is_integer(value)) return mr_json_idx(value);
    for (char sign = '*'; text != NULL; sign = *text++) {
        idx one = 0;
        if (isdigit((unsigned char)*text))
            for (; isdigit((unsigned char)*text) && one < 1000000000; text++)
                one = 10 * one + (*text - '0');
        else
            for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
                if (letters[i].letter == *text) {
                    one = letters[i].size;
                    text++;
                    break;
                }
        if (one == 0 || (sign == '/' && total % one != 0)) return 0;
        if (sign == '/') total /= one;
        else if (sign != '*' || !mr_mul(total, one, &total)) return 0;
        if (*text == '\0') return total;
    }
    return 0;
}

/* The list of a step as numbers; -1 for how many when it is no list or too long. */
static int numbers(const reader *r, const json_t *list, idx *out) {
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MR_MAX_RANK) return -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        out[i] = size_of(&r->map->sizes, one);
        if (out[i] == 0 && !json_is_integer(one)) return -1;
    }
    return (int)n;
}

/* The last axis holds both halves of the rotary pairs: first halves first. */
static bool from_half(mr_view *v) {
    idx dim[MR_MAX_RANK + 1], old[MR_MAX_RANK];
    int axes[MR_MAX_RANK + 1];
    const int r = v->rank;
    if (r < 1 || r >= MR_MAX_RANK || v->dim[r - 1] % 2 != 0) return false;
    memcpy(old, v->dim, sizeof old);
    memcpy(dim, v->dim, sizeof old);
    dim[r - 1] = 2;
    dim[r] = old[r - 1] / 2;
    for (int i = 0; i < r - 1; i++) axes[i] = i;
    axes[r - 1] = r;
    axes[r] = r - 1;
    return mr_view_reshape(v, r + 1, dim) && mr_view_permute(v, axes) &&
           mr_view_reshape(v, r, old);
}

/* Picks indices along an axis, in any order: [axis, [i, i, ...]]. */
static bool take(const reader *r, const json_t *step, mr_view *v) {
    const json_t *list = json_array_get(step, 1);
    const idx axis = mr_json_idx(json_array_get(step, 0)),
              n = (idx)json_array_size(list);
    if (!json_is_integer(json_array_get(step, 0)) || axis < 0 || axis >= v->rank || n < 1 ||
        v->pick != NULL) return false;
    idx inner = 1, dim[MR_MAX_RANK];
    memcpy(dim, v->dim, sizeof dim);
    for (int i = (int)axis + 1; i < v->rank; i++) inner *= v->dim[i];
    dim[axis] = n;
    const idx count = mr_count(v->rank, dim);
    idx *pick = count > 0 ? mr_mapping_block(r->map, count, r->err) : NULL;
    if (pick == NULL) return false;
    for (idx i = 0; i < count; i++) {
        const json_t *one = json_array_get(list, (size_t)(i / inner % n));
        const idx j = mr_json_idx(one);
        if (!json_is_integer(one) || j < 0 || j >= v->dim[axis]) return false;
        pick[i] = mr_view_place(v, (i / inner / n * v->dim[axis] + j) * inner + i % inner);
    }
    memcpy(v->dim, dim, sizeof dim);
    v->pick = pick;
    return true;
}

static bool one_step(const reader *r, const char *word, const json_t *value, mr_view *v) {
    idx n[MR_MAX_RANK] = {0};
    const int count = json_is_array(value) ? numbers(r, value, n) : 0;
    if (strcmp(word, "take") == 0) return take(r, value, v);
    if (strcmp(word, "scale") == 0 && json_is_number(value)) {
        v->scale *= json_number_value(value);
        return v->scale != 0;
    }
    if (strcmp(word, "rotary") == 0)
        return json_is_string(value) && strcmp(json_string_value(value), "half") == 0 &&
               from_half(v);
    if (strcmp(word, "reshape") == 0) return count > 0 && mr_view_reshape(v, count, n);
    if (strcmp(word, "slice") == 0)
        return (count == 3 || count == 4) && n[0] >= 0 && n[0] < v->rank &&
               mr_view_slice(v, (int)n[0], n[1], n[2], count == 4 ? n[3] : 1);
    if (strcmp(word, "permute") == 0) {
        int axes[MR_MAX_RANK];
        for (int i = 0; i < count; i++) axes[i] = n[i] < MR_MAX_RANK ? (int)n[i] : -1;
        return count == v->rank && mr_view_permute(v, axes);
    }
    return false;
}

static mr_status steps(const reader *r, const json_t *list, mr_view *v) {
    size_t i;
    json_t *step;
    if (list != NULL && !json_is_array(list)) return refuse(r, "\"steps\" must be a list", "");
    json_array_foreach((json_t *)list, i, step) {
        void *it = json_object_iter(step);
        char text[200], shape[96] = "";
        for (int a = 0; a < v->rank; a++) {
            const size_t at = strlen(shape);
            snprintf(shape + at, sizeof shape - at, "%s%td", a > 0 ? "," : "", v->dim[a]);
        }
        if (json_object_size(step) == 1 &&
            one_step(r, json_object_iter_key(it), json_object_iter_value(it), v)) continue;
        if (r->err->code != MR_OK) return r->err->code;
        snprintf(text, sizeof text,
                 "step %d must be one of reshape, permute, slice, take, rotary, scale and fit the "
                 "shape [%s]", (int)i + 1, shape);
        return refuse(r, text, it != NULL ? json_object_iter_key(it) : mr_json_kind(step));
    }
    return MR_OK;
}

/* One port tensor that fits the pattern becomes what the target says. */
static mr_status add(const reader *r, const json_t *target, idx tensor) {
    const mr_tensor *t = mr_trace_tensor(r->map->port, tensor);
    const char *name = json_is_object(target)
                           ? json_string_value(json_object_get(target, "name"))
                           : json_string_value(target);
    char full[MR_NAME_LIMIT], text[400];
    if (name == NULL) return refuse(r, "expected a name, {\"name\":..}, or a list of these", "");
    mr_view v = mr_view_whole(tensor, t->rank, t->dim);
    if (!mr_name_match(r->pattern, t->name, name, full)) return refuse(r, "name too long", name);
    if (!mr_name_is_ours(full)) {
        snprintf(text, sizeof text, "\"%s\" is none of our names", full);
        mr_name_nearest_ours(full, text, sizeof text);
        return refuse(r, text, "");
    }
    if (mr_mapping_find(r->map, full) >= 0) {
        snprintf(text, sizeof text, "%s is given a second time, by \"%.90s\"", full, t->name);
        return refuse(r, text, "");
    }
    if (json_is_object(target) && steps(r, json_object_get(target, "steps"), &v) != MR_OK)
        return MR_BAD;
    return mr_mapping_add(r->map, full, &v, r->err);
}

/* Every tensor that fits one entry of the file. */
static mr_status entry(reader *r, const json_t *value) {
    const idx count = mr_trace_count(r->map->port);
    idx fit = 0;
    for (idx i = 0; i < count; i++) {
        char ignored[MR_NAME_LIMIT];
        if (!mr_name_match(r->pattern, mr_trace_tensor(r->map->port, i)->name, "", ignored))
            continue;
        fit++;
        const size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t k = 0; k < n; k++)
            if (add(r, json_is_array(value) ? json_array_get(value, k) : value, i) != MR_OK)
                return r->err->code;
    }
    if (fit > 0) return MR_OK;
    char near[300] = "";
    const char **names = mr_alloc(count, (idx)sizeof *names, r->err);
    if (names == NULL) return MR_BAD;
    for (idx i = 0; i < count; i++) names[i] = mr_trace_tensor(r->map->port, i)->name;
    mr_name_nearest(r->pattern, names, count, near, sizeof near);
    mr_free(names);
    return mr_fail(r->err, MR_MISSING, "%s: \"%s\" fits no tensor of the port%s", r->path,
                   r->pattern, near);
}

mr_status mr_mapping_file(mr_mapping *map, const char *path, mr_err *err) {
    json_t *json = NULL, *value;
    mr_err inner = {0};
    reader r = {map, path, "tensors", &inner};
    const char *key;
    mr_status status = mr_json_file(path, FILE_CAP, &json, &inner);
    if (status == MR_OK && !json_is_object(json_object_get(json, "tensors")))
        status = refuse(&r, "expected an object of names at this key", "");
    if (status == MR_OK)
        json_object_foreach(json_object_get(json, "tensors"), key, value) {
            r.pattern = key;
            if (status == MR_OK) status = entry(&r, value);
        }
    json_decref(json);
    return status == MR_OK ? MR_OK : mr_fail(err, inner.code, "%s", inner.text);
}
