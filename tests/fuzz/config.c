/* Fuzzing config.json. */
#include "tests/fuzz/config_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_config("config.json", data, size);
    return 0;
}
