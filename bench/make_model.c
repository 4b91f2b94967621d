/* Writes a model of random weights as fast as the disk takes it, for measuring: every matrix is a
 * view of one block of random numbers, each row a little further in it than the last. Norms are 1.
 *     make_model CONFIG FOLDER bf16|f32 */
#include <stdio.h>
#include <string.h>

#include "bench/measure.h"
#include "weights/element.h"
#include "weights/names.h"

enum { STEP = 61, PARAMETER = 4099 };   /* elements from row to row, from parameter to parameter */

/* Close to uniform in (-0.035, 0.035), whose standard deviation is the usual 0.02. */
static void fill(void *block, mr_dtype dtype, idx n, bool one) {
    uint64_t z = 1;
    for (idx i = 0; i < n; i++) {
        z = z * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        mr_element_put(block, dtype, i, one ? 1 : ((double)(z >> 40) / (1 << 24) - 0.5) * 0.07);
    }
}

/* Layers and experts without weights. */
static void make_layers(mr_model *m, mr_err *err) {
    const mr_config *c = &m->config;
    const idx blocks = c->n_experts > 0 ? c->n_experts : 1;
    m->layers = mr_alloc(c->n_layers, sizeof *m->layers, err);
    mr_ffn *ffn = mr_alloc(c->n_layers * blocks, sizeof *ffn, err);
    if (err->code) mr_bench_stop(err);
    for (idx l = 0; l < c->n_layers; l++) m->layers[l].ffn = ffn + l * blocks;
}

/* Points every parameter into one of the two blocks. */
static void make_views(mr_model *m, mr_dtype dtype, mr_err *err) {
    mr_names names;
    idx most = 0, widest = 0;
    mr_names_init(&names, &m->config);
    for (idx i = 0; i < names.count; i++) {
        const mr_kind *k = mr_names_at(&names, i).kind;
        most = k->rows > most ? k->rows : most;
        widest = k->cols > widest ? k->cols : widest;
    }
    const idx size = mr_dtype_size(dtype), range = most * STEP + widest + 64 * PARAMETER;
    char *block = mr_alloc(range, size, err), *ones = mr_alloc(widest, size, err);
    if (err->code) mr_bench_stop(err);
    fill(block, dtype, range, false);
    fill(ones, dtype, widest, true);
    for (idx i = 0; i < names.count; i++) {
        const mr_param p = mr_names_at(&names, i);
        const mr_kind *k = p.kind;
        char *at = k->rank == 1 ? ones : block + i % 64 * PARAMETER * size;
        *mr_param_matrix(m, p) = (mr_matrix){at, dtype, k->rows, k->cols, STEP, 1};
    }
    if (m->config.tied_embeddings) m->output = m->tok_embeddings;
}

int main(int argc, char **argv) {
    mr_err err = {0};
    mr_model m = {.qk_rows = MR_HALF_SPLIT};
    char warning[1024];
    if (argc != 4 || (strcmp(argv[3], "bf16") != 0 && strcmp(argv[3], "f32") != 0)) {
        fprintf(stderr, "usage: make_model CONFIG FOLDER bf16|f32\n");
        return MR_USAGE;
    }
    const mr_dtype dtype = strcmp(argv[3], "f32") == 0 ? MR_F32 : MR_BF16;
    if (mr_config_read(argv[1], &m.config, warning, sizeof warning, &err)) mr_bench_stop(&err);
    make_layers(&m, &err);
    make_views(&m, dtype, &err);
    if (mr_checkpoint_save(&m, argv[2], MR_LAYOUT_HF, true, dtype, &err)) mr_bench_stop(&err);
    return MR_OK;   /* the memory goes with the process */
}
