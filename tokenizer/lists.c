/* Growing arrays of ids and of bytes.
 *
 * Both follow the same rule, which the public functions rely on: an append either succeeds or
 * leaves the list as it was, so that a half-done result can be undone by restoring `count`. */
#include "tokenizer/lists.h"

#include <string.h>

/* The next capacity that holds `count + more`: at least double, so that n appends copy O(n)
 * elements in all. Small lists start at 16 instead of growing through 1, 2, 4, 8. */
static bool grown(idx count, idx room, idx more, idx *next) {
    idx need, twice;
    if (!mr_add(count, more, &need)) return false;
    if (!mr_mul(room, 2, &twice)) twice = need;
    *next = need > twice ? need : twice;
    if (*next < 16) *next = 16;
    return true;
}

mr_status mr_ids_reserve(mr_ids *ids, idx more, mr_err *err) {
    if (more <= ids->room - ids->count) return MR_OK;
    idx room;
    if (!grown(ids->count, ids->room, more, &room))
        return mr_fail(err, MR_BAD, "a list of more than %td ids does not fit", ids->count);
    int32_t *id = mr_resize(ids->id, room, (idx)sizeof *id, err);
    if (id == NULL) return MR_BAD;
    ids->id = id;
    ids->room = room;
    return MR_OK;
}

mr_status mr_text_reserve(mr_text *text, idx more, mr_err *err) {
    /* Asked for nothing, an empty text still gets memory: it then ends in a NUL as promised. */
    if (text->byte != NULL && more <= text->room - text->count) return MR_OK;
    idx room, with_nul;
    if (!grown(text->count, text->room, more, &room) || !mr_add(room, 1, &with_nul))
        return mr_fail(err, MR_BAD, "a text of more than %td bytes does not fit", text->count);
    char *byte = mr_resize(text->byte, with_nul, 1, err);
    if (byte == NULL) return MR_BAD;
    byte[text->count] = '\0'; /* new memory is not zeroed */
    text->byte = byte;
    text->room = room;
    return MR_OK;
}

mr_status mr_text_append(mr_text *text, const char *bytes, idx count, mr_err *err) {
    mr_status status = mr_text_reserve(text, count, err);
    if (status != MR_OK) return status;
    if (count > 0) memcpy(text->byte + text->count, bytes, (size_t)count);
    text->count += count;
    text->byte[text->count] = '\0';
    return MR_OK;
}

void mr_text_cut(mr_text *text, idx count) {
    text->count = count;
    if (text->byte != NULL) text->byte[count] = '\0';
}

/* Back to {0}: freeing twice is harmless and the list can be used again. */
void mr_ids_free(mr_ids *ids) {
    mr_free(ids->id);
    *ids = (mr_ids){0};
}

void mr_text_free(mr_text *text) {
    mr_free(text->byte);
    *text = (mr_text){0};
}
