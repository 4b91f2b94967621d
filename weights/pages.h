/* Weights that are not in memory yet, or do not fit: read from the mapped file ahead of the
 * layer that needs them, while the one before it is computed. */
#ifndef MR_WEIGHTS_PAGES_H
#define MR_WEIGHTS_PAGES_H

#include "ref/model.h"

/* What mr_run_options.coming wants. Before layer l a thread starts to read the weights of layer
 * l + 1 (with l = 0 another one its own, with the last layer the output head), if any of them are
 * not in memory; this call returns at once. Then also the pages of layer l - 1 are the first to go
 * where memory is short: else the system, for which what was used is worth more than what was not,
 * throws away what was read ahead, and reads it twice. Once memory is seen to be short, because
 * what every token used of layer 0 is there no more, they go at once: putting them out a few at a
 * time would hold up the reading.
 * Nothing here changes a number, and a model in memory costs a few looks at pages a call. The
 * system should have room for three layers. */
void mr_pages_coming(const mr_model *model, idx layer);

#endif
