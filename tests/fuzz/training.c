/* Fuzzing training.state of the smallest model there is: what loads can be saved and loaded
 * again. */
#include "tests/fuzz/fuzz.h"

#include "weights/checkpoint.h"
#include "weights/training.h"

#define COLUMNS 3

static mr_checkpoint part[3];

static void release(void) {
    for (int i = 0; i < 3; i++) mr_checkpoint_close(&part[i]);
}

static void make_parts(void) {
    const mr_config c = {.dim = 2, .n_layers = 1, .head_dim = 2, .hidden_dim = 1, .n_heads = 1,
                         .n_kv_heads = 1, .vocab_size = 2, .norm_eps = 1e-5, .rope_theta = 1e4,
                         .bos_id = -1, .eos_id = -1};
    mr_err err = {0};
    for (int i = 0; i < 3; i++)
        FUZZ_OK(mr_checkpoint_init(&c, (uint64_t)i, MR_F32, &part[i], &err), &err);
    atexit(release);
}

static mr_training state_of(json_t *settings) {
    return (mr_training){.part = {&part[0].model, &part[1].model, &part[2].model},
                         .columns = COLUMNS, .settings = settings};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_err err = {0};
    if (part[0].model.layers == NULL) make_parts();
    json_t *settings = json_pack("{s:i}", "seed", 7);
    mr_training state = state_of(settings), again = state_of(settings);
    const mr_status status = mr_training_load(fuzz_file("input.state", data, size), &state, &err);
    if (status != MR_OK) fuzz_refused(status, &err);
    else {
        const char *path = fuzz_path("again.state");
        FUZZ(state.rows >= 0 && state.rows == (idx)state.counter[0]);
        FUZZ_OK(mr_training_save(path, &state, &err), &err);
        FUZZ_OK(mr_training_load(path, &again, &err), &err);
        FUZZ(memcmp(state.counter, again.counter, sizeof state.counter) == 0);
        FUZZ(memcmp(&state.best, &again.best, sizeof state.best) == 0);
        FUZZ(memcmp(state.log, again.log, (size_t)(state.rows * COLUMNS) * sizeof(double)) == 0);
    }
    mr_free(state.log);
    mr_free(again.log);
    json_decref(settings);
    return 0;
}
