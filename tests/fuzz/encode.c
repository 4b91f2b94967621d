/* Fuzzing encode: the first byte picks a tokenizer, the rest is text. Where decoding is the inverse
 * of encoding the text comes back, with U+FFFD for what is no UTF-8. */
#include "tests/fuzz/tokenizer_parts.h"

#include "tokenizer/stream.h"

typedef struct {
    const char *path;
    bool        inverse;
    mr_bad_rule rule;
} kind;

static const kind kinds[] = {
    {"golden/tokenizers/spm_small.model", true, MR_BAD_BYTE},
    {"golden/tokenizers/tekken_small.json", true, MR_BAD_PART},
    {"golden/tokenizers/spm_nfkc_small.model", false, MR_BAD_BYTE},
    {"golden/tokenizers/hf_spm.json", false, MR_BAD_PART},
    {"golden/tokenizers/hf_metaspace.json", false, MR_BAD_PART},
    {"golden/tokenizers/hf_tekken.json", false, MR_BAD_PART},
    {"golden/tokenizers/hf_gpt2.json", false, MR_BAD_PART},
    {"golden/tokenizers/hf_nfkc.json", false, MR_BAD_PART},
};

/* SentencePiece writes spaces as U+2581, so a typed U+2581 comes back as a space. */
static void spaces(mr_text *text) {
    idx to = 0;
    for (idx i = 0; i < text->count; to++) {
        const bool space = text->count - i >= 3 && memcmp(text->byte + i, "\xE2\x96\x81", 3) == 0;
        text->byte[to] = space ? ' ' : text->byte[i];
        i += space ? 3 : 1;
    }
    text->count = to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_ids ids = {0};
    mr_text back = {0}, want = {0};
    if (size == 0) return 0;
    const kind *k = &kinds[data[0] % (sizeof kinds / sizeof *kinds)];
    fuzz_encode(fuzz_tokenizer(k->path), (const char *)data + 1, (idx)size - 1, &ids, &back);
    if (k->inverse) {
        FUZZ_OK(mr_utf8_clean((const char *)data + 1, (idx)size - 1, k->rule, &want, NULL),
                &(mr_err){0});
        if (k->rule == MR_BAD_BYTE) spaces(&want);
        FUZZ(want.count == back.count);
        FUZZ(want.count == 0 || memcmp(want.byte, back.byte, (size_t)want.count) == 0);
    }
    mr_ids_free(&ids);
    mr_text_free(&back);
    mr_text_free(&want);
    return 0;
}
