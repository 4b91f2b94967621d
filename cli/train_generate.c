/* Generating with the model being trained: many sequences at once, each with random numbers of its
 * own, so that the answers do not depend on how many are made together. */
#include "cli/train.h"

#include <string.h>

#include "tokenizer/lists.h"

mr_status mr_generator_open(mr_generator *g, const mr_model *model, const mr_run_options *how,
                            idx sequences, idx longest, idx max_new, mr_err *err) {
    const idx V = model->config.vocab_size;
    mr_run_options o = *how;
    const mr_room room = {sequences, longest + max_new, sequences * longest};
    *g = (mr_generator){.model = model, .sequences = sequences, .max_new = max_new};
    o.last_only = true;
    g->logits = mr_alloc(V, sizeof *g->logits, err);
    g->probs = mr_alloc(V, sizeof *g->probs, err);
    g->order = mr_alloc(V, sizeof *g->order, err);
    g->tokens = mr_alloc(room.tokens, sizeof *g->tokens, err);
    g->length = mr_alloc(sequences, sizeof *g->length, err);
    if (g->logits == NULL || g->probs == NULL || g->order == NULL || g->tokens == NULL ||
        g->length == NULL || mr_room_options(&room, &o, err)) return MR_BAD;
    const mr_status status = mr_run_open(model, &o, &g->run, err);
    mr_free((idx *)o.capacity);
    return status;
}

void mr_generator_close(mr_generator *g) {
    mr_run_close(g->run);
    mr_free(g->logits);
    mr_free(g->probs);
    mr_free(g->order);
    mr_free(g->tokens);
    mr_free(g->length);
    *g = (mr_generator){0};
}

/* Tokens that the run has not seen yet, of sequences that go on; how many there are. */
static idx unseen(mr_generator *g, const mr_ids *sequence, int32_t eos, const idx *prompt) {
    idx n = 0;
    for (idx b = 0; b < g->sequences; b++) {
        const idx seen = mr_run_seen(g->run, b), count = sequence[b].count;
        const bool ended = count > prompt[b] && (count - prompt[b] == g->max_new ||
                                                 sequence[b].id[count - 1] == eos);
        g->length[b] = ended ? 0 : count - seen;
        memcpy(g->tokens + n, sequence[b].id + seen, (size_t)g->length[b] * sizeof *g->tokens);
        n += g->length[b];
    }
    return n;
}

static mr_status go_on(mr_generator *g, mr_ids *sequence, mr_rng *rng, int32_t eos,
                       const mr_sampling *how, const idx *prompt, mr_err *err) {
    const idx V = g->model->config.vocab_size;
    while (unseen(g, sequence, eos, prompt) > 0) {
        if (mr_run_forward(g->run, g->tokens, g->length, err)) return err->code;
        for (idx b = 0, row = 0; b < g->sequences; b++) {
            if (g->length[b] == 0) continue;
            mr_run_logits(g->run, row++, g->logits);
            const int32_t next = mr_sample(g->logits, V, how, &rng[b], g->probs, g->order);
            if (mr_ids_push(&sequence[b], next, err)) return MR_BAD;
        }
    }
    return MR_OK;
}

mr_status mr_generate(mr_generator *g, mr_ids *sequence, mr_rng *rng, int32_t eos,
                      const mr_sampling *how, mr_err *err) {
    idx *prompt = mr_alloc(g->sequences, sizeof *prompt, err);
    if (prompt == NULL) return MR_BAD;
    for (idx b = 0; b < g->sequences; b++) {
        prompt[b] = sequence[b].count;
        mr_run_reset(g->run, b, 0);
    }
    const mr_status status = go_on(g, sequence, rng, eos, how, prompt, err);
    mr_free(prompt);
    return status;
}

/* ---- --sample -------------------------------------------------------------------------------- */

static mr_status prompt_of(const mr_trainer *t, mr_ids *ids, mr_err *err) {
    if (t->tokenizer == NULL) return mr_fail(err, MR_BAD, "--sample: %s", t->no_tokenizer.text);
    if (t->set.chat)
        return mr_chat_prompt(t->tokenizer, t->set.version, t->set.sample, ids, err);
    const int32_t bos = mr_tokenizer_bos(t->tokenizer);
    if (bos >= 0 && mr_ids_push(ids, bos, err)) return MR_BAD;
    return mr_tokenizer_encode(t->tokenizer, t->set.sample, (idx)strlen(t->set.sample), ids, err);
}

mr_status mr_train_sample(mr_trainer *t, mr_text *out, mr_err *err) {
    mr_generator g = {0};
    mr_ids ids = {0};
    mr_rng rng = mr_train_stream(t->set.seed, MR_STREAM_SAMPLE, (uint64_t)t->at.step);
    mr_status status = prompt_of(t, &ids, err);
    const idx prompt = ids.count;
    if (status == MR_OK)
        status = mr_generator_open(&g, &t->policy, &t->set.run, 1, prompt, (idx)t->set.max_new,
                                   err);
    if (status == MR_OK)
        status = mr_generate(&g, &ids, &rng, mr_tokenizer_eos(t->tokenizer), &t->set.sampling,
                             err);
    if (status == MR_OK)
        status = mr_tokenizer_decode(t->tokenizer, ids.id + prompt, ids.count - prompt, out, err);
    mr_generator_close(&g);
    mr_ids_free(&ids);
    return status;
}
