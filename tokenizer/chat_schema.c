/* Is a JSON value a JSON Schema of draft 7? Tool parameters are refused when they are not. */
#include "tokenizer/chat_request.h"

/* What the value of a keyword must be. Unknown keywords may be anything, as may "default",
 * "const" and the formats of URIs, which the original does not check either. */
typedef enum {
    IS_STRING, IS_BOOL, IS_LIST, IS_NUMBER, IS_POSITIVE, IS_COUNT, IS_REGEX, IS_SCHEMA,
    IS_SCHEMA_LIST, IS_SCHEMA_OR_LIST, IS_SCHEMAS, IS_REGEX_SCHEMAS, IS_DEPENDENCIES, IS_STRINGS,
    IS_TYPE
} rule;

static const struct {
    const char *key;
    rule        rule;
} keywords[] = {
    {"$id", IS_STRING}, {"$schema", IS_STRING}, {"$ref", IS_STRING}, {"$comment", IS_STRING},
    {"title", IS_STRING}, {"description", IS_STRING}, {"format", IS_STRING},
    {"contentMediaType", IS_STRING}, {"contentEncoding", IS_STRING},
    {"readOnly", IS_BOOL}, {"uniqueItems", IS_BOOL}, {"examples", IS_LIST}, {"enum", IS_LIST},
    {"multipleOf", IS_POSITIVE}, {"maximum", IS_NUMBER}, {"exclusiveMaximum", IS_NUMBER},
    {"minimum", IS_NUMBER}, {"exclusiveMinimum", IS_NUMBER},
    {"maxLength", IS_COUNT}, {"minLength", IS_COUNT}, {"maxItems", IS_COUNT},
    {"minItems", IS_COUNT}, {"maxProperties", IS_COUNT}, {"minProperties", IS_COUNT},
    {"pattern", IS_REGEX}, {"additionalItems", IS_SCHEMA}, {"contains", IS_SCHEMA},
    {"additionalProperties", IS_SCHEMA}, {"propertyNames", IS_SCHEMA}, {"if", IS_SCHEMA},
    {"then", IS_SCHEMA}, {"else", IS_SCHEMA}, {"not", IS_SCHEMA},
    {"items", IS_SCHEMA_OR_LIST}, {"allOf", IS_SCHEMA_LIST}, {"anyOf", IS_SCHEMA_LIST},
    {"oneOf", IS_SCHEMA_LIST}, {"required", IS_STRINGS}, {"definitions", IS_SCHEMAS},
    {"properties", IS_SCHEMAS}, {"patternProperties", IS_REGEX_SCHEMAS},
    {"dependencies", IS_DEPENDENCIES}, {"type", IS_TYPE},
};
enum { KEYWORDS = sizeof keywords / sizeof *keywords };

static bool is_schema(const mr_py *value, const char **culprit);

static bool is_number(const mr_py *value) {
    return value->kind == MR_PY_INT || value->kind == MR_PY_FLOAT;
}

static bool negative(const mr_py *value) {
    return value->kind == MR_PY_INT ? value->text.byte[0] == '-' : value->real < 0;
}

static bool zero(const mr_py *value) {
    return value->kind == MR_PY_INT ? mr_py_is(value->text, "0") : value->real == 0;
}

/* 3.0 counts as an integer, NaN and infinity do not. Beyond 2^53 every double is an integer. */
static bool is_integer(const mr_py *value) {
    if (value->kind != MR_PY_FLOAT) return value->kind == MR_PY_INT;
    const double x = value->real < 0 ? -value->real : value->real;
    if (!(x <= 1.7976931348623157e308)) return false;
    return x >= 9007199254740992.0 || (double)(int64_t)x == x;
}

static bool are_schemas(const mr_py *value, mr_py_kind kind, idx least, const char **culprit) {
    if (value->kind != kind || value->items < least) return false;
    for (const mr_py *item = value->first; item != NULL; item = item->next)
        if (!is_schema(item, culprit)) return false;
    return true;
}

