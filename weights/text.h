/* A growing piece of text: what JSON writers append to. */
#ifndef MR_WEIGHTS_TEXT_H
#define MR_WEIGHTS_TEXT_H

#include "ref/base.h"

/* {0} is empty. After the first failure (status, and err) appending does nothing, so writers look
 * once at the end. */
typedef struct {
    char     *data;      /* NUL-terminated once something was appended */
    idx       length, room;
    mr_err   *err;
    mr_status status;
} mr_writer;

void mr_writer_add(mr_writer *text, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
void mr_writer_bytes(mr_writer *text, const char *bytes, idx count);

/* A JSON string, quoted and escaped; what is not UTF-8 is refused. */
void mr_writer_quote(mr_writer *text, const char *string);

/* The shortest decimal that reads back as the same double, with a point or an exponent, in any
 * locale. */
void mr_writer_number(mr_writer *text, double value);

void mr_writer_free(mr_writer *text);

/* A copy on our heap; NULL with a message when memory is short. */
char *mr_string_copy(const char *string, mr_err *err);

/* FOLDER/NAME on our heap. */
char *mr_string_path(const char *folder, const char *name, mr_err *err);

#endif
