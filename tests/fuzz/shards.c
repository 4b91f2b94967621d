/* Fuzzing model.safetensors.index.json beside two shards: what opens has each tensor of the shards
 * once. */
#include "tests/fuzz/fuzz.h"

#include "weights/safetensors.h"

/* a.safetensors holds x and y, b.safetensors holds z. */
static void make_shards(void) {
    static const float value[3] = {1, 2, 3};
    const mr_tensor t[3] = {{"x", MR_F32, 1, {1}, &value[0]}, {"y", MR_F32, 1, {1}, &value[1]},
                            {"z", MR_F32, 1, {1}, &value[2]}};
    mr_err err = {0};
    FUZZ_OK(mr_safetensors_save(fuzz_path("a.safetensors"), t, 2, NULL, &err), &err);
    FUZZ_OK(mr_safetensors_save(fuzz_path("b.safetensors"), t + 2, 1, NULL, &err), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool made;
    mr_err err = {0};
    mr_tensors set;
    if (!made) make_shards();
    made = true;
    const char *path = fuzz_file("model.safetensors.index.json", data, size);
    const mr_status status = mr_safetensors_open(path, &set, &err);
    if (status != MR_OK) {
        FUZZ(set.count == 0 && set.tensor == NULL && set.owner == NULL);
        fuzz_refused(status, &err);
        return 0;
    }
    for (idx i = 0; i < set.count; i++) {
        const char *name = set.tensor[i].name;
        FUZZ(strlen(name) == 1 && name[0] >= 'x' && name[0] <= 'z');
        FUZZ(*(const float *)set.tensor[i].data == (float)(name[0] - 'x' + 1));
        FUZZ(mr_tensors_find(&set, name) == &set.tensor[i]);
    }
    mr_tensors_close(&set);
    return 0;
}
