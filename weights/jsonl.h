/* JSON Lines: a file of JSON objects, one per line, read one at a time. */
#ifndef MR_WEIGHTS_JSONL_H
#define MR_WEIGHTS_JSONL_H

#include <stdio.h>

#include "weights/json.h"

#define MR_JSONL_LINE_CAP ((idx)16000000)   /* bytes of one line */

/* {0} is not open. */
typedef struct {
    FILE       *file;
    const char *path;        /* the caller's; opens every message */
    char       *text;        /* the line being read */
    idx         bytes, room;
    idx         line;        /* its number, from 1 */
} mr_jsonl;

mr_status mr_jsonl_open(mr_jsonl *lines, const char *path, mr_err *err);

/* The next object, NULL at the end; json_decref is the caller's. Blank lines are passed over; any
 * other line that is not one JSON object is refused: "PATH: line L, column C: reason". */
mr_status mr_jsonl_next(mr_jsonl *lines, json_t **object, mr_err *err);

void mr_jsonl_close(mr_jsonl *lines);

#endif
