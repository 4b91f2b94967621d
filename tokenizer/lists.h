/* Appending to the two growing results of tokenizer.h. */
#ifndef MR_TOKENIZER_LISTS_H
#define MR_TOKENIZER_LISTS_H

#include "tokenizer/tokenizer.h"

/* Makes room for `more` further elements; nothing changes on failure. Capacity doubles, so that
 * appending stays linear overall. Text keeps one byte beyond its room for the closing NUL. */
mr_status mr_ids_reserve(mr_ids *ids, idx more, mr_err *err);
mr_status mr_text_reserve(mr_text *text, idx more, mr_err *err);

mr_status mr_text_append(mr_text *text, const char *bytes, idx count, mr_err *err);

/* Takes back what was appended after the first `count` bytes. */
void mr_text_cut(mr_text *text, idx count);

/* The case that happens once per token stays inline. */
static inline mr_status mr_ids_push(mr_ids *ids, int32_t id, mr_err *err) {
    if (ids->count == ids->room) {
        mr_status status = mr_ids_reserve(ids, 1, err);
        if (status != MR_OK) return status;
    }
    ids->id[ids->count++] = id;
    return MR_OK;
}

#endif