/* All strings, all different. */
static bool are_strings(const mr_py *value) {
    if (value->kind != MR_PY_LIST) return false;
    for (const mr_py *item = value->first; item != NULL; item = item->next) {
        if (item->kind != MR_PY_STRING) return false;
        for (const mr_py *other = value->first; other != item; other = other->next)
            if (mr_py_equal(other->text, item->text)) return false;
    }
    return true;
}

static bool is_type_name(const mr_py *value) {
    static const char *const name[] = {"array", "boolean", "integer", "null", "number", "object",
                                       "string"};
    for (int i = 0; i < 7; i++)
        if (value->kind == MR_PY_STRING && mr_py_is(value->text, name[i])) return true;
    return false;
}

static bool is_type(const mr_py *value) {
    if (value->kind != MR_PY_LIST) return is_type_name(value);
    for (const mr_py *item = value->first; item != NULL; item = item->next)
        if (!is_type_name(item)) return false;
    return value->items > 0 && are_strings(value);
}

static bool are_dependencies(const mr_py *value, const char **culprit) {
    if (value->kind != MR_PY_DICT) return false;
    for (const mr_py *item = value->first; item != NULL; item = item->next)
        if (item->kind == MR_PY_LIST ? !are_strings(item) : !is_schema(item, culprit)) return false;
    return true;
}

static bool keys_are_patterns(const mr_py *value) {
    for (const mr_py *item = value->first; item != NULL; item = item->next)
        if (!mr_chat_regex(item->key)) return false;
    return true;
}

static bool obeys(const mr_py *value, rule which, const char **culprit) {
    switch (which) {
        case IS_STRING: return value->kind == MR_PY_STRING;
        case IS_BOOL: return value->kind == MR_PY_TRUE || value->kind == MR_PY_FALSE;
        case IS_LIST: return value->kind == MR_PY_LIST;
        case IS_NUMBER: return is_number(value);
        case IS_POSITIVE: return is_number(value) && !negative(value) && !zero(value);
        case IS_COUNT: return is_integer(value) && !negative(value);
        case IS_REGEX: return value->kind == MR_PY_STRING && mr_chat_regex(value->text);
        case IS_SCHEMA: return is_schema(value, culprit);
        case IS_SCHEMA_LIST: return are_schemas(value, MR_PY_LIST, 1, culprit);
        case IS_SCHEMA_OR_LIST:
            return value->kind == MR_PY_LIST ? are_schemas(value, MR_PY_LIST, 1, culprit)
                                             : is_schema(value, culprit);
        case IS_SCHEMAS: return are_schemas(value, MR_PY_DICT, 0, culprit);
        case IS_REGEX_SCHEMAS:
            return are_schemas(value, MR_PY_DICT, 0, culprit) && keys_are_patterns(value);
        case IS_DEPENDENCIES: return are_dependencies(value, culprit);
        case IS_STRINGS: return are_strings(value);
        case IS_TYPE: return is_type(value);
    }
    return false;
}

/* Recursion ends: a JSON value is at most MR_PY_DEPTH deep. */
static bool is_schema(const mr_py *value, const char **culprit) {
    if (value->kind == MR_PY_TRUE || value->kind == MR_PY_FALSE) return true;
    if (value->kind != MR_PY_DICT) return false;
    for (int i = 0; i < KEYWORDS; i++) {
        const mr_py *entry = mr_py_get(value, keywords[i].key);
        if (entry == NULL || obeys(entry, keywords[i].rule, culprit)) continue;
        if (*culprit == NULL) *culprit = keywords[i].key;
        return false;
    }
    return true;
}

mr_status mr_chat_schema(const mr_py *schema, const char *where, mr_err *err) {
    const char *culprit = NULL;
    if (is_schema(schema, &culprit)) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: no JSON Schema of draft 7: look at \"%s\"", where,
                   culprit != NULL ? culprit : "parameters");
}
