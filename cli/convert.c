/* convert: the same model in another layout, element type, or with fewer key-value heads. */
#include "cli/cli.h"

#include <string.h>

#include "ref/gqa.h"

/* Replaces wk and wv of every layer by the means of their groups; *rows owns the new matrices. */
static mr_status average_heads(mr_model *m, idx G, double **rows, mr_layer **layers, mr_err *err) {
    const idx L = m->config.n_layers, D = m->config.head_dim, d = m->config.dim, size = G * D * d;
    *rows = mr_alloc(2 * L, size * (idx)sizeof **rows, err);
    *layers = mr_alloc(L, sizeof **layers, err);
    if (*rows == NULL || *layers == NULL) return MR_BAD;
    for (idx l = 0; l < L; l++) {
        mr_layer *layer = &(*layers)[l];
        mr_matrix *const old[] = {&layer->wk, &layer->wv};
        *layer = m->layers[l];
        for (int n = 0; n < 2; n++) {
            double *mean = *rows + (2 * l + n) * size;
            mr_gqa_mean(mean, old[n], m->config.n_kv_heads, G, D);
            *old[n] = (mr_matrix){mean, MR_F64, G * D, d, d, 1};
        }
    }
    m->layers = *layers;
    m->config.n_kv_heads = G;
    return MR_OK;
}

mr_status mr_cmd_convert(const mr_args *args, mr_err *err) {
    static const mr_dtype dtypes[] = {MR_F64, MR_F32, MR_BF16, MR_F16};
    mr_checkpoint from = {0};
    double *rows = NULL;
    mr_layer *layers = NULL;
    int layout = -1, dtype = -1;
    int64_t heads = 0;
    if (args->output == NULL || args->to == NULL)
        return mr_fail(err, MR_USAGE, "convert: -o DIR and --to hf|native are needed");
    if (mr_value_word("--to", args->to, "hf|native", &layout, err) ||
        mr_value_word("--dtype", args->dtype, "f64|f32|bf16|f16", &dtype, err) ||
        mr_value_int("--kv-heads", args->kv_heads, 1, 65536, &heads, err) ||
        mr_checkpoint_open(args->model, &from, err)) return err->code;
    mr_model model = from.model;
    if (heads > 0 && model.config.n_kv_heads % heads != 0)
        mr_fail(err, MR_USAGE,
                "--kv-heads: expected a divisor of the model's %td KV heads, found %lld",
                model.config.n_kv_heads, (long long)heads);
    /* means are doubles: store them as the model stores its keys */
    if (heads > 0 && dtype < 0 && err->code == MR_OK)
        for (int n = 0; n < 4; n++)
            if (dtypes[n] == model.layers[0].wk.dtype) dtype = n;
    if (err->code == MR_OK &&
        (heads == 0 || average_heads(&model, (idx)heads, &rows, &layers, err) == MR_OK))
        mr_checkpoint_save(&model, args->output, layout ? MR_LAYOUT_NATIVE : MR_LAYOUT_HF,
                           dtype < 0, dtypes[dtype < 0 ? 0 : dtype], err);
    mr_free(rows);
    mr_free(layers);
    mr_checkpoint_close(&from);
    return err->code;
}
