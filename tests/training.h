/* Training runs for the tests: the JSON lines they print, files they leave, processes that are
 * stopped in the middle. Include first (POSIX). */
#ifndef MR_TESTS_TRAINING_H
#define MR_TESTS_TRAINING_H

#define _DEFAULT_SOURCE   /* wait4 */

#include "tests/command.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#define DENSE "golden/cases/dense_gqa_w5"
#define MOE   "golden/cases/mixtral_e5k2"
#define SFT_DATA "golden/trajectories/sft.jsonl"
#define DPO_DATA "golden/trajectories/dpo.jsonl"

/* Runs the program and fails with its message unless it ends with 0. */
static inline void run_well(const char *args) {
    const int status = run(args);
    if (status != 0) fail_msg("%s: status %d\n%s", args, status, err);
}

/* Object number n of what the last command printed, one per line. */
static inline json_t *line_of(idx n) {
    const char *at = out;
    for (; n > 0 && at != NULL; n--) at = strchr(at, '\n') != NULL ? strchr(at, '\n') + 1 : NULL;
    json_t *line = at != NULL ? json_loads(at, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    if (line == NULL) fail_msg("line %td of the output is not there:\n%s", n, out);
    return line;
}

/* A number of that line. */
static inline double number_of(idx line, const char *key) {
    json_t *object = line_of(line);
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("line %td has no number \"%s\":\n%s", line, key, out);
    const double number = json_number_value(value);
    json_decref(object);
    return number;
}

static inline void write_file(const char *name, const char *text) {
    scratch_write(name, text, strlen(text));
}

static inline void same_files(const char *a, const char *b) {
    size_t n, m;
    unsigned char *x = scratch_read(scratch(a), &n), *y = scratch_read(scratch(b), &m);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

/* Starts ./mistral-ref with these arguments (every @ is the scratch folder), its output dropped. */
static inline pid_t start(const char *args) {
    static char copy[4096];
    char *word[64], *at = copy;
    int words = 0;
    for (const char *c = args; *c != '\0'; c++)
        if (*c == '@') at += sprintf(at, "%s", scratch_folder);
        else *at++ = *c;
    *at = '\0';
    word[words++] = (char *)"./mistral-ref";
    for (char *w = strtok(copy, " "); w != NULL && words < 63; w = strtok(NULL, " "))
        word[words++] = w;
    word[words] = NULL;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0) return child;
    const int nothing = open("/dev/null", O_WRONLY);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    execv("./mistral-ref", word);
    _exit(127);
}

static inline void sleep_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

#endif
