/* Fuzzing tokenizer.model, a protobuf message. */
#include "tests/fuzz/tokenizer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_tokenizer_file(fuzz_file("tokenizer.model", data, size));
    return 0;
}
