/* What the two files that read a tekken.json share. */
#ifndef MR_TOKENIZER_TEKKEN_PARTS_H
#define MR_TOKENIZER_TEKKEN_PARTS_H

#include "tokenizer/json_scan.h"
#include "tokenizer/tekken.h"

enum {
    MR_TEKKEN_CONFIG, MR_TEKKEN_VOCAB, MR_TEKKEN_SPECIAL, MR_TEKKEN_MULTIMODAL,
    MR_TEKKEN_SETTINGS, MR_TEKKEN_SECTIONS
};

typedef struct {
    const char *path;
    mr_err     *err;
    mr_tekken  *tekken;
    char       *bytes;         /* the file, to write tokens over what was read */
    mr_scan     file;          /* the same, at its beginning */
    struct {
        const char *from, *to; /* NULL: absent or null */
    } section[MR_TEKKEN_SECTIONS];
    idx         size, special; /* number of ids, and how many of them are special */
    int         version;
    unsigned    seen;          /* settings of the config, one bit each */
    char       *to;            /* end of the tokens written so far */
} mr_tekken_reading;

static inline mr_scan mr_tekken_section(const mr_tekken_reading *r, int which) {
    return mr_scan_inside(&r->file, r->section[which].from, r->section[which].to);
}

/* Words a problem of the reader. */
mr_status mr_tekken_malformed(const mr_tekken_reading *r, const mr_scan *in);

/* One entry of a list: "rank", which must be `position`, and the string called `name`. */
mr_status mr_tekken_entry(const mr_tekken_reading *r, mr_scan *in, const char *list,
                          const char *name, idx position, mr_span *text);

/* tekken_special.c: the special tokens; moves all texts to tekken->blob. */
mr_status mr_tekken_specials(mr_tekken_reading *r);

#endif
