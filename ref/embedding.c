/* Token embedding: a row of the table for every token. No scaling, no position embedding. */
#include "ref/real.h"
#include "ref/mr_internal.h"

/* (E1) h[t,:] = table[tokens[t],:]
 *                                                  mistral-src one_file_ref.py, Transformer.forward
 * h: [T,d]  table: [V,d] */
void FN(embedding)(real *h, const int32_t *tokens, const mr_matrix *table, idx T,
                   mr_storage storage) {
    for (idx t = 0; t < T; t++)
        FN(widen)(h + t * table->cols, table, tokens[t], 0, table->cols, storage);
}
