/* Which keys a query sees: one rule, stated once, as a range of positions. */
#ifndef MR_REF_MASK_H
#define MR_REF_MASK_H

#include "ref/config.h"

/* (A1) keys [*from, *to) that the query at position i sees among `n` keys of its own sequence;
 * positions count from the sequence's first token, window in keys (0: none). Empty ranges have
 * *from == *to. Sequences never see each other. */
void mr_mask_range(mr_window_rule rule, idx window, idx i, idx n, idx *from, idx *to);

/* The same as a table: mask[t,s] = 1 when token t sees column s. Sequence b has length[b] new
 * tokens after seen[b] older ones and owns columns [column[b], column[b] + seen[b] + length[b]);
 * mask: [sum of length, columns], cleared first. */
void mr_mask_fill(uint8_t *mask, mr_window_rule rule, idx window, idx n_seqs, const idx *length,
                  const idx *seen, const idx *column, idx columns);

#endif
