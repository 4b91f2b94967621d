/* From the JSON of a request to text and ids: read, check, merge, print. */
#include "tokenizer/chat.h"

#include <string.h>

#include "tokenizer/chat_request.h"
#include "tokenizer/lists.h"
#include "tokenizer/utf8.h"

static mr_status version_of(const mr_tokenizer *tokenizer, const char *name, int *out,
                            mr_err *err) {
    static const struct {
        const char *name;
        int         number;
    } known[] = {{"v1", 1}, {"v2", 2}, {"v3", 3}, {"v7", 7}, {"v11", 11}, {"v13", 13}};
    if (name == NULL) name = mr_tokenizer_version(tokenizer);
    if (name == NULL || *name == '\0')
        return mr_fail(err, MR_BAD, "the tokenizer does not say which chat template it belongs to; "
                       "name one: v1, v2, v3, v7, v11 or v13");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *out = known[i].number;
            return MR_OK;
        }
    return mr_fail(err, MR_BAD, "chat template \"%s\": expected v1, v2, v3, v7, v11 or v13", name);
}

static mr_status check_utf8(const char *text, idx bytes, mr_err *err) {
    for (idx i = 0, size; i < bytes; i += size) {
        size = mr_utf8_valid(text + i, bytes - i);
        if (size == 0) return mr_fail(err, MR_BAD, "request: byte %td is not UTF-8", i);
    }
    return MR_OK;
}

mr_status mr_chat_encode(const mr_tokenizer *tokenizer, const char *version, const char *request,
                         idx bytes, mr_text *text, mr_ids *ids, mr_err *err) {
    return mr_chat_encode_turns(tokenizer, version, request, bytes, text, ids, NULL, err);
}

mr_status mr_chat_encode_turns(const mr_tokenizer *tokenizer, const char *version,
                               const char *request, idx bytes, mr_text *text, mr_ids *ids,
                               mr_ids *turns, mr_err *err) {
    const idx text_before = text->count, ids_before = ids->count;
    const idx turns_before = turns != NULL ? turns->count : 0;
    mr_chat_request r = {.turns = turns};
    mr_status status = version_of(tokenizer, version, &r.version, err);
    if (status == MR_OK) status = check_utf8(request, bytes, err);
    if (status == MR_OK) status = mr_chat_read(request, bytes, &r, err);
    if (status == MR_OK) status = mr_chat_check(&r, err);
    if (status == MR_OK) status = mr_chat_merge(&r, err);
    if (status == MR_OK) status = mr_chat_print(tokenizer, &r, text, ids, err);
    mr_py_free(&r.arena);
    if (status == MR_OK) return MR_OK;
    ids->count = ids_before;
    if (turns != NULL) turns->count = turns_before;
    mr_text_cut(text, text_before);
    return status;
}
