/* A strict JSON reader that builds no tree: it walks over the text and hands out views into it.
 *
 * For large files of a known shape, where a tree would cost ten times the time of reading. Keys
 * may come in any order and unknown values are skipped, but all that is passed over is checked:
 * syntax, UTF-8, nesting of at most MR_SCAN_DEPTH. It allocates nothing and never recurses.
 *
 *     mr_span key;
 *     mr_scan_enter(&in, '{');
 *     while (mr_scan_key(&in, &key)) {
 *         if (mr_span_is(&key, "rank")) mr_scan_integer(&in, &rank);
 *         else mr_scan_skip(&in);
 *     }
 *     if (in.problem != NULL) ...                                                              */
#ifndef MR_TOKENIZER_JSON_SCAN_H
#define MR_TOKENIZER_JSON_SCAN_H

#include "ref/base.h"

#define MR_SCAN_DEPTH 64 /* objects and lists inside each other in a skipped value */

typedef struct {
    const char *start;   /* of the whole file, so that offsets in messages are file offsets */
    const char *at, *end;
    const char *problem; /* NULL, or what was wrong at `at`; then nothing more is read */
    bool        fresh;   /* just entered: no comma before the next key or item */
} mr_scan;

/* A string as it stands between its quotes. */
typedef struct {
    const char *bytes;
    idx         size;
    bool        escaped; /* has backslashes: see mr_span_text */
} mr_span;

mr_scan mr_scan_open(const char *bytes, idx size);

/* A reader for a part of the file that was skipped before. */
mr_scan mr_scan_inside(const mr_scan *outer, const char *from, const char *to);

/* The character that the next value starts with, '\0' at the end of the text or after a problem. */
char mr_scan_peek(mr_scan *in);

/* Expects and takes '{' or '['. */
bool mr_scan_enter(mr_scan *in, char bracket);

/* The next key of an object, up to and with its colon; false at the '}', which is taken. */
bool mr_scan_key(mr_scan *in, mr_span *key);

/* Whether a list has another item, which comes next; false at the ']', which is taken. */
bool mr_scan_item(mr_scan *in);

/* The next value, of a given type or of any. False with `problem` set when it is not. */
bool mr_scan_string(mr_scan *in, mr_span *text);
bool mr_scan_integer(mr_scan *in, idx *value); /* no fraction, no exponent, fits idx */
bool mr_scan_skip(mr_scan *in);

/* Only blanks may follow the outermost value. */
bool mr_scan_finish(mr_scan *in);

/* Records a problem found by the caller; the first one stays. Always false. */
bool mr_scan_fail(mr_scan *in, const char *problem);

/* Writes the string without its escapes to out[0..size), which may be the span's own place.
 * Returns its length, never more than size; -1 when half of a surrogate pair stands alone. */
idx mr_span_text(const mr_span *span, char *out);

/* Whether the string is this text. */
bool mr_span_is(const mr_span *span, const char *text);

#endif
