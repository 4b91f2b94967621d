/* A configuration as the text of params.json or config.json. */
#ifndef MR_WEIGHTS_CONFIG_WRITE_H
#define MR_WEIGHTS_CONFIG_WRITE_H

#include "ref/config.h"
#include "weights/text.h"

void mr_config_write_native(mr_writer *text, const mr_config *config);

/* dtype is told to the loader. Refuses windows that differ from layer to layer: the class has one
 * for all. */
mr_status mr_config_write_hf(mr_writer *text, const mr_config *config, mr_dtype dtype);

#endif
