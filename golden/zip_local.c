/* Local headers must repeat the directory, and members fill the file without a gap or an overlap.
 * That closes the door on bombs of overlapping members and on hidden bytes. */
#include "golden/zip.h"

#include <stdlib.h>
#include <string.h>

#include "golden/zip_parts.h"

#define EXTRA_ZIP64 1

mr_status mr_zip_bad(const mr_zip *zip, const char *what, mr_err *err) {
    return mr_fail(err, MR_BAD, "%s: bad zip archive: %s; write the file again", zip->path, what);
}

mr_status mr_zip_bad_member(const mr_zip *zip, const mr_zip_member *member, const char *what,
                            mr_err *err) {
    return mr_fail(err, MR_BAD, "%s: member %s %s; write the file again with numpy.savez or "
                   "numpy.savez_compressed", zip->path, member->name, what);
}

bool mr_zip_widen(const unsigned char *extra, idx length, uint64_t *const *field, int fields) {
    const unsigned char *wide = NULL;
    idx left = 0;
    while (length >= 4) {
        idx bytes = get16(extra + 2);
        if (bytes > length - 4) return false;
        if (get16(extra) == EXTRA_ZIP64) {
            if (wide != NULL) return false;   /* two of them: readers differ on which one counts */
            wide = extra + 4;
            left = bytes;
        }
        extra += 4 + bytes;
        length -= 4 + bytes;
    }
    if (length != 0) return false;
    for (int i = 0; i < fields; i++) {
        if (*field[i] != SATURATED32) continue;
        if (left < 8) return false;
        *field[i] = get64(wide);
        wide += 8;
        left -= 8;
    }
    return true;
}

/* A streaming writer learns CRC and sizes after the data and appends them: with or without a
 * signature, sizes of 4 or 8 bytes. The length tells which of the four it is. */
static mr_status check_descriptor(const mr_zip *zip, const mr_zip_member *m, idx offset, idx bytes,
                                  mr_err *err) {
    unsigned char record[24], *p = record;
    if (bytes != 12 && bytes != 16 && bytes != 20 && bytes != 24)
        return mr_zip_bad_member(zip, m, "is not followed by a data descriptor", err);
    if (mr_zip_pread(zip, offset, record, bytes, err) != MR_OK) return MR_BAD;
    bool wide = bytes >= 20, marked = bytes == 16 || bytes == 24;
    if (marked) p += 4;
    uint64_t packed = wide ? get64(p + 4) : get32(p + 4);
    uint64_t size = wide ? get64(p + 12) : get32(p + 8);
    if ((marked && get32(record) != DESCRIPTOR_SIGNATURE) || get32(p) != m->crc ||
        packed != (uint64_t)m->packed || size != (uint64_t)m->size)
        return mr_zip_bad_member(zip, m, "has a data descriptor that contradicts the directory",
                                 err);
    return MR_OK;
}

/* The numbers of a local header; zero is "not known yet" where a data descriptor follows. */
static mr_status check_numbers(const mr_zip *zip, const mr_zip_member *m, const unsigned char *p,
                               const unsigned char *extra, mr_err *err) {
    uint64_t crc = get32(p + 14), packed = get32(p + 18), size = get32(p + 22);
    uint64_t *const wide[] = {&size, &packed};
    bool streamed = (get16(p + 6) & 8) != 0, encrypted = (get16(p + 6) & 1) != 0;
    if (!mr_zip_widen(extra, get16(p + 28), wide, 2))
        return mr_zip_bad_member(zip, m, "has a malformed extra field", err);
    bool unknown = streamed && crc == 0 && packed == 0 && size == 0;
    bool equal = crc == m->crc && packed == (uint64_t)m->packed && size == (uint64_t)m->size;
    if (streamed != m->streamed || encrypted || get16(p + 8) != m->method || !(equal || unknown))
        return mr_zip_bad_member(zip, m, "has a local header that contradicts the directory", err);
    return MR_OK;
}

/* Checks the member that owns the bytes from its offset to `next`. `scratch` holds a name and an
 * extra field. */
static mr_status check_member(const mr_zip *zip, mr_zip_member *m, idx next, unsigned char *scratch,
                              mr_err *err) {
    unsigned char head[LOCAL_SIZE];
    if (next - m->offset < LOCAL_SIZE) return mr_zip_bad_member(zip, m, "overlaps another", err);
    if (mr_zip_pread(zip, m->offset, head, LOCAL_SIZE, err) != MR_OK) return MR_BAD;
    if (get32(head) != LOCAL_SIGNATURE)
        return mr_zip_bad_member(zip, m, "has no local header at its offset", err);
    idx name = get16(head + 26), extra = get16(head + 28);
    m->start = m->offset + LOCAL_SIZE + name + extra;
    if (m->start > next || m->packed > next - m->start)
        return mr_zip_bad_member(zip, m, "overlaps another", err);
    if (mr_zip_pread(zip, m->offset + LOCAL_SIZE, scratch, name + extra, err) != MR_OK)
        return MR_BAD;
    if (name != (idx)strlen(m->name) || memcmp(scratch, m->name, (size_t)name) != 0)
        return mr_zip_bad_member(zip, m, "has another name in its local header", err);
    if (check_numbers(zip, m, head, scratch + name, err) != MR_OK) return MR_BAD;

    idx after = next - m->start - m->packed;
    if (m->streamed) return check_descriptor(zip, m, m->start + m->packed, after, err);
    return after == 0 ? MR_OK : mr_zip_bad_member(zip, m, "is followed by stray bytes", err);
}

static int by_offset(const void *a, const void *b) {
    idx x = (*(mr_zip_member *const *)a)->offset, y = (*(mr_zip_member *const *)b)->offset;
    return (x > y) - (x < y);
}

mr_status mr_zip_check_layout(mr_zip *zip, idx end, mr_err *err) {
    mr_status status = MR_BAD;
    unsigned char *scratch = mr_alloc(2 * (idx)SATURATED16, 1, err);
    mr_zip_member **order = mr_alloc(zip->count, (idx)sizeof *order, err);
    if (scratch == NULL || order == NULL) goto done;
    for (idx i = 0; i < zip->count; i++) order[i] = &zip->member[i];
    if (zip->count > 0) qsort(order, (size_t)zip->count, sizeof *order, by_offset);

    status = MR_OK;
    if ((zip->count > 0 ? order[0]->offset : end) != 0)
        status = mr_zip_bad(zip, "there are bytes before the first member", err);
    for (idx i = 0; i < zip->count && status == MR_OK; i++)
        status = check_member(zip, order[i], i + 1 < zip->count ? order[i + 1]->offset : end,
                              scratch, err);
done:
    mr_free(order);
    mr_free(scratch);
    return status;
}
