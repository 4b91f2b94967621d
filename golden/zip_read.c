/* Reading a zip directory that may be forged: one interpretation of every byte, or an error. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "golden/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "golden/zip_parts.h"

/* Flag bits that change nothing for us: 1 and 2 deflate effort, 3 streamed, 11 UTF-8 names. */
#define FLAG_ENCRYPTED 1u
#define FLAG_STREAMED (1u << 3)
#define FLAGS_KNOWN (1u << 1 | 1u << 2 | FLAG_STREAMED | 1u << 11)

/* Where the directory lies, from the records at the end of the file. */
typedef struct {
    idx offset, size, count;
    idx end;   /* where the records after the directory begin */
} place;

const char *mr_zip_name_fault(const char *name, idx length) {
    if (length < 1) return "the name is empty";
    if (length > MR_ZIP_NAME) return "the name is longer than 4096 bytes";
    if (name[0] == '/') return "the name is an absolute path";
    for (idx i = 0; i < length; i++) {
        bool starts = i == 0 || name[i - 1] == '/';
        bool dots = starts && length - i >= 2 && name[i] == '.' && name[i + 1] == '.';
        if (name[i] < 0x20 || name[i] > 0x7e) return "the name is not printable ASCII";
        if (dots && (i + 2 == length || name[i + 2] == '/')) return "the name contains \"..\"";
    }
    return NULL;
}

/* A number of the file as an idx: what can not be an offset in this file is refused at once. */
static bool within(const mr_zip *zip, uint64_t value, idx *out) {
    if (value > (uint64_t)zip->bytes) return false;
    *out = (idx)value;
    return true;
}

/* ---- the records at the end ------------------------------------------------------------------ */

/* `old`, a field of the end record, must repeat the zip64 value or be saturated. */
static bool agrees(uint64_t old, uint64_t saturated, uint64_t value) {
    return old == value || old == saturated;
}

/* The zip64 end record lies directly before its locator, the locator directly before the end
 * record. Readers that look elsewhere could see another archive, so nothing else is accepted. */
static mr_status read_end64(const mr_zip *zip, const unsigned char *end,
                            const unsigned char *locator, place *at, mr_err *err) {
    unsigned char record[END64_SIZE];
    idx start = zip->bytes - END_SIZE - LOCATOR_SIZE - END64_SIZE;
    if (get32(locator + 4) != 0 || get32(locator + 16) != 1)
        return mr_zip_bad(zip, "split archive", err);
    if (start < 0 || get64(locator + 8) != (uint64_t)start)
        return mr_zip_bad(zip, "the zip64 end record is not where its locator says", err);
    if (mr_zip_pread(zip, start, record, END64_SIZE, err) != MR_OK) return MR_BAD;
    if (get32(record) != END64_SIGNATURE || get64(record + 4) != END64_SIZE - 12)
        return mr_zip_bad(zip, "no zip64 end record before its locator", err);
    uint64_t count = get64(record + 32), size = get64(record + 40), offset = get64(record + 48);
    if (get32(record + 16) != 0 || get32(record + 20) != 0 || get64(record + 24) != count)
        return mr_zip_bad(zip, "split archive", err);
    if (!agrees(get16(end + 10), SATURATED16, count) ||
        !agrees(get32(end + 12), SATURATED32, size) ||
        !agrees(get32(end + 16), SATURATED32, offset))
        return mr_zip_bad(zip, "the zip64 end record contradicts the end record", err);
    if (count > MR_ZIP_MEMBERS64) return mr_zip_bad(zip, "more than 1000000 members", err);
    if (!within(zip, size, &at->size) || !within(zip, offset, &at->offset))
        return mr_zip_bad(zip, "the directory lies outside the file", err);
    at->count = (idx)count;
    at->end = start;
    return MR_OK;
}

/* An archive comment would make "the last end record" a matter of opinion, so none is accepted. */
static mr_status read_end(const mr_zip *zip, place *at, mr_err *err) {
    unsigned char tail[LOCATOR_SIZE + END_SIZE] = {0}, *end = tail + LOCATOR_SIZE;
    idx have = zip->bytes < (idx)sizeof tail ? zip->bytes : (idx)sizeof tail;
    if (have < END_SIZE) return mr_zip_bad(zip, "shorter than an empty archive", err);
    if (mr_zip_pread(zip, zip->bytes - have, tail + sizeof tail - have, have, err) != MR_OK)
        return MR_BAD;
    if (get32(end) != END_SIGNATURE || get16(end + 20) != 0)
        return mr_zip_bad(zip, "no end record in the last 22 bytes (not a zip, cut off, or with an "
                          "archive comment)", err);
    if (get16(end + 4) != 0 || get16(end + 6) != 0 || get16(end + 8) != get16(end + 10))
        return mr_zip_bad(zip, "split archive", err);

    if (get32(tail) == LOCATOR_SIGNATURE) {
        if (read_end64(zip, end, tail, at, err) != MR_OK) return MR_BAD;
    } else {
        at->count = get16(end + 10);
        at->end = zip->bytes - END_SIZE;
        if (!within(zip, get32(end + 12), &at->size) ||
            !within(zip, get32(end + 16), &at->offset))
            return mr_zip_bad(zip, "the directory lies outside the file", err);
    }
    if (at->offset > at->end || at->end - at->offset != at->size)
        return mr_zip_bad(zip, "the directory does not fill the space before the end record", err);
    if (at->count > at->size / CENTRAL_SIZE)
        return mr_zip_bad(zip, "the directory is too small for its number of members", err);
    return MR_OK;
}

