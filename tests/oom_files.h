/* The folder of outputs of tests/oom.c: emptied, and judged against what the untouched run left. */
#ifndef MR_TESTS_OOM_FILES_H
#define MR_TESTS_OOM_FILES_H

#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char outputs[512];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    return at->level > 0 ? remove(path) : 0;
}

static void clean(void) { nftw(outputs, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

#define FILES 16

static struct {
    char     name[256];
    uint64_t hash;
} known[FILES];
static int known_count;
static const char *strange;   /* a file that the untouched run does not write */
static bool tidy;             /* temporary files are strange, too */

static uint64_t hash_of(const char *path) {
    uint64_t hash = UINT64_C(14695981039346656037);
    FILE *in = fopen(path, "rb");
    for (int c; in != NULL && (c = getc(in)) != EOF; )
        hash = (hash ^ (uint64_t)c) * UINT64_C(1099511628211);
    if (in != NULL) fclose(in);
    return hash;
}

static int remember(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)at;
    if (kind != FTW_F || known_count == FILES) return 0;
    snprintf(known[known_count].name, sizeof known[0].name, "%s", path);
    known[known_count++].hash = hash_of(path);
    return 0;
}

/* Only complete files. */
static int look(const char *path, const struct stat *info, int kind, struct FTW *at) {
    static char name[256];
    (void)info;
    (void)at;
    if (kind != FTW_F) return 0;
    if (strstr(path, ".tmp-") != NULL && !tidy) return 0;
    for (int i = 0; i < known_count; i++)
        if (strcmp(known[i].name, path) == 0 && known[i].hash == hash_of(path)) return 0;
    snprintf(name, sizeof name, "%s", path);
    strange = name;
    return 0;
}

#endif
