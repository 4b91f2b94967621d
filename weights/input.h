/* Reading through stdio where a signal may come: an interrupted call is repeated, not an error. */
#ifndef MR_WEIGHTS_INPUT_H
#define MR_WEIGHTS_INPUT_H

#include <stdio.h>

/* fopen for reading bytes; NULL with errno. */
FILE *mr_input_open(const char *path);

/* fread and getc: fewer bytes than asked for, or EOF, at the end of the file or with ferror. */
size_t mr_input_read(void *to, size_t bytes, FILE *in);
int    mr_input_byte(FILE *in);

#endif
