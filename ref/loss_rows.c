/* Which rows of packed sequences are scored, and with what weight: token losses, reward head. */
#include "ref/losses.h"

/* (X4) target[t] = token[t+1] within the sequence, -1 in its last row and where t+1 is not scored
 * Hugging Face transformers ForCausalLMLoss: logits and labels shifted by one. The mask belongs to
 * the target and is shifted with it. Sequences are packed, so a last row has no successor even when
 * another sequence follows.
 *                targets,tokens: [rows]  scored: [rows], NULL: all tokens  length: [n_seqs] rows */
void mr_next_tokens(int32_t *targets, const int32_t *tokens, const uint8_t *scored,
                    const idx *length, idx n_seqs) {
    idx row = 0;
    for (idx b = 0; b < n_seqs; b++)
        for (idx t = 0; t < length[b]; t++, row++) {
            const bool counts = t + 1 < length[b] && (scored == NULL || scored[row + 1] != 0);
            targets[row] = counts ? tokens[row + 1] : -1;
        }
}

/* Sequences that share one mean with sequence `b`, the first of group g. */
static idx group_size(mr_reduction reduction, idx g, idx n_seqs, const idx *micro) {
    if (reduction == MR_LOSS_SEQUENCE) return 1;
    return reduction == MR_LOSS_MICROBATCH ? micro[g] : n_seqs;
}

static idx rows_of(const idx *length, idx n_seqs) {
    idx rows = 0;
    for (idx b = 0; b < n_seqs; b++) rows += length[b];
    return rows;
}

static idx scored_of(const int32_t *targets, idx rows) {
    idx n = 0;
    for (idx t = 0; t < rows; t++) n += targets[t] >= 0;
    return n;
}

/* (X5) L = sum_t weight_t (-log p_t)
 *      token: 1/N  sequence: 1/(B n_b)  microbatch: 1/(M n_m)  sum: 1
 * N scored rows in all, n_b and n_m in the sequence or micro-batch of t; B and M count those that
 * have a scored row. Nothing scored: all weights 0, so the loss and its gradient are 0.
 * token: transformers with num_items_in_batch; microbatch: mistral-finetune train.py; sequence:
 * definition. Domain: micro adds up to n_seqs.
 *                                                      weight,targets: [rows]  length: [n_seqs] */
void mr_loss_weights(double *weight, const int32_t *targets, const idx *length, idx n_seqs,
                     const idx *micro, mr_reduction reduction) {
    idx groups = 0;
    for (idx b = 0, g = 0, row = 0; b < n_seqs; g++) {
        const idx size = group_size(reduction, g, n_seqs, micro);
        const idx rows = rows_of(length + b, size);
        groups += scored_of(targets + row, rows) > 0;
        row += rows;
        b += size;
    }
    for (idx b = 0, g = 0, row = 0; b < n_seqs; g++) {
        const idx size = group_size(reduction, g, n_seqs, micro);
        const idx rows = rows_of(length + b, size), n = scored_of(targets + row, rows);
        const double divisor = reduction == MR_LOSS_SUM ? 1 : (double)groups * (double)n;
        for (const idx end = row + rows; row < end; row++)
            weight[row] = targets[row] >= 0 ? 1 / divisor : 0;
        b += size;
    }
}

/* (X6) row of the reward = (sum of the lengths before b) + length[b] - 1
 * The length is given, never found by looking for padding or end-of-sequence ids: where both are
 * one id, that search scores another token. -1: the sequence is empty. */
idx mr_score_row(const idx *length, idx b) {
    return length[b] > 0 ? rows_of(length, b) + length[b] - 1 : -1;
}
