/* From a folder to a model: configuration, tensors and the binding of one to the other. */
#ifndef MR_WEIGHTS_CHECKPOINT_H
#define MR_WEIGHTS_CHECKPOINT_H

#include "ref/model.h"
#include "weights/tensors.h"

typedef struct {
    mr_model   model;
    mr_tensors tensors;
    char       warning[1024];   /* assumptions made (head_dim absent, unknown keys...), or "" */
} mr_checkpoint;

/* Reads config.json or params.json (both documented in docs/FORMATS.md). `path` is the file or its
 * folder. Conventions are set to their defaults. Absent is not null. Assumptions are told in
 * warning[size]. */
mr_status mr_config_read(const char *path, mr_config *out, char *warning, idx size, mr_err *err);

/* Opens MODEL: a folder with config.json + *.safetensors (Hugging Face) or params.json +
 * consolidated.safetensors (native). The naming layout is recognised by tensor names, not by file
 * names. */
mr_status mr_checkpoint_open(const char *folder, mr_checkpoint *out, mr_err *err);
void      mr_checkpoint_close(mr_checkpoint *checkpoint);

/* Binds an already opened set (takes ownership of it, also when it fails) to a configuration:
 * every tensor present, none left over, shapes as the configuration says, a dtype the model can
 * use. Used by mr_checkpoint_open and for models made in memory. */
mr_status mr_checkpoint_bind(mr_tensors *set, const mr_config *config, mr_checkpoint *out,
                             mr_err *err);

typedef enum { MR_LAYOUT_NATIVE, MR_LAYOUT_HF } mr_layout;

/* Saves a model with its configuration into `folder` (made if absent): params.json +
 * consolidated.safetensors, or config.json + model.safetensors with rotary rows permuted as that
 * layout wants. dtype: F64, F32, F16 or BF16, rounded to nearest even; *keep true keeps each
 * tensor's dtype. */
mr_status mr_checkpoint_save(const mr_model *model, const char *folder, mr_layout layout,
                             bool keep_dtype, mr_dtype dtype, mr_err *err);

/* Makes the weights of the specification's tiny golden models from a formula, F64, native names
 * (docs/FORMATS.md): M[r][c] = 0.35 sin(0.7 t + 1.3 r + 0.41 c + 0.05 r c), norms 1 + 0.1 cos(t +
 * c). */
mr_status mr_checkpoint_formula(const mr_config *config, mr_checkpoint *out, mr_err *err);

/* Random weights that any program can make again from the seed and the tensors' native names
 * (generator: docs/FORMATS.md). dtype F32 or BF16. */
typedef struct {
    uint64_t seed;
    double   std, embedding_std;  /* of the matrices, and of tok_embeddings */
} mr_random;

mr_status mr_checkpoint_random(const mr_config *config, const mr_random *how, mr_dtype dtype,
                               mr_checkpoint *out, mr_err *err);

/* The same with 0.02 for both. */
mr_status mr_checkpoint_init(const mr_config *config, uint64_t seed, mr_dtype dtype,
                             mr_checkpoint *out, mr_err *err);

#endif
