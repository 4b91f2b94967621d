/* Fuzzing params.json, the first Mixtral release's among them. */
#include "tests/fuzz/config_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_config("params.json", data, size);
    return 0;
}
