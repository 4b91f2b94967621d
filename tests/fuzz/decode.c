/* Fuzzing decode: the first byte picks a tokenizer and says how wide ids are (1, 2 or 4 bytes),
 * the rest are ids. */
#include "tests/fuzz/tokenizer_parts.h"

static const char *const paths[] = {
    "golden/tokenizers/spm_small.model",   "golden/tokenizers/tekken_small.json",
    "golden/tokenizers/hf_spm.json",       "golden/tokenizers/hf_metaspace.json",
    "golden/tokenizers/hf_tekken.json",    "golden/tokenizers/hf_gpt2.json",
    "golden/tokenizers/hf_nfkc.json",      "golden/tokenizers/spm_nfkc_small.model",
};
enum { KINDS = sizeof paths / sizeof *paths, MOST = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int32_t ids[MOST];
    idx count = 0;
    if (size == 0) return 0;
    const size_t width = (size_t)1 << data[0] / KINDS % 3;
    for (size_t at = 1; at + width <= size && count < MOST; at += width) {
        uint32_t id = 0;
        for (size_t i = width; i-- > 0; ) id = id << 8 | data[at + i];
        memcpy(&ids[count++], &id, sizeof id);
    }
    mr_text text = {0};
    fuzz_decode(fuzz_tokenizer(paths[data[0] % KINDS]), ids, count, &text);
    mr_text_free(&text);
    return 0;
}
