/* Fuzzing chat requests: the first byte picks version and tokenizer, the rest is the request. A
 * refusal appends nothing; an answer has ids that exist, and the same ones in training. */
#include "tests/fuzz/fuzz.h"

#include "tokenizer/chat.h"

static const char *const versions[] = {"v1", "v2", "v3", "v7", "v11", "v13", NULL, "v4"};

static void check_turns(const mr_ids *ids, const mr_ids *turns) {
    FUZZ(turns->count % 2 == 0);
    for (idx i = 0; i < turns->count; i++)
        FUZZ(turns->id[i] >= (i > 0 ? turns->id[i - 1] : 0) && turns->id[i] <= ids->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const mr_tokenizer *t = fuzz_tokenizer(data[0] & 8 ? "golden/chat/tekken.json"
                                                       : "golden/chat/small.model");
    const char *request = (const char *)data + 1, *version = versions[data[0] & 7];
    mr_text text[2] = {{0}, {0}};
    mr_ids ids[2] = {{0}, {0}}, turns = {0};
    mr_err err[2] = {{0}, {0}};
    const mr_status plain = mr_chat_encode(t, version, request, (idx)size - 1, &text[0], &ids[0],
                                           &err[0]);
    const mr_status taught = mr_chat_encode_turns(t, version, request, (idx)size - 1, &text[1],
                                                  &ids[1], &turns, &err[1]);
    for (int i = 0; i < 2; i++) {
        const mr_status status = i == 0 ? plain : taught;
        if (status != MR_OK) {
            FUZZ(text[i].count == 0 && ids[i].count == 0 && (i == 0 || turns.count == 0));
            fuzz_refused(status, &err[i]);
        }
        for (idx k = 0; k < ids[i].count; k++)
            FUZZ(ids[i].id[k] >= 0 && ids[i].id[k] < mr_tokenizer_size(t));
    }
    check_turns(&ids[1], &turns);
    if (plain == MR_OK && taught == MR_OK) {
        FUZZ(ids[0].count == ids[1].count && text[0].count == text[1].count);
        FUZZ(memcmp(ids[0].id, ids[1].id, (size_t)ids[0].count * sizeof *ids[0].id) == 0);
    }
    for (int i = 0; i < 2; i++) {
        mr_text_free(&text[i]);
        mr_ids_free(&ids[i]);
    }
    mr_ids_free(&turns);
    return 0;
}
