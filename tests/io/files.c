/* Files in memory and on disk. */
#define _GNU_SOURCE   /* nftw */

#include "tests/io/files.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char outputs[512];

static files *taking;

static void need(bool good, const char *path) {
    if (good) return;
    fprintf(stderr, "%s: the test can not read or write it\n", path);
    abort();
}

static int take(const char *path, const struct stat *about, int kind, struct FTW *at) {
    (void)at;
    if (kind != FTW_F) return 0;
    need(taking->count < KEPT, path);
    const int n = taking->count++;
    const size_t size = (size_t)about->st_size;
    unsigned char *byte = malloc(size + 1);   /* not the project's memory: a failure aborts */
    FILE *in = fopen(path, "rb");
    need(in != NULL && byte != NULL && fread(byte, 1, size, in) == size, path);
    fclose(in);
    snprintf(taking->file[n].name, sizeof taking->file[n].name, "%s", path + strlen(outputs) + 1);
    taking->file[n].byte = byte;
    taking->file[n].size = size;
    return 0;
}

void files_take(files *f) {
    *f = (files){0};
    taking = f;
    nftw(outputs, take, 8, FTW_PHYS);
}

void files_free(files *f) {
    for (int i = 0; i < f->count; i++) free(f->file[i].byte);
    *f = (files){0};
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *at) {
    (void)about;
    (void)kind;
    return at->level > 0 ? remove(path) : 0;
}

/* At most one folder deep. */
void files_put(const files *f) {
    nftw(outputs, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    for (int i = 0; i < f->count; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", outputs, f->file[i].name);
        char *slash = strrchr(path, '/');
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
        FILE *out = fopen(path, "wb");
        need(out != NULL && fwrite(f->file[i].byte, 1, f->file[i].size, out) == f->file[i].size,
             path);
        need(fclose(out) == 0, path);
    }
}

static bool same(const files *a, int i, const files *b, int j) {
    return a->file[i].size == b->file[j].size &&
           memcmp(a->file[i].byte, b->file[j].byte, a->file[i].size) == 0;
}

static int find(const files *f, const char *name) {
    for (int i = 0; i < f->count; i++)
        if (strcmp(f->file[i].name, name) == 0) return i;
    return -1;
}

const char *files_judge(const files *old, const files *new, bool done, bool left) {
    static char strange[128];
    files now;
    const char *found = NULL;
    files_take(&now);
    for (int i = 0; i < now.count; i++) {
        const char *name = now.file[i].name;
        const int o = find(old, name), n = find(new, name);
        if (left && strstr(name, ".tmp-") != NULL) continue;
        if (n >= 0 && same(&now, i, new, n)) continue;
        if (!done && o >= 0 && same(&now, i, old, o)) continue;
        found = name;
    }
    for (int i = 0; i < old->count; i++)
        if (find(&now, old->file[i].name) < 0) found = old->file[i].name;
    for (int i = 0; done && i < new->count; i++)
        if (find(&now, new->file[i].name) < 0) found = new->file[i].name;
    if (found != NULL) snprintf(strange, sizeof strange, "%s", found);
    files_free(&now);
    return found != NULL ? strange : NULL;
}
