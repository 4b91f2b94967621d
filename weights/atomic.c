/* Crash-safe writing: temporary file beside the target, fsync, close, rename, fsync of the
 * folder. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "weights/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Some systems refuse single writes of 2 GiB and more, so a large tensor goes out in pieces. */
#define PIECE ((idx)1 << 30)

#define BUFFER ((idx)1 << 20)   /* of what is moved */

/* A temporary file that a killed process left must not stop the next one with the same number. */
#define NAMES 1000

static mr_status io_fail(mr_err *err, const char *what, const char *path) {
    const char *hint = errno == ENOSPC ? "; free some space"
                     : errno == ENOENT ? "; create the folder first"
                     : errno == EACCES ? "; check the permissions of the folder" : "";
    return mr_fail(err, MR_BAD, "%s: %s: %s%s", path, what, strerror(errno), hint);
}

/* Not mkstemp: that makes files of mode 0600, and the umask can not be read without changing it for
 * all threads. O_EXCL gives the same promise: the name was free, no symbolic link is followed. */
static mr_status create(mr_atomic *file, mr_err *err) {
    idx length = (idx)strlen(file->path) + 64;
    file->temporary = mr_alloc(length, 1, err);
    if (file->temporary == NULL) return MR_BAD;
    for (int n = 0; n < NAMES; n++) {
        snprintf(file->temporary, (size_t)length, "%s.tmp-%ld-%d", file->path, (long)getpid(), n);
        do file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        while (file->fd < 0 && errno == EINTR);
        if (file->fd >= 0) return MR_OK;
        if (errno != EEXIST) break;
    }
    io_fail(err, "cannot create a temporary file beside it", file->path);
    mr_free(file->temporary);   /* nothing was created: abandon must not unlink another's file */
    file->temporary = NULL;
    return MR_BAD;
}

mr_status mr_atomic_open(mr_atomic *file, const char *path, mr_err *err) {
    struct stat old;
    bool exists = stat(path, &old) == 0;
    *file = (mr_atomic){0};
    if (!exists && errno != ENOENT) return io_fail(err, "cannot create it", path);
    if (exists && !S_ISREG(old.st_mode))
        return mr_fail(err, MR_BAD, "%s: exists and is no regular file; choose another name", path);
    idx length = (idx)strlen(path) + 1;
    file->path = mr_alloc(length, 1, err);
    if (file->path == NULL) return MR_BAD;
    memcpy(file->path, path, (size_t)length);

    mr_status status = create(file, err);
    if (status == MR_OK && exists && fchmod(file->fd, old.st_mode & 0777) != 0)
        status = io_fail(err, "cannot give the new file the mode of the old one", path);
    if (status != MR_OK) mr_atomic_abandon(file);
    return status;
}

/* offset < 0: append. Short writes and signals are normal; no progress at all is an error. */
static mr_status write_all(mr_atomic *file, idx offset, const void *data, idx bytes, mr_err *err) {
    const unsigned char *from = data;
    while (bytes > 0) {
        size_t  piece = (size_t)(bytes < PIECE ? bytes : PIECE);
        ssize_t done = offset < 0 ? write(file->fd, from, piece)
                                  : pwrite(file->fd, from, piece, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done == 0) errno = EIO;
        if (done <= 0) return io_fail(err, "cannot write", file->path);
        from += done;
        bytes -= (idx)done;
        if (offset >= 0) offset += (idx)done;
    }
    return MR_OK;
}

static mr_status read_all(mr_atomic *file, idx offset, void *data, idx bytes, mr_err *err) {
    unsigned char *to = data;
    while (bytes > 0) {
        ssize_t done = pread(file->fd, to, (size_t)bytes, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done == 0) errno = EIO;
        if (done <= 0) return io_fail(err, "cannot read back", file->path);
        to += done;
        bytes -= (idx)done;
        offset += (idx)done;
    }
    return MR_OK;
}

mr_status mr_atomic_write(mr_atomic *file, const void *data, idx bytes, mr_err *err) {
    return write_all(file, -1, data, bytes, err);
}

mr_status mr_atomic_patch(mr_atomic *file, idx offset, const void *data, idx bytes, mr_err *err) {
    return write_all(file, offset, data, bytes, err);
}

/* From the end, so that nothing is overwritten before it was read. */
mr_status mr_atomic_move(mr_atomic *file, idx offset, idx bytes, idx to, mr_err *err) {
    unsigned char *buffer = mr_alloc(BUFFER, 1, err);
    mr_status status = buffer != NULL ? MR_OK : MR_BAD;
    while (bytes > 0 && status == MR_OK) {
        idx piece = bytes < BUFFER ? bytes : BUFFER;
        bytes -= piece;
        status = read_all(file, offset + bytes, buffer, piece, err);
        if (status == MR_OK) status = write_all(file, to + bytes, buffer, piece, err);
    }
    mr_free(buffer);
    return status;
}

static int sync_fd(int fd) {
    int result;
    do result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result;
}

/* The rename itself must reach the disk. File systems without such an operation say EINVAL, and a
 * folder that we may write but not read can not be opened: neither makes a good file bad. */
static mr_status sync_folder(char *path, mr_err *err) {
    char *slash = strrchr(path, '/');
    const char *folder = slash == NULL ? "." : slash == path ? "/" : path;
    char keep = slash != NULL ? *slash : '\0';
    if (slash != NULL) *slash = '\0';
    int  fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool failed = fd >= 0 && sync_fd(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
    int  reason = errno;
    if (fd >= 0) close(fd);
    if (slash != NULL) *slash = keep;
    errno = reason;
    if (!failed) return MR_OK;
    return io_fail(err, "is complete, but its folder could not be flushed to disk", path);
}

mr_status mr_atomic_commit(mr_atomic *file, mr_err *err) {
    mr_status status = MR_OK;
    if (sync_fd(file->fd) != 0) status = io_fail(err, "cannot flush to disk", file->path);
    /* After fsync, a close interrupted by a signal has lost nothing, and the descriptor is gone. */
    if (close(file->fd) != 0 && errno != EINTR && status == MR_OK)
        status = io_fail(err, "cannot close", file->path);
    file->fd = -1;
    if (status == MR_OK && rename(file->temporary, file->path) != 0)
        status = io_fail(err, "cannot rename the finished file to its name", file->path);
    if (status == MR_OK) {
        mr_free(file->temporary);   /* the name is no longer ours to remove */
        file->temporary = NULL;
        status = sync_folder(file->path, err);
    }
    mr_atomic_abandon(file);
    return status;
}

void mr_atomic_abandon(mr_atomic *file) {
    if (file->temporary != NULL) {   /* set only while the file exists: fd 0 of {0} stays open */
        if (file->fd >= 0) close(file->fd);
        unlink(file->temporary);
    }
    mr_free(file->temporary);
    mr_free(file->path);
    *file = (mr_atomic){0};
}
