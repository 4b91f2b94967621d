/* A model opened for running: checkpoint, tokenizer, prompt, run. */
#include "cli/cli.h"

#include <string.h>

#include "tokenizer/lists.h"
#include "weights/pages.h"

static mr_status set_threads(const mr_args *args, mr_err *err) {
    int64_t threads = 0;
    if (mr_value_int("--threads", args->threads, 1, 1024, &threads, err)) return MR_USAGE;
    if (threads > 0) mr_set_threads((int)threads);
    return MR_OK;
}

/* The BOS id that goes before a prompt: the tokenizer's, else the configuration's. */
static mr_status encode(mr_session *s, const char *text, idx bytes, mr_err *err) {
    if (s->tokenizer == NULL)
        return mr_fail(err, MR_BAD,
                       "the model's folder has no tokenizer file, so text cannot be used; "
                       "add tokenizer.model or give --tokens");
    const int32_t bos = mr_tokenizer_bos(s->tokenizer);
    if (bos >= 0 && mr_ids_push(&s->ids, bos, err)) return MR_BAD;
    return mr_tokenizer_encode(s->tokenizer, text, bytes, &s->ids, err);
}

static mr_status read_prompt(const mr_args *args, const char *file, mr_session *s, mr_err *err) {
    if ((args->prompt != NULL) + (args->tokens != NULL) + (file != NULL) != 1)
        return mr_fail(err, MR_USAGE, "give exactly one of -p TEXT, --tokens I,I,..%s",
                       file != NULL ? " and a file" : " (or, where it says so, a file)");
    if (args->tokens != NULL) return mr_value_ids("--tokens", args->tokens, &s->ids, err);
    if (file != NULL && mr_value_file(file, &s->text, err)) return MR_BAD;
    const char *text = file != NULL ? s->text.byte : args->prompt;
    if (args->chat && s->tokenizer != NULL)
        return mr_chat_prompt(s->tokenizer, args->version, text, &s->ids, err);
    return encode(s, text, file != NULL ? s->text.count : (idx)strlen(text), err);
}

/* A folder without a tokenizer is fine until text is needed; with one that can not be used, text
 * becomes ids, and a note says why. */
static mr_status open_tokenizer(const mr_args *args, mr_session *s, mr_err *err) {
    mr_err missing = {0};
    const mr_status status = mr_tokenizer_open(args->model, &s->tokenizer, &missing);
    if (status == MR_OK) return MR_OK;
    s->tokenizer = NULL;
    if (args->tokens == NULL) return mr_fail(err, status, "%s", missing.text);
    if (mr_tokenizer_there(args->model)) fprintf(stderr, "mistral-ref: note: %s\n", missing.text);
    return MR_OK;
}

mr_status mr_session_open(const mr_args *args, const char *file, mr_session *s, mr_err *err) {
    memset(s, 0, sizeof *s);
    if (set_threads(args, err) || mr_checkpoint_open(args->model, &s->checkpoint, err))
        return err->code;
    if (s->checkpoint.warning[0] != '\0')
        fprintf(stderr, "mistral-ref: note: %s\n", s->checkpoint.warning);
    mr_config *c = &s->checkpoint.model.config;
    if (mr_override(args, c, err) || mr_run_choice(args, c, &s->options, err) ||
        open_tokenizer(args, s, err) || read_prompt(args, file, s, err)) {
        mr_session_close(s);
        return err->code;
    }
    return MR_OK;
}

mr_status mr_session_language(const mr_session *s, mr_err *err) {
    const idx labels = s->checkpoint.model.config.n_labels;
    if (labels == 0) return MR_OK;
    return mr_fail(err, MR_BAD, "this model scores a sequence (%td labels) and has no next tokens; "
                   "use logits or trace, or a language model", labels);
}

mr_status mr_session_run(mr_session *s, idx more, idx chunk, bool last_only, mr_tap tap, void *user,
                         mr_err *err) {
    const idx capacity = s->ids.count + more;
    s->options.n_seqs = 1;
    s->options.capacity = &capacity;
    s->options.max_tokens = chunk;
    s->options.last_only = last_only;
    s->options.tap = tap;
    s->options.user = user;
    s->options.coming = mr_pages_coming;
    return mr_run_open(&s->checkpoint.model, &s->options, &s->run, err);
}

mr_status mr_session_feed(mr_session *s, idx start, idx chunk, mr_after_chunk each, void *user,
                          mr_err *err) {
    for (idx n; start < s->ids.count; start += n) {
        n = s->ids.count - start < chunk ? s->ids.count - start : chunk;
        if (mr_run_forward(s->run, s->ids.id + start, &n, err)) return err->code;
        if (each != NULL && each(user, s, start, n, err)) return err->code;
    }
    return MR_OK;
}

void mr_session_close(mr_session *s) {
    mr_run_close(s->run);
    mr_tokenizer_close(s->tokenizer);
    mr_checkpoint_close(&s->checkpoint);
    mr_ids_free(&s->ids);
    mr_text_free(&s->text);
    memset(s, 0, sizeof *s);
}
