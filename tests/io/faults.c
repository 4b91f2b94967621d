/* The system calls of the program, wrapped by the linker (see the Makefile), and stdio on top of
 * them: glibc's own calls can not be wrapped, so streams are made of cookies. fsync is counted and
 * not done: nobody pulls the plug, and it is slow. */
#define _GNU_SOURCE   /* fopencookie */

#include "tests/io/faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHORT 7
#define FILES 256

fault_plan fault;
fault_log *fault_seen;

/* What every descriptor is, to see that a file is flushed before it gets its name. */
static struct {
    bool written, folder;
    char path[512];
} file[FILES];
static int  renamed;   /* renames whose folder is not flushed */
static bool inside;    /* the program runs, and not the test */

/* Counts a call. 0: go on, with *bytes perhaps fewer; otherwise the errno to fail with. */
static int meet(call_kind kind, size_t *bytes) {
    if (!inside) return 0;
    const long n = ++fault_seen->count;
    if (n < CALLS) fault_seen->kind[n] = (unsigned char)kind;
    const bool hit = fault.effect != FAULT_NONE && (fault.kinds >> kind & 1) != 0 &&
                     (fault.later ? n >= fault.at : n == fault.at);
    if (!hit || (fault.later && fault.error == EINTR && (n - fault.at) % 2 != 0)) return 0;
    fault_seen->touched++;
    if (fault.effect == FAULT_KILL) {
        if (bytes == NULL || fault.part <= 0) raise(SIGKILL);
        const size_t part = (size_t)((double)*bytes * fault.part);
        *bytes = part > 0 ? part : *bytes > 0;
    } else if (fault.effect == FAULT_SHORT) {
        const size_t most = fault.later ? SHORT : 1;
        if (*bytes > most) *bytes = most;
    } else {
        fault_seen->left |= kind == CALL_UNLINK;
        return fault.error;
    }
    return 0;
}

static int fails(int error) {
    errno = error;
    return -1;
}

/* ---- calls with a path ----------------------------------------------------------------------- */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0;
    va_end(more);
    const int error = meet((flags & O_CREAT) != 0 ? CALL_CREATE : CALL_OPEN, NULL);
    if (error != 0) return fails(error);
    const int fd = __real_open64(path, flags, mode);
    if (fd >= 0 && fd < FILES) {
        file[fd].written = false;
        file[fd].folder = (flags & O_DIRECTORY) != 0;
        snprintf(file[fd].path, sizeof file[fd].path, "%s", path);
    }
    return fd;
}

/* The caller's structure: of either size. */
#define LOOK(name)                                                                               \
    int __real_##name(const char *path, void *about);                                            \
    int __wrap_##name(const char *path, void *about);                                            \
    int __wrap_##name(const char *path, void *about) {                                           \
        const int error = meet(CALL_LOOK, NULL);                                                 \
        return error != 0 ? fails(error) : __real_##name(path, about);                           \
    }
LOOK(stat)
LOOK(stat64)

int __real_fstat64(int fd, void *about);
int __wrap_fstat64(int fd, void *about);
int __wrap_fstat64(int fd, void *about) {
    const int error = meet(CALL_LOOK, NULL);
    return error != 0 ? fails(error) : __real_fstat64(fd, about);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode) {
    const int error = meet(CALL_MODE, NULL);
    return error != 0 ? fails(error) : __real_fchmod(fd, mode);
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode) {
    const int error = meet(CALL_FOLDER, NULL);
    return error != 0 ? fails(error) : __real_mkdir(path, mode);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path) {
    const int error = meet(CALL_UNLINK, NULL);
    return error != 0 ? fails(error) : __real_unlink(path);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    const int error = meet(CALL_RENAME, NULL);
    if (error != 0) return fails(error);
    for (int fd = 0; fd < FILES; fd++)
        if (file[fd].written && strcmp(file[fd].path, from) == 0) fault_seen->unsynced = true;
    renamed++;
    return __real_rename(from, to);
}

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path) {
    const int error = meet(CALL_LIST, NULL);
    if (error == 0) return __real_opendir(path);
    errno = error;
    return NULL;
}

