/* Times opening and encoding inside one process: what bench/tokenizer_speed.py compares.
 *
 *     tokenize FILE TEXT     one JSON line: seconds for opening and its steps, encoding, decoding
 *
 * TEXT holds texts with a NUL byte after each. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tokenizer/file.h"
#include "tokenizer/json_scan.h"
#include "tokenizer/pretoken.h"
#include "tokenizer/tokenizer.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const mr_err *err) {
    fprintf(stderr, "tokenize: %s\n", err->text);
    exit(err->code);
}

/* The steps that can be told apart from outside; the rest is the vocabulary and its index. */
static mr_tokenizer *open_timed(const char *path, mr_err *err) {
    mr_tokenizer_file file;
    mr_tokenizer *tokenizer;
    double start = now(), walk = 0, classes = 0;
    if (mr_tokenizer_file_read(path, &file, err)) stop(err);
    double read = now() - start;
    if (file.size > 0 && file.bytes[0] == '{') {
        mr_scan in = mr_scan_open(file.bytes, file.size);
        start = now();
        mr_scan_skip(&in);
        walk = now() - start;
        start = now();
        mr_free(mr_pretoken_classes(err));
        classes = now() - start;
    }
    mr_tokenizer_file_free(&file);
    start = now();
    if (mr_tokenizer_open(path, &tokenizer, err)) stop(err);
    printf("{\"open\": %.6f, \"read\": %.6f, \"walk\": %.6f, \"classes\": %.6f", now() - start,
           read, walk, classes);
    return tokenizer;
}

int main(int argc, char **argv) {
    mr_err err = {0};
    mr_tokenizer_file text;
    mr_ids ids = {0};
    mr_text back = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: tokenize FILE TEXT\n");
        return MR_USAGE;
    }
    mr_tokenizer *tokenizer = open_timed(argv[1], &err);
    if (mr_tokenizer_file_read(argv[2], &text, &err)) stop(&err);

    double start = now();
    for (char *at = text.bytes, *end = at + text.size, *nul; at < end; at = nul + 1) {
        nul = memchr(at, '\0', (size_t)(end - at));
        if (nul == NULL) nul = end;
        if (mr_tokenizer_encode(tokenizer, at, nul - at, &ids, &err)) stop(&err);
    }
    double encode = now() - start;
    start = now();
    if (mr_tokenizer_decode(tokenizer, ids.id, ids.count, &back, &err)) stop(&err);
    printf(", \"encode\": %.6f, \"decode\": %.6f, \"bytes\": %td, \"ids\": %td}\n", encode,
           now() - start, text.size, ids.count);
    mr_text_free(&back);
    mr_ids_free(&ids);
    mr_tokenizer_file_free(&text);
    mr_tokenizer_close(tokenizer);
    return MR_OK;
}
