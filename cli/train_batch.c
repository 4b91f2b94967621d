/* From examples to what one call of the model takes: tokens packed sequence after sequence. */
#include "cli/train.h"

#include <string.h>

/* Lengths of 0 follow, because a run always looks at as many as a full call has. */
static mr_status make_room(mr_packed *b, idx call, mr_err *err) {
    const idx full = call * b->data->sequences;
    b->example = mr_alloc(b->examples, sizeof *b->example, err);
    b->length = mr_alloc(b->sequences + full, sizeof *b->length, err);
    b->tokens = mr_alloc(b->rows, sizeof *b->tokens, err);
    b->targets = mr_alloc(b->rows, sizeof *b->targets, err);
    b->weight = mr_alloc(b->rows, sizeof *b->weight, err);
    return b->example != NULL && b->length != NULL && b->tokens != NULL && b->targets != NULL &&
                   b->weight != NULL ? MR_OK : MR_BAD;
}

/* Tokens, lengths and marks of all sequences, example after example. */
static void gather(mr_packed *b, const mr_train_data *data, uint8_t *scored) {
    idx row = 0, sequence = 0;
    for (idx i = 0; i < b->examples; i++)
        for (idx n = 0; n < data->sequences; n++) {
            const idx start = b->example[i]->start[n], count = b->example[i]->count[n];
            memcpy(b->tokens + row, data->ids.id + start, (size_t)count * sizeof *b->tokens);
            memcpy(scored + row, data->scored.byte + start, (size_t)count);
            b->length[sequence++] = count;
            row += count;
        }
}

mr_status mr_packed_fill(mr_packed *b, const mr_train_data *data, mr_example **example,
                         idx examples, idx call, mr_reduction reduction, mr_err *err) {
    const idx calls = (examples + call - 1) / call;
    *b = (mr_packed){.data = data, .examples = examples, .part = 1,
                    .sequences = examples * data->sequences, .share = 1 / (double)examples};
    for (idx i = 0; i < examples; i++) b->rows += example[i]->count[0] + example[i]->count[1];
    if (make_room(b, call, err)) return MR_BAD;
    memcpy(b->example, example, (size_t)examples * sizeof *example);
    uint8_t *scored = mr_alloc(b->rows, 1, err);
    idx *micro = mr_alloc(calls, sizeof *micro, err);
    if (scored != NULL && micro != NULL) {
        gather(b, data, scored);
        for (idx i = 0; i < calls; i++)
            micro[i] = data->sequences * (i + 1 < calls ? call : examples - i * call);
        mr_next_tokens(b->targets, b->tokens, scored, b->length, b->sequences);
        mr_loss_weights(b->weight, b->targets, b->length, b->sequences, micro, reduction);
    }
    const bool short_of_memory = scored == NULL || micro == NULL;
    mr_free(scored);
    mr_free(micro);
    return short_of_memory ? MR_BAD : MR_OK;
}

mr_packed mr_packed_call(const mr_packed *batch, const mr_packed *before, idx call) {
    const idx done = before->example == NULL ? 0
                     : (idx)(before->example - batch->example) + before->examples;
    const idx row = before->example == NULL ? 0
                    : (idx)(before->tokens - batch->tokens) + before->rows;
    const idx per = batch->sequences / batch->examples;
    mr_packed c = *batch;
    c.example = batch->example + done;
    c.examples = batch->examples - done < call ? batch->examples - done : call;
    c.sequences = c.examples * per;
    c.length = batch->length + done * per;
    c.rows = 0;
    for (idx b = 0; b < c.sequences; b++) c.rows += c.length[b];
    c.tokens = batch->tokens + row;
    c.targets = batch->targets + row;
    c.weight = batch->weight + row;
    c.part = (double)c.rows / (double)batch->rows;
    return c;
}

void mr_packed_free(mr_packed *b) {
    mr_free(b->example);
    mr_free(b->length);
    mr_free(b->tokens);
    mr_free(b->targets);
    mr_free(b->weight);
    *b = (mr_packed){0};
}

double mr_answer_log_probability(const mr_run *run, const mr_packed *call, idx b, idx *scored) {
    double sum = 0;
    idx row = 0;
    for (idx i = 0; i < b; i++) row += call->length[i];
    *scored = 0;
    for (idx t = 0; t < call->length[b]; t++, row++)
        if (call->targets[row] >= 0) {
            sum += mr_run_log_probability(run, row, call->targets[row]);
            ++*scored;
        }
    return sum;
}
