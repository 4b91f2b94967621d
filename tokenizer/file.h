/* From a path to the bytes of one tokenizer file. */
#ifndef MR_TOKENIZER_FILE_H
#define MR_TOKENIZER_FILE_H

#include "ref/base.h"

#define MR_TOKENIZER_FILE_MAX ((idx)256 << 20) /* bytes */

typedef struct {
    char *path;  /* of the file itself, when the path given was its folder */
    char *bytes;
    idx   size;
} mr_tokenizer_file;

/* Reads the file at `path`, or the tokenizer in the folder `path`: the one tokenizer.model.vN
 * there, else tokenizer.model. A name with a version wins because it says more; two of them are
 * ambiguous and refused. */
mr_status mr_tokenizer_file_read(const char *path, mr_tokenizer_file *file, mr_err *err);

/* Frees what is still there; set a member to NULL when somebody else took it over. */
void mr_tokenizer_file_free(mr_tokenizer_file *file);

#endif
