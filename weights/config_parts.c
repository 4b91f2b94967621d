/* Parts of configuration reading that both dialects use: sizes, head_dim, windows, unknown keys. */
#include "weights/config_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "weights/header.h"

/* Sticky like the getters of weights/json.h: the reader goes on and returns the status at its
 * end. */
mr_status mr_config_fail(mr_config_reader *r, const char *format, ...) {
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (r->json.status == MR_OK) r->json.status = MR_BAD;
    return mr_fail(r->json.err, MR_BAD, "%s: %s", r->json.source, text);
}

void mr_config_note(mr_config_reader *r, const char *format, ...) {
    const size_t size = (size_t)r->size, used = strlen(r->warning);
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(r->warning + used, size - used, "%s%s", used > 0 ? "; " : "", text);
}

/* No class defaults here: a configuration without its sizes is damaged, not a 7B model. */
void mr_config_sizes_read(mr_config_reader *r, const mr_size_keys *keys) {
    mr_config *c = r->config;
    mr_json_need_int(&r->json, keys->dim, &c->dim);
    mr_json_need_int(&r->json, keys->layers, &c->n_layers);
    mr_json_need_int(&r->json, keys->hidden, &c->hidden_dim);
    mr_json_need_int(&r->json, keys->heads, &c->n_heads);
    mr_json_need_int(&r->json, keys->vocabulary, &c->vocab_size);
}

/* Never silently dim / heads: Mistral Nemo has 128 where that is 160. */
void mr_config_head_dim_read(mr_config_reader *r, const mr_size_keys *keys) {
    mr_config *c = r->config;
    const mr_json_found found = mr_json_int(&r->json, "head_dim", &c->head_dim);
    if (found == MR_JSON_FOUND || found == MR_JSON_WRONG || r->json.status != MR_OK) return;
    if (c->n_heads < 1 || c->dim < 1) {
        c->head_dim = 2;                        /* mr_config_check names the size that is broken */
    } else if (c->dim % c->n_heads != 0) {
        mr_config_fail(r, "head_dim is %s and %s %td is not a multiple of %s %td; state head_dim",
                       found == MR_JSON_NULL ? "null" : "absent", keys->dim, c->dim, keys->heads,
                       c->n_heads);
    } else {
        c->head_dim = c->dim / c->n_heads;
        mr_config_note(r, "head_dim is %s: taken as %s / %s = %td",
                       found == MR_JSON_NULL ? "null" : "absent", keys->dim, keys->heads,
                       c->head_dim);
    }
}

/* 1 to 10 digits: what params.json has as a string. */
static bool digits(const char *text, idx *out) {
    const size_t length = strlen(text);
    idx value = 0;
    if (length < 1 || length > 10) return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (!mr_mul(value, 10, &value) || !mr_add(value, text[i] - '0', &value)) return false;
    }
    *out = value;
    return true;
}

/* One window in keys. 0 is refused: it could mean "none" or "nothing is visible", and programs
 * differ. */
static bool one_window(mr_config_reader *r, const char *key, const json_t *value, idx *window) {
    const char *text = json_string_value(value);
    json_int_t  wide = json_integer_value(value);
    if (text != NULL) {
        if (!digits(text, window)) {
            mr_config_fail(r, "%s is a string that is no number of keys; expected an integer, a "
                           "string of digits, a list or null", key);
            return false;
        }
        wide = *window;
    } else if (!json_is_integer(value)) {
        mr_config_fail(r, "%s: expected an integer, a string of digits, a list or null, found %s",
                       key, mr_json_kind(value));
        return false;
    }
    if (wide < 1 || wide > INT32_MAX) {
        mr_config_fail(r, "%s is %lld; expected 1 or more keys, or null for no window", key,
                       (long long)wide);
        return false;
    }
    *window = (idx)wide;
    return true;
}

/* The list repeats over the layers, so its length must divide them. All null is no window. */
static void window_list(mr_config_reader *r, const char *key, const json_t *list) {
    mr_config   *c = r->config;
    const size_t entries = json_array_size(list);
    bool         any = false;
    if (entries < 1 || entries > MR_MAX_WINDOWS) {
        mr_config_fail(r, "%s lists %zu entries; expected 1 to %d", key, entries, MR_MAX_WINDOWS);
        return;
    }
    for (size_t i = 0; i < entries; i++) {
        const json_t *value = json_array_get(list, i);
        c->windows[i] = 0;                      /* null: this layer attends everywhere */
        if (json_is_null(value)) continue;
        if (!one_window(r, key, value, &c->windows[i])) return;
        any = true;
    }
    if (c->n_layers >= 1 && c->n_layers % (idx)entries != 0)
        mr_config_fail(r, "%s lists %zu entries, which do not divide the %td layers", key, entries,
                       c->n_layers);
    c->n_windows = any ? (idx)entries : 0;
}

bool mr_config_window_read(mr_config_reader *r, const char *key) {
    const json_t *value = json_object_get(r->json.object, key);
    if (value == NULL || json_is_null(value)) return false;
    if (json_is_array(value))
        window_list(r, key, value);
    else if (one_window(r, key, value, &r->config->windows[0]))
        r->config->n_windows = 1;
    return true;
}

/* NULL ends the list. */
static bool listed(const char *key, const char *const *list) {
    for (; *list != NULL; list++)
        if (strcmp(*list, key) == 0) return true;
    return false;
}

/* null and false say that a feature is off, whatever it is. A few names are enough to recognise a
 * file. */
void mr_config_unknown_keys(mr_config_reader *r, const char *const *known,
                            const char *const *harmless) {
    const char *key;
    json_t     *value;
    char        names[256] = "";
    size_t      used = 0;
    idx         more = 0;
    json_object_foreach((json_t *)r->json.object, key, value) {
        if (json_is_null(value) || json_is_false(value)) continue;
        if (listed(key, known) || listed(key, harmless) || mr_name_hostile(key)) continue;
        const size_t need = strlen(key) + 2;
        if (used + need < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                     used > 0 ? ", " : "", key);
        else
            more++;
    }
    if (used > 0 && more == 0) mr_config_note(r, "unknown keys ignored: %s", names);
    if (more > 0) mr_config_note(r, "unknown keys ignored: %s and %td more", names, more);
}
