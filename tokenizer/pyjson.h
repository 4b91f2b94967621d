/* JSON exactly as Python's json module reads and writes it: templates print tool texts through it,
 * so every digit and every escape decides about token ids. */
#ifndef MR_TOKENIZER_PYJSON_H
#define MR_TOKENIZER_PYJSON_H

#include "tokenizer/tokenizer.h"

#define MR_PY_DEPTH ((idx)64)    /* containers inside each other; Python gives up near 1000 */
#define MR_PY_DIGITS ((idx)4300) /* of an integer: Python's own limit for text to integer */

/* Bytes that somebody else owns; they may include NUL. */
typedef struct {
    const char *byte;
    idx         count;
} mr_py_span;

typedef enum {
    MR_PY_NULL, MR_PY_FALSE, MR_PY_TRUE, MR_PY_INT, MR_PY_FLOAT, MR_PY_STRING, MR_PY_LIST,
    MR_PY_DICT
} mr_py_kind;

/* A value. Integers keep their digits and are never a machine number. */
typedef struct mr_py mr_py;
struct mr_py {
    mr_py_kind kind;
    mr_py_span    text;  /* string: UTF-8, a lone surrogate as three bytes; integer: its digits */
    double     real;  /* float; NaN and infinities occur */
    mr_py     *first; /* list, dict: what is in it, in order */
    mr_py     *next;  /* the one after this in the same list or dict */
    mr_py_span    key;   /* of an entry of a dict */
    idx        items; /* entries of a list or dict */
    idx        order; /* place in the text among its neighbours */
};

/* Memory that is freed all at once. Starts as {0}. */
typedef struct mr_py_block mr_py_block;
typedef struct {
    mr_py_block *block;
} mr_py_arena;

/* Zeroed memory, aligned for any type; NULL with a message when there is none left. */
void *mr_py_alloc(mr_py_arena *arena, idx count, idx size, mr_err *err);
void  mr_py_free(mr_py_arena *arena);

/* json.loads. The text must be UTF-8. MR_BAD when it is refused; then *malformed (may be NULL)
 * says that Python raises JSONDecodeError, which mistral-common treats as "a plain string", and not
 * that a limit was met. Of equal keys the last value stays, at the place of the first. */
mr_status mr_py_read(mr_py_arena *arena, const char *text, idx bytes, const mr_py **out,
                     bool *malformed, mr_err *err);

/* Appends json.dumps(value, ensure_ascii=False). */
mr_status mr_py_write(const mr_py *value, mr_text *out, mr_err *err);
mr_status mr_py_write_string(mr_py_span string, mr_text *out, mr_err *err);

/* repr(x) of a Python float: shortest digits that read back as x. Returns the length. */
#define MR_PY_FLOAT_SIZE 40
int mr_py_float(double x, char out[MR_PY_FLOAT_SIZE]);

/* The entry of a dict; NULL when it is not there or `value` is no dict. */
const mr_py *mr_py_get(const mr_py *value, const char *key);

bool mr_py_is(mr_py_span span, const char *text);
bool mr_py_equal(mr_py_span a, mr_py_span b);

#endif