struct dirent *__real_readdir(DIR *folder);
struct dirent *__wrap_readdir(DIR *folder);
struct dirent *__wrap_readdir(DIR *folder) {
    const int error = meet(CALL_LIST, NULL);
    if (error == 0) return __real_readdir(folder);
    errno = error;
    return NULL;
}

/* ---- calls with a descriptor ----------------------------------------------------------------- */

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
    const int error = meet(CALL_CLOSE, NULL), result = __real_close(fd);
    return error != 0 ? fails(error) : result;   /* the descriptor is gone in any case */
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    const int error = meet(CALL_SYNC, NULL);
    if (error != 0) return fails(error);
    if (fd < FILES) {
        file[fd].written = false;
        if (file[fd].folder) renamed = 0;
    }
    return 0;
}

/* The end of a write that was to be cut by a kill. */
static ssize_t wrote(int fd, ssize_t done) {
    if (fault.effect == FAULT_KILL && fault_seen->touched > 0) raise(SIGKILL);
    if (done > 0 && fd < FILES) file[fd].written = true;
    return done;
}

ssize_t __real_write(int fd, const void *from, size_t bytes);
ssize_t __wrap_write(int fd, const void *from, size_t bytes);
ssize_t __wrap_write(int fd, const void *from, size_t bytes) {
    const long before = fault_seen->touched;
    const int error = meet(CALL_WRITE, &bytes);
    if (fd == STDOUT_FILENO && fault_seen->touched > before) fault_seen->fd_1++;
    return error != 0 ? fails(error) : wrote(fd, __real_write(fd, from, bytes));
}

ssize_t __real_pwrite64(int fd, const void *from, size_t bytes, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *from, size_t bytes, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *from, size_t bytes, off64_t offset) {
    const int error = meet(CALL_WRITE, &bytes);
    return error != 0 ? fails(error) : wrote(fd, __real_pwrite64(fd, from, bytes, offset));
}

ssize_t __real_pread64(int fd, void *to, size_t bytes, off64_t offset);
ssize_t __wrap_pread64(int fd, void *to, size_t bytes, off64_t offset);
ssize_t __wrap_pread64(int fd, void *to, size_t bytes, off64_t offset) {
    const int error = meet(CALL_READ, &bytes);
    return error != 0 ? fails(error) : __real_pread64(fd, to, bytes, offset);
}

void *__real_mmap64(void *at, size_t bytes, int access, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int access, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int access, int flags, int fd, off64_t offset) {
    const int error = meet(CALL_MAP, NULL);
    if (error == 0) return __real_mmap64(at, bytes, access, flags, fd, offset);
    errno = error;
    return (void *)-1;   /* MAP_FAILED */
}

/* ---- streams --------------------------------------------------------------------------------- */

static ssize_t take(void *cookie, char *to, size_t bytes) {
    const int error = meet(CALL_READ, &bytes);
    return error != 0 ? fails(error) : read((int)(intptr_t)cookie, to, bytes);
}

/* Goes on after a short write and gives up after an error, as glibc does for files. */
static ssize_t give(void *cookie, const char *from, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        const ssize_t more = __wrap_write((int)(intptr_t)cookie, from + done, bytes - done);
        if (more < 0) break;
        done += (size_t)more;
    }
    return (ssize_t)done;
}

static int end(void *cookie) { return __wrap_close((int)(intptr_t)cookie); }

static FILE *stream(int fd, const char *mode) {
    const cookie_io_functions_t calls = {.read = take, .write = give, .close = end};
    return fd >= 0 ? fopencookie((void *)(intptr_t)fd, mode, calls) : NULL;
}

/* The program opens streams for reading only; the test itself writes some, too. */
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode) {
    if (*mode != 'r') return __real_fopen(path, mode);
    return stream(__wrap_open64(path, O_RDONLY | O_CLOEXEC), mode);
}

FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode) { return __wrap_fopen(path, mode); }

void fault_streams(int in, int out) {
    memset(fault_seen, 0, sizeof *fault_seen);
    stdin = stream(in, "r");
    stdout = stream(out, "w");
    inside = true;
}

void fault_end(void) {
    inside = false;
    fault_seen->unsynced |= renamed > 0;
}
