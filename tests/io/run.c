/* Runs in children: forked, so that every run begins alike and may be killed. */
#define _GNU_SOURCE   /* memfd_create */

#include "tests/io/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/inside.h"
#include "tests/io/files.h"

static const char input[] = "golden/chat/spm-v1.jsonl";   /* standard input: some text */

static int descriptors(void) {
    int count = 0;
    for (int fd = 3; fd < 64; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void child(const char *command, const fault_plan *plan) {
    char room[2048], *argv[WORDS];
    const int argc = words(command, outputs, room, argv), before = descriptors();
    fault_streams(STDIN_FILENO, STDOUT_FILENO);
    fault = *plan;
    const int status = mr_main(argc, argv);
    fflush(stdout);
    fault_end();
    fault_seen->open = descriptors() - before;
    exit(status);   /* not _exit: a sanitizer looks for leaks at the end */
}

outcome io_run(const char *command, const char *path, const fault_plan *plan) {
    const int out = path != NULL ? open(path, O_WRONLY) : memfd_create("out", 0),
              err = memfd_create("err", 0);
    outcome r = {0};
    int status;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(open(input, O_RDONLY), STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        child(command, plan);
    }
    waitpid(pid, &status, 0);
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    r.open = fault_seen->open;
    r.message[whole(err, r.message, sizeof r.message - 1)] = '\0';
    r.bytes = path != NULL ? 0 : (size_t)lseek(out, 0, SEEK_END);
    r.text = malloc(r.bytes + 1);   /* not the project's memory */
    whole(out, r.text, r.bytes);
    r.bytes = timeless(r.text, r.bytes);
    close(out);
    close(err);
    return r;
}

int io_run_for(const char *command, long microseconds) {
    int status;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        const int nothing = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++) dup2(nothing, fd);
        child(command, &(fault_plan){0});
    }
    nanosleep(&(struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000}, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status);
}
