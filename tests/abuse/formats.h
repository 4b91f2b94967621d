/* Every file format with one function that reads all of a file and hashes what it says. */
#ifndef MR_TESTS_ABUSE_FORMATS_H
#define MR_TESTS_ABUSE_FORMATS_H

#include "tests/fuzz/fuzz.h"

typedef mr_status mr_abuse_read(const unsigned char *data, size_t size, uint64_t *hash,
                                mr_err *err);

typedef struct {
    const char    *name;     /* of the folder of samples, tests/fuzz/corpus/NAME */
    const char    *more;     /* a further sample, or NULL */
    mr_abuse_read *read;
    enum {
        ABUSE_TEXT,          /* JSON, after `skip` bytes */
        ABUSE_HEADED,        /* safetensors: u64 length, JSON, data */
        ABUSE_BINARY
    } kind;
    size_t         skip;
    bool           whole;    /* a file cut short is always refused */
} mr_abuse_format;

extern const mr_abuse_format mr_abuse_formats[];
extern const size_t          mr_abuse_count;

/* Files on both sides of the readers' limits; the number of findings. */
int mr_abuse_limits(void);

#endif
