/* The special tokens of a tekken.json: those it lists, then "<SPECIAL_i>" up to their number.
 *
 * The files of 2024 list none; then the names are those that mistral-common gives them. Its list
 * came later than the first files, and differs from the code of that time from id 10 on; ids 0 to
 * 9, all that chat templates of v3 use, are the same. */
#include <stdio.h>
#include <string.h>

#include "tokenizer/tekken_parts.h"

static const char *const legacy[] = {
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]",
    "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};
enum { LEGACY = sizeof legacy / sizeof legacy[0], NAME_ROOM = 24 /* of a name made here */ };

/* Moves the tokens' bytes from the file to a block of their own, with room for the names. */
static mr_status move_tokens(mr_tekken_reading *r, char **names) {
    mr_tekken *tekken = r->tekken;
    const char *from = tekken->vocab.piece[0].bytes;
    idx used = r->to - from, room;
    if (!mr_mul(r->special, NAME_ROOM, &room) || !mr_add(room, used, &room)
        || !mr_add(room, r->section[MR_TEKKEN_SPECIAL].to - r->section[MR_TEKKEN_SPECIAL].from,
                   &room))
        room = MR_IDX_MAX;
    tekken->blob = mr_alloc(room, 1, r->err);
    if (tekken->blob == NULL) return MR_BAD;
    memcpy(tekken->blob, from, (size_t)used);
    for (idx rank = 0; rank < tekken->vocab.count; rank++)
        tekken->vocab.piece[rank].bytes = tekken->blob + (tekken->vocab.piece[rank].bytes - from);
    *names = tekken->blob + used;
    return MR_OK;
}

/* Enters a name that was written at *to. */
static void add(mr_vocab *special, idx id, char **to, idx size) {
    special->piece[id] = (mr_piece){.bytes = *to, .size = (int32_t)size, .type = MR_PIECE_CONTROL};
    *to += size;
}

static mr_status too_many(const mr_tekken_reading *r) {
    return mr_fail(r->err, MR_BAD, "%s: there are more special tokens than "
                   "default_num_special_tokens, which is %td", r->path, r->special);
}

/* The list of the file. */
static mr_status listed(mr_tekken_reading *r, char **to, idx *count) {
    mr_scan in = mr_tekken_section(r, MR_TEKKEN_SPECIAL);
    mr_span text;
    mr_scan_enter(&in, '[');
    for (*count = 0; mr_scan_item(&in); ++*count) {
        if (*count == r->special) return too_many(r);
        if (mr_tekken_entry(r, &in, "special_tokens", "token_str", *count, &text) != MR_OK)
            return MR_BAD;
        idx size = mr_span_text(&text, *to);
        if (size < 0 || size > MR_PIECE_MAX)
            return mr_fail(r->err, MR_BAD, "%s: special_tokens[%td] is half of a surrogate pair or "
                           "longer than %td bytes; the file is damaged", r->path, *count,
                           MR_PIECE_MAX);
        add(&r->tekken->special, *count, to, size);
    }
    return in.problem != NULL ? mr_tekken_malformed(r, &in) : MR_OK;
}

mr_status mr_tekken_specials(mr_tekken_reading *r) {
    char *to;
    idx count = 0;
    bool list = r->section[MR_TEKKEN_SPECIAL].from != NULL;
    if (!list && r->version > 7)
        return mr_fail(r->err, MR_BAD, "%s: has no special_tokens; a file of version %s must list "
                       "them", r->path, r->tekken->version);
    if (!list && r->special < LEGACY) return too_many(r);
    if (move_tokens(r, &to) != MR_OK) return MR_BAD;
    if (mr_vocab_open(&r->tekken->special, r->special, r->err) != MR_OK) return MR_BAD;
    if (list && listed(r, &to, &count) != MR_OK) return MR_BAD;
    for (; !list && count < LEGACY; count++) {
        idx size = (idx)strlen(legacy[count]);
        memcpy(to, legacy[count], (size_t)size);
        add(&r->tekken->special, count, &to, size);
    }
    for (; count < r->special; count++)
        add(&r->tekken->special, count, &to,
            snprintf(to, NAME_ROOM, "<SPECIAL_%ld>", (long)count));
    return MR_OK;
}
