/* Reading the objects of a tokenizer.json: their fields in any order, each at most once. */
#ifndef MR_TOKENIZER_HF_READ_H
#define MR_TOKENIZER_HF_READ_H

#include "tokenizer/hf.h"
#include "tokenizer/json_scan.h"

typedef struct {
    const char *path;
    mr_hf      *hf;
    mr_err     *err;
} mr_hf_reading;

typedef enum {
    MR_HF_A_FLAG,    /* bool */
    MR_HF_A_NUMBER,  /* idx, not negative */
    MR_HF_A_STRING,  /* mr_hf_string; its escapes are removed in the file itself: read once */
    MR_HF_A_NAME,    /* mr_hf_string as it stands in the file, escapes and all */
    MR_HF_A_VALUE    /* mr_scan that stands before the value, for later */
} mr_hf_type;

/* A field that is absent or null leaves *out alone. */
typedef struct {
    const char *name;
    mr_hf_type  type;
    void       *out;
    bool        needed, seen;
} mr_hf_field;

/* Reads the object at `in`. Unknown fields are passed over, as the library does. */
mr_status mr_hf_fields(const mr_hf_reading *r, mr_scan in, const char *what, mr_hf_field *field,
                       int count);

/* The text of a string of the file, unescaped in its place. */
mr_status mr_hf_text(const mr_hf_reading *r, const mr_span *span, mr_hf_string *text);

/* "PATH: WHAT: byte N: problem". */
mr_status mr_hf_problem(const mr_hf_reading *r, const mr_scan *in, const char *what);

/* A name from the file for a message: cut off, and nothing a terminal would act on. */
typedef struct {
    char text[48];
} mr_hf_shown;
mr_hf_shown mr_hf_show(const mr_hf_string *name);

/* Whether two strings, the first from the file as it stands, are equal. */
bool mr_hf_same(const mr_span *span, const mr_hf_string *string);

bool mr_hf_is(const mr_hf_string *string, const char *text);

/* hf_parts.c, hf_template.c, hf_model.c, hf_added.c: the parts of the file. Added tokens come
 * last, since some of them have to be normalized. */
mr_status mr_hf_read_normalizer(const mr_hf_reading *r, const mr_scan *in);
mr_status mr_hf_read_pretokenizer(const mr_hf_reading *r, const mr_scan *in);
mr_status mr_hf_read_decoder(const mr_hf_reading *r, const mr_scan *in);
mr_status mr_hf_read_template(const mr_hf_reading *r, const mr_scan *in);
mr_status mr_hf_read_model(const mr_hf_reading *r, const mr_scan *in);
mr_status mr_hf_read_added(const mr_hf_reading *r, const mr_scan *in);

/* "Sequence" may hold further sequences; this many inside each other are read. */
#define MR_HF_DEPTH 8

#endif
