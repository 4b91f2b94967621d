/* Protobuf fields, one after the other: tag = number << 3 | wire type, then the value.
 *
 * A message is nothing but such fields in any order; it has no header, no length and no checksum.
 * A field that occurs again overrides the earlier one, or adds to a list: that is the caller's
 * business. So is the meaning of a number; here all fields are alike, and one that the caller does
 * not know is skipped by simply asking for the next.
 *
 * Safety rests on one rule: `at` moves only after a comparison with `end`, and lengths from the
 * file are compared before they are converted or added to anything. */
#include "tokenizer/protobuf.h"

#include <string.h>

mr_pb mr_pb_open(const char *bytes, idx size) {
    return (mr_pb){.start = bytes, .at = bytes, .end = bytes + size};
}

/* The bounds of the inner reader are the field's, so a broken inner message cannot read on into
 * what follows it. */
mr_pb mr_pb_inside(const mr_pb *outer, const mr_pb_field *field) {
    return (mr_pb){.start = outer->start, .at = field->bytes, .end = field->bytes + field->size};
}

/* The first problem stays: after it every call of mr_pb_next returns false. */
static bool broken(mr_pb *in, const char *problem) {
    in->problem = problem;
    return false;
}

/* Seven bits a byte, lowest first, the top bit says that more follow: 300 is AC 02. 64 bits need
 * ten bytes, of which the last may hold only the highest bit. More bytes than needed are legal. */
static bool varint(mr_pb *in, uint64_t *value) {
    uint64_t sum = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (in->at == in->end) return broken(in, "the file ends inside a number");
        uint64_t byte = (unsigned char)*in->at++;
        if (shift == 63 && byte > 1) return broken(in, "a number has more than 64 bits");
        sum |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = sum;
            return true;
        }
    }
}

/* Little-endian whatever the machine: built from bytes. */
static bool fixed(mr_pb *in, idx size, uint64_t *value) {
    if (in->end - in->at < size) return broken(in, "the file ends inside a fixed-size number");
    *value = 0;
    for (idx i = 0; i < size; i++) *value |= (uint64_t)(unsigned char)in->at[i] << (8 * i);
    in->at += size;
    return true;
}

/* A length, then that many bytes: strings and messages inside. The caller gets a view, no copy. */
static bool bytes(mr_pb *in, mr_pb_field *field) {
    uint64_t size;
    if (!varint(in, &size)) return false;
    /* Compared as unsigned 64-bit: a length near 2^64 must not turn into a negative one. */
    if (size > (uint64_t)(in->end - in->at))
        return broken(in, "a field is longer than what encloses it");
    field->bytes = in->at;
    field->size = (idx)size;
    in->at += field->size;
    return true;
}

bool mr_pb_next(mr_pb *in, mr_pb_field *field) {
    if (in->problem != NULL || in->at == in->end) return false;
    *field = (mr_pb_field){0};
    uint64_t tag;
    if (!varint(in, &tag)) return false;
    /* Numbers are 1 to 2^29 - 1, so a tag has at most 32 bits. Zero bytes, as at the end of a file
     * that was enlarged by mistake, read as number 0 and are caught here. */
    if (tag >> 32 != 0 || tag >> 3 == 0) return broken(in, "a field number is out of range");
    field->number = (uint32_t)(tag >> 3);
    field->wire = (int)(tag & 7);
    switch (field->wire) {
    case MR_PB_VARINT:  return varint(in, &field->value);
    case MR_PB_FIXED64: return fixed(in, 8, &field->value);
    case MR_PB_BYTES:   return bytes(in, field);
    case MR_PB_FIXED32: return fixed(in, 4, &field->value);
    default:            return broken(in, "a field has an unknown wire type");
    }
}

/* An IEEE single stored as its bits. */
float mr_pb_float(const mr_pb_field *field) {
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int32_t mr_pb_int32(const mr_pb_field *field) {
    /* Going through memory keeps the two's complement reinterpretation free of undefined or
     * implementation-defined conversions. */
    uint32_t low = (uint32_t)field->value;
    int32_t value;
    memcpy(&value, &low, sizeof value);
    return value;
}
