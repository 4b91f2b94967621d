/* What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput: libFuzzer calls
 * it with inputs it makes up (make fuzz), and tests/test_fuzz.c with the committed ones. Include
 * first (POSIX). */
#ifndef MR_TESTS_FUZZ_FUZZ_H
#define MR_TESTS_FUZZ_FUZZ_H

#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program with the place and the reason unless the property holds. */
#define FUZZ(property) \
    ((property) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #property, NULL))
#define FUZZ_OK(status, err) \
    ((status) == MR_OK ? (void)0 : fuzz_broken(__FILE__, __LINE__, #status, (err)->text))

void fuzz_broken(const char *file, int line, const char *property, const char *message);

/* A refusal has one of the documented statuses and a message that a terminal can show. */
void fuzz_refused(mr_status status, const mr_err *err);

/* The input as a file of this program's own folder, removed at the end. Valid until the next call
 * but seven. */
const char *fuzz_path(const char *name);
const char *fuzz_file(const char *name, const void *data, size_t size);

/* A committed tokenizer, opened once and kept. */
const mr_tokenizer *fuzz_tokenizer(const char *path);

#endif
