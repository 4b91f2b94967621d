/* One run of a command in a child whose system calls fail as planned. */
#ifndef MR_TESTS_IO_RUN_H
#define MR_TESTS_IO_RUN_H

#include <stddef.h>

#include "tests/io/faults.h"

typedef struct {
    int    status;          /* of the process; 128 + signal */
    int    open;            /* descriptors left open */
    char   message[4096];
    size_t bytes;
    char  *text;            /* standard output */
} outcome;

/* @ in the command is the folder of outputs. out: standard output, or NULL to keep it. */
outcome io_run(const char *command, const char *out, const fault_plan *plan);

/* The same, killed after some time; true if it was still running. */
int io_run_for(const char *command, long microseconds);

#endif
