/* Recognises files that are no trace, so that the message can say what they are. */
#ifndef MR_GOLDEN_TRACE_KIND_H
#define MR_GOLDEN_TRACE_KIND_H

#include "ref/base.h"

/* MR_BAD with a message for a folder, an empty file, and kinds of files that are often given by
 * mistake (pickles, single arrays, images, text, the other kind of trace); else MR_OK. */
mr_status mr_trace_foreign(const char *path, mr_err *err);

#endif
