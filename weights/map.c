/* A file as memory: mapped read-only, so that opening costs no copy whatever its size. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "weights/header.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: opening a named pipe by mistake must be an error, not a wait for its writer. */
static int open_file(const char *path) {
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* MAP_PRIVATE and PROT_READ: nothing here can change the file. A file that another program cuts
 * while it is mapped still ends the process with SIGBUS; only copying it first would prevent
 * that. */
static mr_status map_fd(mr_map *map, int fd, const char *path, mr_err *err) {
    struct stat about;
    if (fstat(fd, &about) != 0)
        return mr_fail(err, MR_BAD, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return mr_fail(err, MR_BAD, "%s: expected a file, found a folder, a pipe or a device",
                       path);
    idx bytes = (idx)about.st_size;
    if (bytes < 0 || bytes != about.st_size)
        return mr_fail(err, MR_BAD, "%s: larger than the address space of this machine", path);
    if (bytes == 0) return MR_OK;               /* mmap refuses zero bytes */
    void *data = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return mr_fail(err, MR_BAD, "%s: cannot map %td bytes: %s", path, bytes, strerror(errno));
    map->data = data;
    map->bytes = bytes;
    return MR_OK;
}

mr_status mr_map_open(mr_map *map, const char *path, mr_err *err) {
    *map = (mr_map){0};
    int fd = open_file(path);
    if (fd < 0) return mr_fail(err, MR_BAD, "%s: cannot open: %s", path, strerror(errno));
    mr_status status = map_fd(map, fd, path, err);
    close(fd);                                  /* the map stays */
    return status;
}

void mr_map_close(mr_map *map) {
    /* munmap takes no const pointer, though nothing was ever writable through this one. */
    if (map->data != NULL) munmap((void *)map->data, (size_t)map->bytes);
    *map = (mr_map){0};
}
