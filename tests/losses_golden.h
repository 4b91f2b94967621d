/* Arrays of golden/losses/NAME.json by path, for the tests of losses. */
#ifndef MR_TESTS_LOSSES_GOLDEN_H
#define MR_TESTS_LOSSES_GOLDEN_H

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

/* Numbers of nested lists, one after the other; they live as long as the program. */
static double golden_pool[1 << 15];
static idx golden_used;

static void golden_flatten(const json_t *value, const char *path) {
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            golden_flatten(json_array_get(value, i), path);
        return;
    }
    if (!json_is_number(value)) fail_msg("%s: not a number", path);
    if (golden_used == (idx)(sizeof golden_pool / sizeof *golden_pool)) fail_msg("pool is full");
    golden_pool[golden_used++] = json_number_value(value);
}

static json_t *golden_open(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "golden/losses/%s.json", name);
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) fail_msg("%s:%d: %s", path, error.line, error.text);
    return root;
}

/* The member at "a/b/c" of a document, flattened; *n its number of elements (n may be NULL). */
static const double *golden(const json_t *root, const char *path, idx *n) {
    char key[64];
    const json_t *value = root;
    for (const char *part = path; *part != 0;) {
        const size_t length = strcspn(part, "/");
        snprintf(key, sizeof key, "%.*s", (int)length, part);
        value = json_object_get(value, key);
        if (value == NULL) fail_msg("%s: no \"%s\"", path, key);
        part += length + (part[length] == '/');
    }
    const idx start = golden_used;
    golden_flatten(value, path);
    if (n != NULL) *n = golden_used - start;
    return golden_pool + start;
}

/* "DIRECTORY/NAME" of a document. */
static inline const double *golden_at(const json_t *root, const char *directory, const char *name,
                                      idx *n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return golden(root, path, n);
}

/* Every element relative to its own size; 0 must be 0. */
static inline void check_each(const char *name, const double *want, const double *got, idx n,
                              double limit) {
    for (idx i = 0; i < n; i++)
        check_close(name, want + i, got + i, 1, EPS_F64, want[i] < 0 ? -want[i] : want[i], limit);
}

/* Relative to the largest magnitude of the array. */
static inline double golden_size(const double *x, idx n) {
    double most = 0;
    for (idx i = 0; i < n; i++) most = x[i] > most ? x[i] : -x[i] > most ? -x[i] : most;
    return most;
}

#endif
