/* The folder of outputs of a run: emptied, filled with older files, and judged. */
#ifndef MR_TESTS_IO_FILES_H
#define MR_TESTS_IO_FILES_H

#include <stdbool.h>
#include <stddef.h>

#define KEPT 16

/* Files in memory, by their path below the folder. */
typedef struct {
    int count;
    struct {
        char           name[128];
        unsigned char *byte;
        size_t         size;
    } file[KEPT];
} files;

extern char outputs[512];

void files_take(files *f);          /* what the folder holds */
void files_put(const files *f);     /* the folder holds these, and nothing else */
void files_free(files *f);

/* NULL, or the name of a file that is strange: one of neither set. Of an old file, the old or the
 * new content must be there. `done`: exactly the new files. `left`: temporary files do not
 * count. */
const char *files_judge(const files *old, const files *new, bool done, bool left);

#endif
