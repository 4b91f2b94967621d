/* Collects what the kernels computed, row by row in the order of the trace, and writes it. */
#ifndef TESTS_PORT_RECORD_H
#define TESTS_PORT_RECORD_H

#include "tests/port/port.h"

/* Order of execution. */
typedef enum {
    PORT_EMBEDDINGS, PORT_ATTENTION_NORM, PORT_Q, PORT_K, PORT_V, PORT_Q_ROPE, PORT_K_ROPE,
    PORT_SCORES, PORT_PROBS, PORT_ATTENTION, PORT_ATTENTION_OUT, PORT_H_MID, PORT_FFN_NORM,
    PORT_W1, PORT_W3, PORT_ACT, PORT_ROUTER_LOGITS, PORT_ROUTER_EXPERTS, PORT_ROUTER_WEIGHTS,
    PORT_EXPERT_OUT, PORT_FFN_OUT, PORT_H, PORT_NORM, PORT_LOGITS, PORT_TENSORS
} port_tensor;

typedef struct port_record port_record;

/* `what`: all, fused, sparse, or globs joined by commas. */
port_record *port_record_new(const char *what, const port_model *model, idx total);
void port_record_free(port_record *record);

/* Row r of the launch is data[r*stride ...]; padding is left out. */
void port_record_rows(port_record *record, port_tensor tensor, idx layer, const port_call *call,
                      const float *data, idx stride);
void port_record_experts(port_record *record, idx layer, const port_call *call,
                         const int32_t *expert);
void port_record_expert(port_record *record, idx layer, idx expert, idx row, const float *data);
bool port_records_scores(const port_record *record);
/* Forgets what an earlier turn left in a row of scores. */
void port_record_no_scores(port_record *record, idx layer, idx head, idx row);
void port_record_score(port_record *record, idx layer, idx head, idx row, idx column, float score,
                       float probability);

mr_status port_record_write(const port_record *record, const port_engine *engine,
                            const char *path, const char *meta, mr_err *err);

#endif
