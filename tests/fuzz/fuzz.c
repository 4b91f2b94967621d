/* Files, refusals and tokenizers for the fuzz targets. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <unistd.h>

static char folder[512];

void fuzz_broken(const char *file, int line, const char *property, const char *message) {
    fprintf(stderr, "%s:%d: %s does not hold%s%s\n", file, line, property,
            message != NULL ? ": " : "", message != NULL ? message : "");
    abort();
}

void fuzz_refused(mr_status status, const mr_err *err) {
    FUZZ(status == MR_USAGE || status == MR_BAD || status == MR_MISSING);
    FUZZ(err->code == status);
    FUZZ(err->text[0] != '\0');
    for (const char *c = err->text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            fuzz_broken(__FILE__, __LINE__, "a message of printable characters", err->text);
}

static void remove_folder(void) {
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL; )
        if (e->d_name[0] != '.') remove(fuzz_path(e->d_name));
    closedir(dir);
    rmdir(folder);
}

const char *fuzz_path(const char *name) {
    static char path[8][1024];
    static int  next;
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/mistral-ref-fuzz-XXXXXX",
                 base != NULL && *base != '\0' ? base : "/tmp");
        FUZZ(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

const char *fuzz_file(const char *name, const void *data, size_t size) {
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wb");
    FUZZ(file != NULL);
    FUZZ(size == 0 || fwrite(data, 1, size, file) == size);
    FUZZ(fclose(file) == 0);
    return path;
}

static const mr_tokenizer *kept[16];

static void close_kept(void) {
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        mr_tokenizer_close((mr_tokenizer *)kept[i]);
}

const mr_tokenizer *fuzz_tokenizer(const char *path) {
    static const char *name[sizeof kept / sizeof *kept];
    size_t i = 0;
    while (kept[i] != NULL && strcmp(name[i], path) != 0) i++;
    if (kept[i] != NULL) return kept[i];
    mr_err err = {0};
    mr_tokenizer *opened;
    FUZZ_OK(mr_tokenizer_open(path, &opened, &err), &err);
    if (i == 0) atexit(close_kept);
    name[i] = path;
    return kept[i] = opened;
}
