/* The command line of the port program. */
#ifndef TESTS_PORT_OPTIONS_H
#define TESTS_PORT_OPTIONS_H

#include "tests/port/port.h"

typedef struct {
    const char *model, *output, *record, *dtype, *acc, *layout_name;
    port_layout layout;
    port_sequence *sequence;
    int32_t       *ids;                  /* of all sequences */
    idx  sequences, total, chunk, decode, reuse;
    bool half, list;
} port_options;

/* Also sets port_store, port_acc and port_bug. */
mr_status port_options_read(int argc, char **argv, port_options *out, mr_err *err);
void      port_options_free(port_options *options);

#endif
