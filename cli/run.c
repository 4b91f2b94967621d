/* run: text in, text out, one token at a time. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    mr_sampling sampling;
    mr_rng      rng;
    int64_t     steps, chunk;
    idx         context;   /* id that the next printed text follows on */
    double     *logits, *probs;
    int32_t    *order;
} generation;

static mr_status read_options(const mr_args *args, generation *g, mr_err *err) {
    int64_t seed = 0, top_k = 0;
    g->sampling.top_p = 1;
    g->steps = 128;
    g->chunk = 256;
    if (mr_value_int("-n", args->steps, 0, INT32_MAX, &g->steps, err) ||
        mr_value_int("--chunk", args->chunk, 1, INT32_MAX, &g->chunk, err) ||
        mr_value_int("--seed", args->seed, 0, INT64_MAX, &seed, err) ||
        mr_value_int("--top-k", args->top_k, 0, INT32_MAX, &top_k, err) ||
        mr_value_number("--temp", args->temperature, &g->sampling.temperature, err) ||
        mr_value_number("--top-p", args->top_p, &g->sampling.top_p, err)) return MR_USAGE;
    if (g->sampling.temperature < 0 || g->sampling.top_p <= 0)
        return mr_fail(err, MR_USAGE, "--temp must be 0 or more and --top-p above 0");
    g->sampling.top_k = (idx)top_k;
    g->rng = mr_rng_seed((uint64_t)seed);
    return MR_OK;
}

/* A byte piece may be one byte of a character that is not complete yet. */
static bool is_byte_piece(const mr_tokenizer *t, int32_t id) {
    idx bytes;
    const char *piece = mr_tokenizer_piece(t, id, &bytes);
    return piece != NULL && bytes == 6 && memcmp(piece, "<0x", 3) == 0 && piece[5] == '>';
}

/* Prints what the ids after `context` add to the text of `context`; waits while a character may be
 * incomplete. */
static mr_status print_new(const mr_session *s, generation *g, bool last, mr_err *err) {
    const int32_t *ids = s->ids.id + g->context;
    const idx count = s->ids.count - g->context;
    mr_text before = {0}, all = {0};
    if (s->tokenizer == NULL) {
        printf("%ld ", (long)ids[count - 1]);
        return MR_OK;
    }
    if (!last && is_byte_piece(s->tokenizer, ids[count - 1])) return MR_OK;
    mr_status status = mr_tokenizer_decode(s->tokenizer, ids, 1, &before, err);
    if (status == MR_OK) status = mr_tokenizer_decode(s->tokenizer, ids, count, &all, err);
    if (status == MR_OK && all.count > before.count) {
        fwrite(all.byte + before.count, 1, (size_t)(all.count - before.count), stdout);
        fflush(stdout);
        g->context = s->ids.count - 1;
    }
    mr_text_free(&before);
    mr_text_free(&all);
    return status;
}

static mr_status step(mr_session *s, generation *g, bool quiet, bool *ended, mr_err *err) {
    const idx V = s->checkpoint.model.config.vocab_size;
    mr_run_logits(s->run, 0, g->logits);
    const int32_t next = mr_sample(g->logits, V, &g->sampling, &g->rng, g->probs, g->order);
    const int32_t eos = s->tokenizer != NULL ? mr_tokenizer_eos(s->tokenizer)
                                             : s->checkpoint.model.config.eos_id;
    *ended = next == eos;
    if (*ended) return MR_OK;
    if (mr_session_append(s, next, err)) return MR_BAD;
    return quiet ? MR_OK : print_new(s, g, false, err);
}

static mr_status generate(mr_session *s, generation *g, bool quiet, mr_err *err) {
    bool ended = false;
    if (mr_session_feed(s, 0, (idx)g->chunk, NULL, NULL, err)) return err->code;
    g->context = s->ids.count - 1;
    for (int64_t n = 0; n < g->steps && !ended; n++) {
        if (step(s, g, quiet, &ended, err)) return err->code;
        if (!ended && n + 1 < g->steps && mr_session_feed(s, s->ids.count - 1, 1, NULL, NULL, err))
            return err->code;
    }
    if (quiet) return MR_OK;
    if (s->tokenizer != NULL && g->context < s->ids.count - 1 && print_new(s, g, true, err))
        return err->code;
    putchar('\n');
    return MR_OK;
}

static mr_status print_result(const mr_session *s, idx prompt, mr_err *err) {
    json_t *document = json_object();
    json_object_set_new(document, "prompt_tokens", mr_json_ids(s->ids.id, prompt));
    json_object_set_new(document, "tokens", mr_json_ids(s->ids.id + prompt, s->ids.count - prompt));
    mr_text text = {0};
    if (s->tokenizer != NULL &&
        mr_tokenizer_decode(s->tokenizer, s->ids.id, s->ids.count, &text, err) == MR_OK)
        json_object_set_new(document, "text", json_stringn(text.byte, (size_t)text.count));
    mr_text_free(&text);
    return mr_print_json(document, err);
}

mr_status mr_cmd_run(const mr_args *args, mr_err *err) {
    generation g = {0};
    mr_session s = {0};
    if (read_options(args, &g, err) || mr_session_open(args, NULL, &s, err)) return err->code;
    const idx V = s.checkpoint.model.config.vocab_size, prompt = s.ids.count;
    g.logits = mr_alloc(V, sizeof *g.logits, err);
    g.probs = mr_alloc(V, sizeof *g.probs, err);
    g.order = mr_alloc(V, sizeof *g.order, err);
    if (g.chunk > prompt) g.chunk = prompt;
    if (err->code == MR_OK &&
        mr_session_run(&s, (idx)g.steps, (idx)g.chunk, true, NULL, NULL, err) == MR_OK &&
        generate(&s, &g, args->json, err) == MR_OK && args->json)
        print_result(&s, prompt, err);
    mr_free(g.logits);
    mr_free(g.probs);
    mr_free(g.order);
    mr_session_close(&s);
    return err->code;
}
