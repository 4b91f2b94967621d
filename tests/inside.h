/* The program inside a test program: its main in a forked child, what it printed, what it left. */
#ifndef MR_TESTS_INSIDE_H
#define MR_TESTS_INSIDE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int mr_main(int argc, char **argv);   /* main of cli/main.c, renamed by the Makefile */

enum { WORDS = 48 };

/* So many that a trace of them does not wait in memory for its end (golden/trace_write.c). */
#define FIFTY_TOKENS "1,5,3,2,7,9,4,8,6,0,1,5,3,2,7,9,4,8,6,0,1,5,3,2,7,9,4,8,6,0," \
                     "1,5,3,2,7,9,4,8,6,0,1,5,3,2,7,9,4,8,6,0,"
#define MANY_TOKENS " --tokens " FIFTY_TOKENS FIFTY_TOKENS FIFTY_TOKENS FIFTY_TOKENS \
                    FIFTY_TOKENS FIFTY_TOKENS "1 "

/* A command line as main gets it; @ stands for a folder. */
static inline int words(const char *command, const char *folder, char *room, char **argv) {
    int argc = 0;
    argv[argc++] = (char *)"mistral-ref";
    for (argv[argc++] = room; *command != '\0'; command++) {
        if (*command == '@') room += sprintf(room, "%s", folder);
        else if (*command != ' ') *room++ = *command;
        else {
            *room++ = '\0';
            argv[argc++] = room;
        }
    }
    *room = '\0';
    if (*argv[argc - 1] == '\0') argc--;   /* a blank at the end */
    argv[argc] = NULL;
    return argc;
}

static inline size_t whole(int fd, char *into, size_t most) {
    const ssize_t got = pread(fd, into, most, 0);
    return got > 0 ? (size_t)got : 0;
}

/* Takes the time out of "0.3 seconds", which is never the same; the length that is left. The text
 * has room for a NUL. */
static inline size_t timeless(char *text, size_t size) {
    text[size] = '\0';
    char *end = strstr(text, " seconds"), *from = end;
    if (end == NULL) return size;
    while (from > text && strchr("0123456789.", from[-1]) != NULL) from--;
    memmove(from, end, strlen(end) + 1);
    return size - (size_t)(end - from);
}

/* Lines that start with the program's name and are no notes. */
static inline int messages(const char *text) {
    static const char name[] = "mistral-ref: ";
    int count = 0;
    for (const char *at = text; at != NULL && *at != '\0'; ) {
        if (strncmp(at, name, sizeof name - 1) == 0 && strncmp(at + 13, "note: ", 6) != 0) count++;
        at = strchr(at, '\n');
        if (at != NULL) at++;
    }
    return count;
}

#endif
