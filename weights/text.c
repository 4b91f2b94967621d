/* A growing piece of text, numbers and strings as JSON wants them. */
#include "weights/text.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Doubles its room, so that a header of n tensors costs O(n). */
void mr_writer_bytes(mr_writer *t, const char *bytes, idx count) {
    idx need;
    if (t->status != MR_OK) return;
    if (!mr_add(t->length, count, &need) || !mr_add(need, 1, &need)) {
        t->status = mr_fail(t->err, MR_BAD, "text of more than %td bytes", MR_IDX_MAX);
        return;
    }
    if (need > t->room) {
        idx room = need > MR_IDX_MAX / 2 ? need : 2 * need;
        char *larger = mr_resize(t->data, room, 1, t->err);
        if (larger == NULL) {
            t->status = MR_BAD;
            return;
        }
        t->data = larger;
        t->room = room;
    }
    memcpy(t->data + t->length, bytes, (size_t)count);
    t->length += count;
    t->data[t->length] = '\0';
}

/* Only for short pieces: names and strings, whose length is not ours to know, go through the other
 * two. */
void mr_writer_add(mr_writer *t, const char *format, ...) {
    char piece[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (length < 0 || length >= (int)sizeof piece)
        t->status = mr_fail(t->err, MR_BAD, "internal: a piece of text of %d bytes", length);
    else
        mr_writer_bytes(t, piece, length);
}

/* jansson checks UTF-8 and escapes; both must agree with what our reader accepts. */
void mr_writer_quote(mr_writer *t, const char *string) {
    json_t *value = json_string(string);        /* NULL when it is not UTF-8 */
    char   *quoted = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    if (quoted != NULL)
        mr_writer_bytes(t, quoted, (idx)strlen(quoted));
    else if (t->status == MR_OK)
        t->status = mr_fail(t->err, MR_BAD, "a name or value to be written is not UTF-8");
    free(quoted);                               /* jansson's allocator, not ours */
    json_decref(value);
}

/* 1 to 17 digits: 17 always read back, fewer often do, and 1e-05 is what people expect to see. */
void mr_writer_number(mr_writer *t, double value) {
    char number[400];
    int  digits = 1;
    if (isfinite(value) && fabs(value) < 1e15 && value == rint(value)) {
        snprintf(number, sizeof number, "%.1f", value);
    } else {
        do snprintf(number, sizeof number, "%.*g", digits, value);
        while (strtod(number, NULL) != value && digits++ < 17);
    }
    for (char *c = number; *c != '\0'; c++)     /* the decimal point of the locale */
        if (strchr("+-0123456789eE", *c) == NULL) *c = '.';
    mr_writer_bytes(t, number, (idx)strlen(number));
}

void mr_writer_free(mr_writer *t) {
    mr_free(t->data);
    *t = (mr_writer){0};
}

char *mr_string_copy(const char *string, mr_err *err) {
    idx   bytes = (idx)strlen(string) + 1;
    char *copy = mr_alloc(bytes, 1, err);
    return copy != NULL ? memcpy(copy, string, (size_t)bytes) : NULL;
}

char *mr_string_path(const char *folder, const char *name, mr_err *err) {
    idx   bytes = (idx)(strlen(folder) + strlen(name)) + 2;
    char *path = mr_alloc(bytes, 1, err);
    if (path != NULL) snprintf(path, (size_t)bytes, "%s/%s", folder, name);
    return path;
}
