/* The grammar of Python's regular expressions, below the level of groups. */
#ifndef MR_TOKENIZER_CHAT_REGEX_H
#define MR_TOKENIZER_CHAT_REGEX_H

#include "tokenizer/chat_request.h"

enum { MR_RE_GROUPS = 500, MR_RE_DEPTH = 150 };
#define MR_RE_END 0xFFFFFFFFu            /* no further character */
#define MR_RE_WIDEST ((uint64_t)1 << 40) /* widths saturate here; no look-behind is as wide */

/* Characters that an item takes. */
typedef struct {
    uint64_t least, most;
} mr_re_width;

typedef struct {
    uint32_t code;
    bool     escaped; /* a backslash stood before it */
    idx      bytes;
} mr_re_character;

/* A pattern being read. `bad` ends every loop, because then nothing is left to read. */
typedef struct {
    const char *at, *end;
    bool        bad;
    bool        verbose, ascii, unicode; /* flags of the whole pattern */
    int         depth;
    idx         groups;  /* the number of the next group, from 1 */
    idx         outside; /* the same before a look-behind that we are in; 0: in none */
    idx         wanted;  /* largest number that a condition asks for */
    bool        closed[MR_RE_GROUPS];
    mr_re_width taken[MR_RE_GROUPS];
    mr_py_span     name[MR_RE_GROUPS];
} mr_re;

/* What stands before a repeat sign decides whether it may be repeated. */
typedef enum { MR_RE_NONE, MR_RE_PLACE, MR_RE_REPEAT, MR_RE_OTHER } mr_re_item;

bool            mr_re_fails(mr_re *p);   /* marks the pattern as bad; returns false */
mr_re_character mr_re_peek(mr_re *p);
mr_re_character mr_re_get(mr_re *p);
bool            mr_re_take(mr_re *p, char wanted);
bool            mr_re_among(mr_re_character c, const char *set); /* unescaped one of these */
mr_py_span         mr_re_until(mr_re *p, char close);
bool            mr_re_may_refer(mr_re *p, idx group); /* the group exists and is closed */

mr_re_item mr_re_escape(mr_re *p, uint32_t letter, mr_re_width *out);
void       mr_re_set(mr_re *p);
bool       mr_re_repeat(mr_re *p, uint32_t sign, mr_re_item last, mr_re_width *taken);

#endif
