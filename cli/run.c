/* run: text in, text out, one token at a time. */
#include "cli/cli.h"

#include <stdio.h>

#include "tokenizer/lists.h"

typedef struct {
    mr_sampling sampling;
    mr_rng      rng;
    int64_t     steps, chunk;
    mr_stream   stream;    /* decoding id by id */
    mr_text     text;      /* what the last ids added */
    double     *logits, *probs;
    int32_t    *order;
} generation;

static mr_status read_options(const mr_args *args, generation *g, mr_err *err) {
    g->steps = 128;
    g->chunk = MR_CHUNK;
    if (mr_value_int("-n", args->steps, 0, INT32_MAX, &g->steps, err) ||
        mr_value_int("--chunk", args->chunk, 1, INT32_MAX, &g->chunk, err)) return MR_USAGE;
    return mr_value_sampling(args, &g->sampling, &g->rng, err);
}

/* Printed at once, or the user waits for the buffer to fill. */
static void print_text(generation *g) {
    fwrite(g->text.byte, 1, (size_t)g->text.count, stdout);
    fflush(stdout);
    g->text.count = 0;
}

/* The prompt is decoded too, so that what follows it is spelled as its continuation; it is not
 * printed. */
static mr_status skip_prompt(const mr_session *s, generation *g, mr_err *err) {
    mr_status status = MR_OK;
    for (idx i = 0; s->tokenizer != NULL && i < s->ids.count && status == MR_OK; i++)
        status = mr_tokenizer_stream(s->tokenizer, &g->stream, s->ids.id[i], &g->text, err);
    g->text.count = 0;
    return status;
}

/* Prints what the newest id adds to the text: nothing yet, while a character may be incomplete. */
static mr_status print_new(const mr_session *s, generation *g, mr_err *err) {
    const int32_t id = s->ids.id[s->ids.count - 1];
    if (s->tokenizer == NULL) {
        printf("%ld ", (long)id);
        return MR_OK;
    }
    mr_status status = mr_tokenizer_stream(s->tokenizer, &g->stream, id, &g->text, err);
    if (status == MR_OK) print_text(g);
    return status;
}

static mr_status print_rest(const mr_session *s, generation *g, mr_err *err) {
    if (s->tokenizer != NULL) {
        if (mr_tokenizer_stream_end(s->tokenizer, &g->stream, &g->text, err)) return err->code;
        print_text(g);
    }
    putchar('\n');
    return MR_OK;
}

static mr_status step(mr_session *s, generation *g, bool quiet, bool *ended, mr_err *err) {
    const idx V = s->checkpoint.model.config.vocab_size;
    mr_run_logits(s->run, 0, g->logits);
    const int32_t next = mr_sample(g->logits, V, &g->sampling, &g->rng, g->probs, g->order);
    const int32_t eos = s->tokenizer != NULL ? mr_tokenizer_eos(s->tokenizer)
                                             : s->checkpoint.model.config.eos_id;
    *ended = next == eos;
    if (*ended) return MR_OK;
    if (mr_ids_push(&s->ids, next, err)) return MR_BAD;
    return quiet ? MR_OK : print_new(s, g, err);
}

static mr_status generate(mr_session *s, generation *g, bool quiet, mr_err *err) {
    bool ended = false;
    if (mr_session_feed(s, 0, (idx)g->chunk, NULL, NULL, err)) return err->code;
    if (!quiet && skip_prompt(s, g, err)) return err->code;
    for (int64_t n = 0; n < g->steps && !ended; n++) {
        if (step(s, g, quiet, &ended, err)) return err->code;
        if (!ended && n + 1 < g->steps && mr_session_feed(s, s->ids.count - 1, 1, NULL, NULL, err))
            return err->code;
    }
    return quiet ? MR_OK : print_rest(s, g, err);
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
    if (err->code == MR_OK && mr_session_language(&s, err) == MR_OK &&
        mr_session_run(&s, (idx)g.steps, (idx)g.chunk, true, NULL, NULL, err) == MR_OK &&
        generate(&s, &g, args->json, err) == MR_OK && args->json)
        print_result(&s, prompt, err);
    mr_text_free(&g.text);
    mr_ids_free(&g.stream.waiting);
    mr_free(g.logits);
    mr_free(g.probs);
    mr_free(g.order);
    mr_session_close(&s);
    return err->code;
}
