/* JSON files read with jansson: bounded, duplicate keys refused, one-line messages, and getters
 * that tell absent, null and wrong type apart. */
#ifndef MR_WEIGHTS_JSON_H
#define MR_WEIGHTS_JSON_H

#include <jansson.h>

#include "ref/base.h"

#define MR_JSON_CONFIG_CAP ((idx)1000000)     /* bytes of a configuration */
#define MR_JSON_HEADER_CAP ((idx)100000000)   /* bytes of a safetensors header or a shard index */

#define MR_JSON_DEPTH 64                      /* levels of nesting */

/* Has the text more levels than that? For a parser that is called without the functions below. */
bool mr_json_deep(const char *text, idx bytes);

/* Parses `bytes` of text into *out (json_decref is the caller's). `source` opens the messages:
 * "SOURCE: line L, column C: reason". NUL inside a string is refused. */
mr_status mr_json_text(const char *source, const char *text, idx bytes, json_t **out, mr_err *err);

/* The same for text that begins on that line of the source, from 1. */
mr_status mr_json_line(const char *source, idx line, const char *text, idx bytes, json_t **out,
                       mr_err *err);

/* The same for a file of at most `cap` bytes. */
mr_status mr_json_file(const char *path, idx cap, json_t **out, mr_err *err);

/* An object being read. The first failure stays in `status` (and in err), so that a reader can ask
 * for all its keys and look once at the end. */
typedef struct {
    const json_t *object;
    const char   *source;   /* opens every message */
    const char   *prefix;   /* of the key in messages: "" or "moe." */
    mr_err       *err;
    mr_status     status;
} mr_json;

/* WRONG: another type or out of range; the failure is recorded already. */
typedef enum { MR_JSON_ABSENT, MR_JSON_NULL, MR_JSON_FOUND, MR_JSON_WRONG } mr_json_found;

/* *out is written only when FOUND. An integer is a number without fraction or exponent; a number
 * is either. */
mr_json_found mr_json_int(mr_json *reader, const char *key, idx *out);
mr_json_found mr_json_number(mr_json *reader, const char *key, double *out);
mr_json_found mr_json_bool(mr_json *reader, const char *key, bool *out);
mr_json_found mr_json_string(mr_json *reader, const char *key, const char **out);   /* borrowed */
mr_json_found mr_json_object(mr_json *reader, const char *key, const json_t **out);  /* borrowed */
mr_json_found mr_json_array(mr_json *reader, const char *key, const json_t **out);   /* borrowed */

/* A key that must be there with a value: records "expected WHAT, found nothing" or "found null". */
void mr_json_need_int(mr_json *reader, const char *key, idx *out);
void mr_json_need_number(mr_json *reader, const char *key, double *out);

/* Value of an integer, or the nearest that idx holds; 0 of anything else. */
idx mr_json_idx(const json_t *value);

/* What a value is, in words of JSON: "a string", "null", ... */
const char *mr_json_kind(const json_t *value);

#endif
