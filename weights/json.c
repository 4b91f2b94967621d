/* JSON through jansson, with our limits and our messages. */
#include "weights/json.h"

#include <errno.h>
#include <string.h>

#include "weights/input.h"

/* Brackets outside of strings. What is no JSON may be miscounted, and is refused in any case. */
bool mr_json_deep(const char *text, idx bytes) {
    idx  depth = 0;
    bool string = false;
    for (idx i = 0; i < bytes && depth <= MR_JSON_DEPTH; i++) {
        if (text[i] == '"') string = !string;
        else if (string) i += text[i] == '\\';
        else if (text[i] == '[' || text[i] == '{') depth++;
        else if (text[i] == ']' || text[i] == '}') depth--;
    }
    return depth > MR_JSON_DEPTH;
}

/* Duplicate keys are refused everywhere: parsers disagree on which one counts. */
mr_status mr_json_line(const char *source, idx line, const char *text, idx bytes, json_t **out,
                       mr_err *err) {
    json_error_t e;
    *out = NULL;
    if (mr_json_deep(text, bytes))
        return mr_fail(err, MR_BAD, "%s: line %td: JSON of more than %d levels", source, line,
                       MR_JSON_DEPTH);
    *out = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &e);
    return *out != NULL ? MR_OK : mr_fail(err, MR_BAD, "%s: line %td, column %d: %s", source,
                                          line + e.line - 1, e.column, e.text);
}

mr_status mr_json_text(const char *source, const char *text, idx bytes, json_t **out, mr_err *err) {
    return mr_json_line(source, 1, text, bytes, out, err);
}

/* Reads until the end instead of asking for the size first, so that a pipe serves as well. */
static mr_status read_all(FILE *f, const char *path, idx cap, char **text, idx *bytes,
                          mr_err *err) {
    idx room = 0;
    *bytes = 0;
    while (!feof(f) && !ferror(f)) {
        if (*bytes == room) {
            room = room == 0 ? 65536 : 2 * room;
            if (room > cap) room = cap + 1;     /* one byte more, to see a file that is too long */
            char *larger = mr_resize(*text, room, 1, err);
            if (larger == NULL) return MR_BAD;
            *text = larger;
        }
        *bytes += (idx)mr_input_read(*text + *bytes, (size_t)(room - *bytes), f);
        if (*bytes > cap)
            return mr_fail(err, MR_BAD, "%s: more than %td bytes of JSON; is this the right file?",
                           path, cap);
    }
    return !ferror(f) ? MR_OK : mr_fail(err, MR_BAD, "%s: cannot read: %s", path, strerror(errno));
}

mr_status mr_json_file(const char *path, idx cap, json_t **out, mr_err *err) {
    char *text = NULL;
    idx   bytes = 0;
    *out = NULL;
    FILE *f = mr_input_open(path);
    if (f == NULL) return mr_fail(err, MR_BAD, "%s: cannot open: %s", path, strerror(errno));
    mr_status status = read_all(f, path, cap, &text, &bytes, err);
    if (status == MR_OK) status = mr_json_text(path, text, bytes, out, err);
    fclose(f);
    mr_free(text);
    return status;
}

const char *mr_json_kind(const json_t *value) {
    if (value == NULL) return "nothing";
    switch (json_typeof(value)) {
        case JSON_OBJECT:  return "an object";
        case JSON_ARRAY:   return "a list";
        case JSON_STRING:  return "a string";
        case JSON_INTEGER: return "an integer";
        case JSON_REAL:    return "a number with a fraction";
        case JSON_TRUE:    return "true";
        case JSON_FALSE:   return "false";
        case JSON_NULL:    return "null";
    }
    return "nothing";
}

/* Records the first failure of this reader. */
static mr_json_found wrong(mr_json *r, const char *key, const char *expected, const json_t *found) {
    mr_fail(r->err, MR_BAD, "%s: %s%s: expected %s, found %s", r->source, r->prefix, key, expected,
            mr_json_kind(found));
    if (r->status == MR_OK) r->status = MR_BAD;
    return MR_JSON_WRONG;
}

idx mr_json_idx(const json_t *value) {
    const json_int_t wide = json_integer_value(value);
    const idx narrow = (idx)wide;
    return (json_int_t)narrow == wide ? narrow : wide < 0 ? -MR_IDX_MAX : MR_IDX_MAX;
}

/* Everything the getters share. */
static mr_json_found look(mr_json *r, const char *key, json_t **value) {
    *value = json_object_get(r->object, key);
    return *value == NULL ? MR_JSON_ABSENT : json_is_null(*value) ? MR_JSON_NULL : MR_JSON_FOUND;
}

mr_json_found mr_json_int(mr_json *r, const char *key, idx *out) {
    json_t *value;
    mr_json_found found = look(r, key, &value);
    if (found != MR_JSON_FOUND) return found;
    if (!json_is_integer(value)) return wrong(r, key, "an integer", value);
    const idx narrow = mr_json_idx(value);
    if ((json_int_t)narrow != json_integer_value(value))
        return wrong(r, key, "a smaller integer", value);
    *out = narrow;
    return found;
}

/* 1 and 1.0 are both numbers; files write theta either way. */
mr_json_found mr_json_number(mr_json *r, const char *key, double *out) {
    json_t *value;
    mr_json_found found = look(r, key, &value);
    if (found != MR_JSON_FOUND) return found;
    if (!json_is_number(value)) return wrong(r, key, "a number", value);
    *out = json_number_value(value);
    return found;
}

mr_json_found mr_json_bool(mr_json *r, const char *key, bool *out) {
    json_t *value;
    mr_json_found found = look(r, key, &value);
    if (found != MR_JSON_FOUND) return found;
    if (!json_is_boolean(value)) return wrong(r, key, "true or false", value);
    *out = json_is_true(value);
    return found;
}

mr_json_found mr_json_string(mr_json *r, const char *key, const char **out) {
    json_t *value;
    mr_json_found found = look(r, key, &value);
    if (found != MR_JSON_FOUND) return found;
    if (!json_is_string(value)) return wrong(r, key, "a string", value);
    *out = json_string_value(value);
    return found;
}

mr_json_found mr_json_object(mr_json *r, const char *key, const json_t **out) {
    json_t *value;
    mr_json_found found = look(r, key, &value);
    if (found != MR_JSON_FOUND) return found;
    if (!json_is_object(value)) return wrong(r, key, "an object", value);
    *out = value;
    return found;
}

mr_json_found mr_json_array(mr_json *r, const char *key, const json_t **out) {
    json_t *value;
    mr_json_found found = look(r, key, &value);
    if (found != MR_JSON_FOUND) return found;
    if (!json_is_array(value)) return wrong(r, key, "a list", value);
    *out = value;
    return found;
}

/* The message tells null from nothing, because the remedy differs. */
void mr_json_need_int(mr_json *r, const char *key, idx *out) {
    mr_json_found found = mr_json_int(r, key, out);
    if (found == MR_JSON_ABSENT || found == MR_JSON_NULL)
        wrong(r, key, "an integer", json_object_get(r->object, key));
}

void mr_json_need_number(mr_json *r, const char *key, double *out) {
    mr_json_found found = mr_json_number(r, key, out);
    if (found == MR_JSON_ABSENT || found == MR_JSON_NULL)
        wrong(r, key, "a number", json_object_get(r->object, key));
}
