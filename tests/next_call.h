/* A test program's own function that stands before that of a library calls the library's through
 * this. */
#ifndef MR_TESTS_NEXT_CALL_H
#define MR_TESTS_NEXT_CALL_H

#ifndef _GNU_SOURCE
#error "RTLD_NEXT needs _GNU_SOURCE before the first header"
#endif
#include "tests/scratch.h"

#include <dlfcn.h>

/* *call gets a pointer to it. POSIX lets what dlsym finds be called; C has no cast for it. */
static inline void next_call(const char *name, void *call) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    memcpy(call, &found, sizeof found);
}

#endif
