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

/* (E1') dE[token_t,:] += dh[t,:], ascending t: a repeated id adds up
 *                                                                      dtable: [V,d]  dh: [T,d] */
void FN(embedding_backward)(const mr_matrix *dtable, const real *dh, const int32_t *tokens,
                            idx T) {
    for (idx t = 0; t < T; t++) {
        real *row = FN(gradient_row)(dtable, tokens[t]);
        for (idx i = 0; i < dtable->cols; i++) row[i] += dh[t * dtable->cols + i];
    }
}
