/* For the zip code only: signatures, little-endian fields, zip64 extra field, zlib's allocator. */
#ifndef MR_GOLDEN_ZIP_PARTS_H
#define MR_GOLDEN_ZIP_PARTS_H

#include "golden/zip.h"

/* Record signatures and fixed sizes, by the names of the format's APPNOTE.TXT (4.3 and 4.5.3). */
enum {
    LOCAL_SIGNATURE = 0x04034b50,
    CENTRAL_SIGNATURE = 0x02014b50,
    DESCRIPTOR_SIGNATURE = 0x08074b50,
    END_SIGNATURE = 0x06054b50,
    END64_SIGNATURE = 0x06064b50,
    LOCATOR_SIGNATURE = 0x07064b50,
    LOCAL_SIZE = 30,
    CENTRAL_SIZE = 46,
    END_SIZE = 22,
    END64_SIZE = 56,
    LOCATOR_SIZE = 20
};

/* A field that holds this value says "see the zip64 record". */
#define SATURATED16 0xffffu
#define SATURATED32 0xffffffffu

/* zlib counts in unsigned int, which a tensor may exceed: everything goes through it in pieces. */
#define ZLIB_PIECE ((idx)1 << 30)

static inline uint16_t get16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t get32(const unsigned char *p) {
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline uint64_t get64(const unsigned char *p) {
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* Each returns the place after what it wrote, so that a record reads as the list of its fields. */
static inline unsigned char *put16(unsigned char *p, uint32_t x) {
    p[0] = (unsigned char)(x & 0xff);
    p[1] = (unsigned char)(x >> 8 & 0xff);
    return p + 2;
}

static inline unsigned char *put32(unsigned char *p, uint32_t x) {
    return put16(put16(p, x & 0xffff), x >> 16);
}

static inline unsigned char *put64(unsigned char *p, uint64_t x) {
    return put32(put32(p, (uint32_t)(x & SATURATED32)), (uint32_t)(x >> 32));
}

/* zlib's memory comes from the project's allocator too, so that tests can make it fail. */
static inline void *zip_alloc(void *unused, unsigned int items, unsigned int size) {
    (void)unused;
    return mr_alloc((idx)items, (idx)size, NULL);
}

static inline void zip_free(void *unused, void *memory) {
    (void)unused;
    mr_free(memory);
}

/* ---- zip_stream.c ---- */

/* Bytes at an offset of the archive, all of them or an error. */
mr_status mr_zip_pread(const mr_zip *zip, idx offset, void *out, idx bytes, mr_err *err);

/* ---- zip_local.c ---- */

/* Failures of the archive as a whole and of one member, worded in one way. */
mr_status mr_zip_bad(const mr_zip *zip, const char *what, mr_err *err);
mr_status mr_zip_bad_member(const mr_zip *zip, const mr_zip_member *member, const char *what,
                            mr_err *err);

/* Replaces saturated 32-bit fields by the 64-bit values of the zip64 extra field, which holds
 * exactly those, in the order given. False when the extra fields are malformed or a value is
 * absent. */
bool mr_zip_widen(const unsigned char *extra, idx length, uint64_t *const *field, int fields);

/* Proves that the members fill the file from its first byte to `end`, each local header agrees with
 * the directory, and sets `start` of each. */
mr_status mr_zip_check_layout(mr_zip *zip, idx end, mr_err *err);

#endif
