/* Weights that are not in memory yet, or do not fit: read from the mapped file ahead of the
 * layer that needs them, while the one before it is computed. */
#ifndef MR_WEIGHTS_PAGES_H
#define MR_WEIGHTS_PAGES_H

#include "ref/model.h"

/* What mr_run_options.coming wants. Before layer l it asks the system for the weights of layer
 * l + 1 (with l = 0 also for its own, with the last layer for the output head) as far as they are
 * not in memory, and returns at once: the disk works while layer l is computed.
 * A model larger than memory shows by layer 0, which this call has used, being gone again. Then
 * the pages of the two layers before l are given back first, so that the layers to come find room
 * at once and what is left of the others can serve the next call.
 * Nothing here changes a number, and a model in memory costs a few looks at pages a call. The
 * system should have room for three layers. */
void mr_pages_coming(const mr_model *model, idx layer);

#endif
