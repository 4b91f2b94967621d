/* init: random weights from a configuration and a seed, which any other program can make again
 * (docs/FORMATS.md). */
#include "cli/cli.h"

#include <string.h>

mr_status mr_cmd_init(const mr_args *args, mr_err *err) {
    mr_config config;
    mr_checkpoint made = {0};
    char warning[1024] = "";
    int64_t seed = 0;
    double std = 0.02, embedding_std = 0;
    const size_t length = strlen(args->model);
    const bool native_file = length >= 11 && strcmp(args->model + length - 11, "params.json") == 0;
    int layout = native_file ? 1 : 0, dtype = 0;
    if (args->output == NULL) return mr_fail(err, MR_USAGE, "init: -o DIR is needed");
    if (mr_value_int("--seed", args->seed, 0, INT64_MAX, &seed, err) ||
        mr_value_number("--std", args->std, &std, err) ||
        mr_value_number("--embedding-std", args->embedding_std, &embedding_std, err) ||
        mr_value_word("--to", args->to, "hf|native", &layout, err) ||
        mr_value_word("--dtype", args->dtype, "bf16|f32", &dtype, err) ||
        mr_config_read(args->model, &config, warning, sizeof warning, err))
        return err->code;
    if (warning[0] != '\0') fprintf(stderr, "mistral-ref: note: %s\n", warning);
    const mr_random how = {(uint64_t)seed, std, args->embedding_std ? embedding_std : std};
    if (mr_checkpoint_random(&config, &how, dtype ? MR_F32 : MR_BF16, &made, err) == MR_OK)
        mr_checkpoint_save(&made.model, args->output, layout ? MR_LAYOUT_NATIVE : MR_LAYOUT_HF,
                           true, MR_F32, err);
    mr_checkpoint_close(&made);
    return err->code;
}
