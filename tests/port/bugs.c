/* The table of seeds: choosing one, listing all. */
#include "tests/port/bugs.h"

#include <stdio.h>
#include <string.h>

port_bug_id port_bug = BUG_NONE;

static const struct {
    const char *id, *name, *what, *first, *needs, *example, *cause;
} table[] = {
#define BUG(id, name, what, first, needs, example, cause) \
    {#id, name, what, first, needs, example, cause},
#include "tests/port/bugs.def"
};

bool port_bug_parse(const char *text) {
    for (int i = 0; i < (int)(sizeof table / sizeof *table); i++)
        if (strcmp(text, table[i].id) == 0 || strcmp(text, table[i].name) == 0) {
            port_bug = (port_bug_id)(i + 1);
            return true;
        }
    return false;
}

/* No text of the table holds a quote, a backslash or a control character. */
void port_bug_list(void) {
    for (int i = 0; i < (int)(sizeof table / sizeof *table); i++)
        printf("{\"id\":\"%s\",\"name\":\"%s\",\"what\":\"%s\",\"first\":\"%s\",\"needs\":\"%s\","
               "\"example\":\"%s\",\"cause\":\"%s\"}\n",
               table[i].id, table[i].name, table[i].what, table[i].first, table[i].needs,
               table[i].example, table[i].cause);
}
