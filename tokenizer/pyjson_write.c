/* json.dumps(value, ensure_ascii=False), byte for byte. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/lists.h"
#include "tokenizer/pyjson.h"

static mr_status put(mr_text *out, const char *text, mr_err *err) {
    return mr_text_append(out, text, (idx)strlen(text), err);
}

/* The escape of a byte that cannot stand for itself; NULL for all others. U+007F, U+2028 and
 * everything else above 0x1F are written raw. */
static const char *escape_of(unsigned char byte, char hex[8]) {
    switch (byte) {
        case '"': return "\\\"";
        case '\\': return "\\\\";
        case '\n': return "\\n";
        case '\r': return "\\r";
        case '\t': return "\\t";
        case '\f': return "\\f";
        case '\b': return "\\b";
        default: break;
    }
    if (byte >= 0x20) return NULL;
    snprintf(hex, 8, "\\u%04x", (unsigned)byte);
    return hex;
}

mr_status mr_py_write_string(mr_py_span string, mr_text *out, mr_err *err) {
    char hex[8];
    idx from = 0; /* what is not written yet starts here; the closing quote ends the last part */
    mr_status status = put(out, "\"", err);
    for (idx i = 0; i <= string.count && status == MR_OK; i++) {
        const char *escape =
            i < string.count ? escape_of((unsigned char)string.byte[i], hex) : "\"";
        if (escape == NULL) continue;
        status = mr_text_append(out, string.byte + from, i - from, err);
        if (status == MR_OK) status = put(out, escape, err);
        from = i + 1;
    }
    return status;
}

/* 17 digits always read back, so the search ends. */
static int shortest(double x, char scientific[MR_PY_FLOAT_SIZE]) {
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(scientific, MR_PY_FLOAT_SIZE, "%.*e", digits - 1, x);
        const double back = strtod(scientific, NULL);
        if (!(back < x) && !(back > x)) return digits;
    }
    snprintf(scientific, MR_PY_FLOAT_SIZE, "%.*e", digits - 1, x);
    return digits;
}

/* Python's rule: plain digits for exponents -4 to 15, always with a fraction; else 1e+16. */
int mr_py_float(double x, char out[MR_PY_FLOAT_SIZE]) {
    char form[MR_PY_FLOAT_SIZE], mantissa[24];
    if (isnan(x)) return snprintf(out, MR_PY_FLOAT_SIZE, "NaN");
    if (isinf(x)) return snprintf(out, MR_PY_FLOAT_SIZE, x < 0 ? "-Infinity" : "Infinity");
    const char *sign = signbit(x) ? "-" : "";
    const int digits = shortest(fabs(x), form);
    const int exponent = (int)strtol(strchr(form, 'e') + 1, NULL, 10);
    snprintf(mantissa, sizeof mantissa, "%c%.*s", form[0], digits - 1, form + 2);

    if (exponent < -4 || exponent >= 16)
        return snprintf(out, MR_PY_FLOAT_SIZE, "%s%c%s%se%+03d", sign, mantissa[0],
                        digits > 1 ? "." : "", mantissa + 1, exponent);
    if (exponent < 0)
        return snprintf(out, MR_PY_FLOAT_SIZE, "%s0.%.*s%s", sign, -exponent - 1, "000", mantissa);
    if (digits > exponent + 1)
        return snprintf(out, MR_PY_FLOAT_SIZE, "%s%.*s.%s", sign, exponent + 1, mantissa,
                        mantissa + exponent + 1);
    return snprintf(out, MR_PY_FLOAT_SIZE, "%s%s%.*s.0", sign, mantissa, exponent + 1 - digits,
                    "000000000000000");
}

static mr_status container(const mr_py *value, mr_text *out, mr_err *err) {
    const bool dict = value->kind == MR_PY_DICT;
    mr_status status = put(out, dict ? "{" : "[", err);
    for (const mr_py *item = value->first; item != NULL && status == MR_OK; item = item->next) {
        if (item != value->first) status = put(out, ", ", err);
        if (dict && status == MR_OK) status = mr_py_write_string(item->key, out, err);
        if (dict && status == MR_OK) status = put(out, ": ", err);
        if (status == MR_OK) status = mr_py_write(item, out, err);
    }
    return status == MR_OK ? put(out, dict ? "}" : "]", err) : status;
}

/* Recursion ends: what was read is at most MR_PY_DEPTH deep. */
mr_status mr_py_write(const mr_py *value, mr_text *out, mr_err *err) {
    char number[MR_PY_FLOAT_SIZE];
    switch (value->kind) {
        case MR_PY_FALSE: return put(out, "false", err);
        case MR_PY_TRUE: return put(out, "true", err);
        case MR_PY_INT: return mr_text_append(out, value->text.byte, value->text.count, err);
        case MR_PY_FLOAT: return mr_text_append(out, number, mr_py_float(value->real, number), err);
        case MR_PY_STRING: return mr_py_write_string(value->text, out, err);
        case MR_PY_LIST:
        case MR_PY_DICT: return container(value, out, err);
        case MR_PY_NULL: break;
    }
    return put(out, "null", err);
}
