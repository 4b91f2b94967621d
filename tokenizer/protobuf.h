/* A bounds-checked reader for protobuf messages: the only code that touches a model file's bytes
 * before they are proved sane. It allocates nothing and never reads outside [at, end). */
#ifndef MR_TOKENIZER_PROTOBUF_H
#define MR_TOKENIZER_PROTOBUF_H

#include "ref/base.h"

/* Wire types: how a field's value is stored. 3 and 4 (groups) are obsolete and refused. */
enum { MR_PB_VARINT = 0, MR_PB_FIXED64 = 1, MR_PB_BYTES = 2, MR_PB_FIXED32 = 5 };

typedef struct {
    const char *start;   /* of the whole file, so that offsets in messages are file offsets */
    const char *at, *end;
    const char *problem; /* NULL, or what was wrong at `at`; then nothing more is read */
} mr_pb;

typedef struct {
    uint32_t    number;
    int         wire;
    uint64_t    value;   /* VARINT, FIXED32, FIXED64 */
    const char *bytes;   /* BYTES: a view into the file */
    idx         size;
} mr_pb_field;

mr_pb mr_pb_open(const char *bytes, idx size);

/* A reader for the message inside a BYTES field. */
mr_pb mr_pb_inside(const mr_pb *outer, const mr_pb_field *field);

/* Takes the next field. False at the end and on malformed bytes; `problem` tells the two apart. */
bool mr_pb_next(mr_pb *in, mr_pb_field *field);

/* Value conversions, as protobuf defines them. */
float   mr_pb_float(const mr_pb_field *field); /* FIXED32 */
int32_t mr_pb_int32(const mr_pb_field *field); /* VARINT; -1 is stored as a ten-byte varint */

#endif
