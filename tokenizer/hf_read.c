/* Fields of JSON objects into C variables, with messages that name the object and the field. */
#include "tokenizer/hf_read.h"

#include <string.h>

mr_status mr_hf_problem(const mr_hf_reading *r, const mr_scan *in, const char *what) {
    return mr_fail(r->err, MR_BAD, "%s: not a usable tokenizer.json: %s: byte %td: %s; the file is "
                   "damaged or incomplete, fetch it again", r->path, what, in->at - in->start,
                   in->problem);
}

mr_hf_shown mr_hf_show(const mr_hf_string *name) {
    mr_hf_shown shown = {{0}};
    for (idx i = 0; i < name->size && i < (idx)sizeof shown.text - 1; i++) {
        char c = name->bytes[i];
        shown.text[i] = c >= 0x20 && c <= 0x7E ? c : '?';
    }
    return shown;
}

bool mr_hf_is(const mr_hf_string *string, const char *text) {
    idx size = (idx)strlen(text);
    return string->bytes != NULL && string->size == size
           && memcmp(string->bytes, text, (size_t)size) == 0;
}

/* Names are short; a longer one is equal to none. */
bool mr_hf_same(const mr_span *span, const mr_hf_string *string) {
    char plain[256];
    if (string->bytes == NULL || span->size > (idx)sizeof plain) return false;
    idx size = mr_span_text(span, plain);
    return size == string->size && memcmp(plain, string->bytes, (size_t)size) == 0;
}

/* The scanner reads `const` bytes; here they are known to be ours. Unescaping never lengthens. */
mr_status mr_hf_text(const mr_hf_reading *r, const mr_span *span, mr_hf_string *text) {
    char *place = r->hf->file + (span->bytes - r->hf->file);
    *text = (mr_hf_string){span->bytes, span->size};
    if (span->escaped) text->size = mr_span_text(span, place);
    if (text->size >= 0) return MR_OK;
    return mr_fail(r->err, MR_BAD, "%s: byte %td: a string has half of a surrogate pair, which is "
                   "no character; fetch the file again", r->path, span->bytes - r->hf->file);
}

static mr_status read_string(const mr_hf_reading *r, mr_scan *in, bool as_is, mr_hf_string *out) {
    mr_span span;
    if (!mr_scan_string(in, &span)) return MR_OK;
    if (!as_is) return mr_hf_text(r, &span, out);
    *out = (mr_hf_string){span.bytes, span.size};
    return MR_OK;
}

static void read_flag(mr_scan *in, bool *out) {
    char first = mr_scan_peek(in);
    if (first != 't' && first != 'f') mr_scan_fail(in, "true or false was expected");
    else if (mr_scan_skip(in)) *out = first == 't';
}

static void read_number(mr_scan *in, idx *out) {
    idx value = 0;
    if (!mr_scan_integer(in, &value)) return;
    if (value < 0) mr_scan_fail(in, "a number is negative");
    else *out = value;
}

/* One value; what is wrong with it is left in in->problem. */
static mr_status read_value(const mr_hf_reading *r, mr_scan *in, mr_hf_field *field) {
    field->seen = true;
    if (mr_scan_peek(in) == 'n') {
        if (field->needed) mr_scan_fail(in, "a value was expected, found null");
        else mr_scan_skip(in);
        return MR_OK;
    }
    switch (field->type) {
    case MR_HF_A_FLAG:   read_flag(in, field->out); break;
    case MR_HF_A_NUMBER: read_number(in, field->out); break;
    case MR_HF_A_STRING: return read_string(r, in, false, field->out);
    case MR_HF_A_NAME:   return read_string(r, in, true, field->out);
    case MR_HF_A_VALUE:
        *(mr_scan *)field->out = *in;
        mr_scan_skip(in);
        break;
    }
    return MR_OK;
}

mr_status mr_hf_fields(const mr_hf_reading *r, mr_scan in, const char *what, mr_hf_field *field,
                       int count) {
    mr_span key;
    mr_scan_enter(&in, '{');
    while (in.problem == NULL && mr_scan_key(&in, &key)) {
        int i = 0;
        while (i < count && !mr_span_is(&key, field[i].name)) i++;
        if (i == count) {
            mr_scan_skip(&in);
        } else if (field[i].seen) {
            return mr_fail(r->err, MR_BAD, "%s: %s has \"%s\" twice; remove one", r->path, what,
                           field[i].name);
        } else if (read_value(r, &in, &field[i]) != MR_OK) {
            return MR_BAD;
        }
    }
    if (in.problem != NULL) return mr_hf_problem(r, &in, what);
    for (int i = 0; i < count; i++)
        if (field[i].needed && !field[i].seen)
            return mr_fail(r->err, MR_BAD, "%s: %s has no \"%s\"; the file is damaged or of a kind "
                           "that is not supported", r->path, what, field[i].name);
    return MR_OK;
}
