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

/* Reads the file at `path`, or the tokenizer in the folder `path`: the one tokenizer.model.vN or
 * tekken.json there, else tokenizer.model, else tokenizer.json. A name with a version wins over
 * the same name without, because it says more. Mistral's own formats win over Hugging Face's,
 * because their ids are the ones that the models were trained with. Two of them are two
 * vocabularies: refused, as mistral-inference does, rather than guessed. */
mr_status mr_tokenizer_file_read(const char *path, mr_tokenizer_file *file, mr_err *err);

/* Frees what is still there; set a member to NULL when somebody else took it over. */
void mr_tokenizer_file_free(mr_tokenizer_file *file);

#endif
