/* Runs ./mistral-ref as a user does: a command line, its exit status, what it printed. Include
 * first: it asks for POSIX. */
#ifndef MR_TESTS_COMMAND_H
#define MR_TESTS_COMMAND_H

#include "tests/scratch.h"

#include <sys/wait.h>

static char out[1 << 16], err[1 << 14];

static inline void slurp(const char *name, char *into, size_t size) {
    FILE *in = fopen(scratch(name), "rb");
    const size_t got = in != NULL ? fread(into, 1, size - 1, in) : 0;
    into[got] = '\0';
    if (in != NULL) fclose(in);
}

/* Runs `./mistral-ref ARGS`, where every @ stands for the scratch folder; leaves its output in out
 * and err. */
static inline int run(const char *args) {
    char command[4096], *at = command;
    at += snprintf(at, 2048, "./mistral-ref ");
    for (; *args != '\0'; args++)
        if (*args == '@') at += sprintf(at, "%s", scratch_folder);
        else *at++ = *args;
    sprintf(at, " >%s/out 2>%s/err", scratch_folder, scratch_folder);
    const int status = system(command);
    slurp("out", out, sizeof out);
    slurp("err", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* cmocka's group teardown: the commands made folders, too. */
static inline int remove_scratch(void **state) {
    char command[600];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", scratch_folder);
    return system(command);
}

/* Command, its status, and what standard output and standard error must contain ("" anything). */
typedef struct {
    const char *args;
    int         status;
    const char *out, *err;
} expectation;

static inline void check_all(const expectation *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const int status = run(e[i].args);
        if (status != e[i].status)
            fail_msg("%s: status %d, want %d\n%s%s", e[i].args, status, e[i].status, out, err);
        if (strstr(out, e[i].out) == NULL)
            fail_msg("%s: output lacks \"%s\":\n%s", e[i].args, e[i].out, out);
        if (strstr(err, e[i].err) == NULL)
            fail_msg("%s: message lacks \"%s\":\n%s", e[i].args, e[i].err, err);
    }
}

#define CHECK_ALL(table) check_all(table, sizeof table / sizeof *table)

#endif
