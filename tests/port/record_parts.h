/* What the two halves of the recorder share: collecting (record.c), writing (record_write.c). */
#ifndef TESTS_PORT_RECORD_PARTS_H
#define TESTS_PORT_RECORD_PARTS_H

#include "tests/port/record.h"

typedef struct {
    char   name[96];
    int    rank;
    idx    dim[3], width;   /* width: elements of a row */
    bool   wide, integer;   /* float whatever the storage type is; int32 */
    float *data;            /* NULL: not recorded */
    bool  *seen;            /* [total] rows an expert got */
} port_tensor_buffer;

struct port_record {
    const char         *what;
    const port_model   *model;
    idx                 total;
    bool                scores;
    port_tensor_buffer *buffer;   /* [L][PORT_TENSORS + E] */
};

bool port_record_wants(const port_record *record, port_tensor tensor, const char *name);
port_tensor_buffer *port_record_at(const port_record *record, port_tensor tensor, idx layer);

#endif
