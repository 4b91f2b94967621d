/* stdio gives up when a signal interrupts it; a file is as long as before. */
#include "weights/input.h"

#include <errno.h>
#include <stdbool.h>

FILE *mr_input_open(const char *path) {
    FILE *in;
    do in = fopen(path, "rb");
    while (in == NULL && errno == EINTR);
    return in;
}

static bool interrupted(FILE *in) {
    if (!ferror(in) || errno != EINTR) return false;
    clearerr(in);
    return true;
}

size_t mr_input_read(void *to, size_t bytes, FILE *in) {
    size_t got = 0;
    do got += fread((char *)to + got, 1, bytes - got, in);
    while (got < bytes && interrupted(in));
    return got;
}

int mr_input_byte(FILE *in) {
    int byte;
    do byte = getc(in);
    while (byte == EOF && interrupted(in));
    return byte;
}
