/* The seeds of bugs.def as an enumeration, and the one that is switched on. */
#ifndef TESTS_PORT_BUGS_H
#define TESTS_PORT_BUGS_H

#include <stdbool.h>

typedef enum {
    BUG_NONE,
#define BUG(id, name, what, first, needs, example, cause) BUG_##id,
#include "tests/port/bugs.def"
    BUG_COUNT
} port_bug_id;

extern port_bug_id port_bug;

/* `if (bug(M01))` stands where the fault really happens. */
#define bug(id) (port_bug == BUG_##id)

bool port_bug_parse(const char *text);   /* by id or name; sets port_bug */
void port_bug_list(void);                /* one JSON object per line */

#endif
