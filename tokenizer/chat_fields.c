/* Checks the fields of one object of a chat request against a table. */
#include "tokenizer/chat_fields.h"

#include <stdlib.h>
#include <string.h>

/* A word in any case; `lower` is written in small letters. */
static bool same_word(mr_py_span text, const char *lower) {
    if (text.count != (idx)strlen(lower)) return false;
    for (idx i = 0; i < text.count; i++) {
        const char c = text.byte[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i]) return false;
    }
    return true;
}

/* 1 or 0; -1 when the value is no bool, not even for a lenient reader. */
static int truth(const mr_py *value) {
    static const char *const yes[] = {"1", "t", "true", "y", "yes", "on"};
    static const char *const no[] = {"0", "f", "false", "n", "no", "off"};
    if (value->kind == MR_PY_TRUE || value->kind == MR_PY_FALSE) return value->kind == MR_PY_TRUE;
    if (value->kind == MR_PY_INT)
        return mr_py_is(value->text, "1") ? 1 : mr_py_is(value->text, "0") ? 0 : -1;
    if (value->kind == MR_PY_FLOAT) return value->real == 0 ? 0 : value->real == 1 ? 1 : -1;
    if (value->kind != MR_PY_STRING) return -1;
    for (int i = 0; i < 6; i++) {
        if (same_word(value->text, yes[i])) return 1;
        if (same_word(value->text, no[i])) return 0;
    }
    return -1;
}

bool mr_chat_true(const mr_py *value) { return value != NULL && truth(value) == 1; }

mr_py_span mr_chat_string(const mr_py *value, const char *absent) {
    return value != NULL ? value->text : (mr_py_span){absent, (idx)strlen(absent)};
}

/* A number, a bool, or a string that holds a number between blanks. */
static bool number(const mr_py *value, double *out) {
    char copy[64];
    if (value->kind == MR_PY_FLOAT) *out = value->real;
    else if (value->kind == MR_PY_TRUE || value->kind == MR_PY_FALSE)
        *out = value->kind == MR_PY_TRUE;
    if (value->kind == MR_PY_FLOAT || value->kind == MR_PY_TRUE || value->kind == MR_PY_FALSE)
        return true;
    if (value->kind != MR_PY_INT && value->kind != MR_PY_STRING) return false;
    mr_py_span text = value->text;
    while (text.count > 0 && text.byte[text.count - 1] == ' ') text.count--;
    while (text.count > 0 && text.byte[0] == ' ') text.byte++, text.count--;
    for (idx i = 0; i < text.count; i++)
        if (text.byte[i] == '\0' || strchr("+-.0123456789eE", text.byte[i]) == NULL) return false;
    if (text.count == 0) return false;
    if (text.count >= (idx)sizeof copy) text.count = (idx)sizeof copy - 1;
    memcpy(copy, text.byte, (size_t)text.count);
    copy[text.count] = '\0';
    char *end;
    *out = strtod(copy, &end);
    return *end == '\0';
}

/* Integers may have any size; as a float they must fit the integers of the machine. */
static bool count(const mr_py *value) {
    double x;
    if (!number(value, &x) || !(x >= 0)) return false;
    if (value->kind == MR_PY_INT) return true;
    return x < 9.2e18 && (double)(int64_t)x == x;
}

static bool fits(const mr_py *value, mr_field_type type) {
    double x;
    switch (type) {
        case MR_FIELD_STRING: return value->kind == MR_PY_STRING;
        case MR_FIELD_BOOL: return truth(value) >= 0;
        case MR_FIELD_LIST: return value->kind == MR_PY_LIST;
        case MR_FIELD_DICT: return value->kind == MR_PY_DICT;
        case MR_FIELD_FUNCTION:
            return value->kind == MR_PY_STRING && mr_py_is(value->text, "function");
        case MR_FIELD_SHARE: return number(value, &x) && x >= 0 && x <= 1;
        case MR_FIELD_COUNT: return count(value);
        case MR_FIELD_ANY: break;
    }
    return true;
}

static const char *name_of(mr_field_type type) {
    switch (type) {
        case MR_FIELD_STRING: return "a string";
        case MR_FIELD_BOOL: return "true or false";
        case MR_FIELD_LIST: return "a list";
        case MR_FIELD_DICT: return "an object";
        case MR_FIELD_FUNCTION: return "\"function\"";
        case MR_FIELD_SHARE: return "a number from 0 to 1";
        case MR_FIELD_COUNT: return "an integer of at least 0";
        case MR_FIELD_ANY: break;
    }
    return "a value";
}

static bool known(mr_py_span key, const mr_field *field, idx fields) {
    for (idx i = 0; i < fields; i++)
        if (mr_py_is(key, field[i].key)) return true;
    return false;
}

const char *mr_chat_shown(mr_py_span text, char shown[MR_CHAT_SHOWN]) {
    idx n = 0;
    for (; n < text.count && n < MR_CHAT_SHOWN - 1; n++) shown[n] = text.byte[n];
    shown[n] = '\0';
    return shown;
}

mr_status mr_chat_fields(const mr_py *object, const char *where, const mr_field *field, idx fields,
                         mr_err *err) {
    if (object->kind != MR_PY_DICT)
        return mr_fail(err, MR_BAD, "%s: expected an object", where);
    for (const mr_py *entry = object->first; entry != NULL; entry = entry->next)
        if (!known(entry->key, field, fields))
            return mr_fail(err, MR_BAD, "%s: unknown field \"%s\"", where,
                           mr_chat_shown(entry->key, (char[MR_CHAT_SHOWN]){0}));
    for (idx i = 0; i < fields; i++) {
        const mr_py *value = mr_py_get(object, field[i].key);
        if (value == NULL && field[i].needed)
            return mr_fail(err, MR_BAD, "%s: field \"%s\" is missing", where, field[i].key);
        if (value != NULL && value->kind == MR_PY_NULL && field[i].nullable) value = NULL;
        if (value != NULL && !fits(value, field[i].type))
            return mr_fail(err, MR_BAD, "%s.%s: expected %s", where, field[i].key,
                           name_of(field[i].type));
        if (field[i].out != NULL) *field[i].out = value;
    }
    return MR_OK;
}