/* ---- the directory --------------------------------------------------------------------------- */

/* The numbers of one entry; the name is in place already, for the messages. */
static mr_status read_numbers(const mr_zip *zip, const unsigned char *p, mr_zip_member *m,
                              mr_err *err) {
    uint32_t flags = get16(p + 8);
    uint64_t size = get32(p + 24), packed = get32(p + 20), offset = get32(p + 42);
    uint64_t *const wide[] = {&size, &packed, &offset};
    m->method = get16(p + 10);
    m->streamed = (flags & FLAG_STREAMED) != 0;
    m->crc = get32(p + 16);
    if ((flags & FLAG_ENCRYPTED) != 0) return mr_zip_bad_member(zip, m, "is encrypted", err);
    if ((flags & ~FLAGS_KNOWN) != 0) return mr_zip_bad_member(zip, m, "has unknown flags", err);
    if (m->method != 0 && m->method != 8)
        return mr_zip_bad_member(zip, m, "is compressed with a method other than deflate", err);
    if (get16(p + 34) != 0) return mr_zip_bad_member(zip, m, "lies on another disk", err);
    if (!mr_zip_widen(p + CENTRAL_SIZE + get16(p + 28), get16(p + 30), wide, 3))
        return mr_zip_bad_member(zip, m, "has a malformed extra field in the directory", err);
    if (!within(zip, packed, &m->packed) || !within(zip, offset, &m->offset))
        return mr_zip_bad_member(zip, m, "lies outside the file", err);
    if (m->method == 0 && size != packed)
        return mr_zip_bad_member(zip, m, "is stored, but its two sizes differ", err);
    if (size > 0 && (size > (uint64_t)MR_IDX_MAX || (size - 1) / MR_ZIP_RATIO >= packed))
        return mr_zip_bad_member(zip, m, "declares more than 1100 times its compressed size, or "
                                 "more than memory can have", err);
    m->size = (idx)size;
    return MR_OK;
}

/* One directory entry at *at; moves *at behind it. */
static mr_status read_entry(const mr_zip *zip, const unsigned char **at, const unsigned char *end,
                            mr_zip_member *m, mr_err *err) {
    const unsigned char *p = *at;
    if (end - p < CENTRAL_SIZE || get32(p) != CENTRAL_SIGNATURE)
        return mr_zip_bad(zip, "a directory entry is missing", err);
    idx name = get16(p + 28), length = CENTRAL_SIZE + name + get16(p + 30) + get16(p + 32);
    if (end - p < length)
        return mr_zip_bad(zip, "a directory entry reaches beyond the directory", err);
    const char *fault = mr_zip_name_fault((const char *)p + CENTRAL_SIZE, name);
    if (fault != NULL) return mr_zip_bad(zip, fault, err);
    m->name = mr_alloc(name + 1, 1, err);
    if (m->name == NULL) return MR_BAD;
    memcpy(m->name, p + CENTRAL_SIZE, (size_t)name);
    *at = p + length;
    return read_numbers(zip, p, m, err);
}

/* All entries. Their number was bounded by the size of the file, so these allocations are too. */
static mr_status read_directory(mr_zip *zip, const place *at, mr_err *err) {
    mr_status status = MR_BAD;
    unsigned char *directory = mr_alloc(at->size, 1, err);
    zip->member = mr_alloc(at->count, (idx)sizeof *zip->member, err);
    if (directory == NULL || zip->member == NULL) goto done;
    zip->count = at->count;
    status = mr_zip_pread(zip, at->offset, directory, at->size, err);
    const unsigned char *p = directory, *end = directory + at->size;
    for (idx i = 0; i < at->count && status == MR_OK; i++)
        status = read_entry(zip, &p, end, &zip->member[i], err);
    if (status == MR_OK && p != end)
        status = mr_zip_bad(zip, "the directory holds more than its number of members", err);
done:
    mr_free(directory);
    return status;
}

static mr_status open_file(mr_zip *zip, const char *path, mr_err *err) {
    struct stat info;
    idx length = (idx)strlen(path) + 1;
    zip->path = mr_alloc(length, 1, err);
    if (zip->path == NULL) return MR_BAD;
    memcpy(zip->path, path, (size_t)length);
    do zip->fd = open(path, O_RDONLY | O_CLOEXEC);
    while (zip->fd < 0 && errno == EINTR);
    if (zip->fd < 0 || fstat(zip->fd, &info) != 0)
        return mr_fail(err, MR_BAD, "%s: cannot open: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode) || (uintmax_t)info.st_size > (uintmax_t)MR_IDX_MAX)
        return mr_fail(err, MR_BAD, "%s: is no regular file that can be read here", path);
    zip->bytes = (idx)info.st_size;
    return MR_OK;
}

mr_status mr_zip_open(const char *path, mr_zip *zip, mr_err *err) {
    place at = {0};
    *zip = (mr_zip){.fd = -1};
    mr_status status = open_file(zip, path, err);
    if (status == MR_OK) status = read_end(zip, &at, err);
    if (status == MR_OK) status = read_directory(zip, &at, err);
    if (status == MR_OK) status = mr_zip_check_layout(zip, at.offset, err);
    if (status != MR_OK) mr_zip_close(zip);
    return status;
}

void mr_zip_close(mr_zip *zip) {
    if (zip->path != NULL && zip->fd >= 0) close(zip->fd);   /* fd 0 of {0} is not ours */
    for (idx i = 0; i < zip->count; i++) mr_free(zip->member[i].name);
    mr_free(zip->member);
    mr_free(zip->path);
    *zip = (mr_zip){0};
}
