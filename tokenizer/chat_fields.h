/* The fields of an object of a chat request: which may be there, which must, and of what type. */
#ifndef MR_TOKENIZER_CHAT_FIELDS_H
#define MR_TOKENIZER_CHAT_FIELDS_H

#include "tokenizer/pyjson.h"

/* The types are as lenient as mistral-common's models: "yes" is a bool, "0.5" a number. */
typedef enum {
    MR_FIELD_ANY, MR_FIELD_STRING, MR_FIELD_BOOL, MR_FIELD_LIST, MR_FIELD_DICT,
    MR_FIELD_FUNCTION, /* the word "function" */
    MR_FIELD_SHARE,    /* a number from 0 to 1 */
    MR_FIELD_COUNT     /* an integer of at least 0 */
} mr_field_type;

typedef struct {
    const char    *key;
    mr_field_type  type;
    bool           needed, nullable;
    const mr_py  **out; /* the value; NULL when absent or null. May itself be NULL */
} mr_field;

/* MR_BAD when `object` is no object, has a field that is not in the table, lacks one that is
 * needed, or has one of another type. `where` opens the message ("messages[2]"). */
mr_status mr_chat_fields(const mr_py *object, const char *where, const mr_field *field, idx fields,
                         mr_err *err);

/* The beginning of a stranger's text, for a message. */
#define MR_CHAT_SHOWN 80
const char *mr_chat_shown(mr_py_span text, char shown[MR_CHAT_SHOWN]);

/* The value of a field of type BOOL: absent is false. */
bool mr_chat_true(const mr_py *value);

/* The text of a field of type STRING; `absent` when it is not there. */
mr_py_span mr_chat_string(const mr_py *value, const char *absent);

#endif
