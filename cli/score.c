/* score: how probable a text is, token by token. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    json_t *list;     /* NULL: print text */
    double  nll;      /* sum of -log p, nats */
    idx     scored;
} tally;

static mr_status each(void *user, mr_session *s, idx start, idx count, mr_err *err) {
    tally *t = user;
    for (idx r = 0; r < count && start + r + 1 < s->ids.count; r++) {
        const int32_t id = s->ids.id[start + r + 1];
        if (id < 0 || id >= s->checkpoint.model.config.vocab_size)
            return mr_fail(err, MR_BAD,
                           "token %td: id %ld is outside the vocabulary, expected 0 to %td",
                           start + r + 1, (long)id, s->checkpoint.model.config.vocab_size - 1);
        const double logp = mr_run_log_probability(s->run, r, id);
        t->nll -= logp;
        t->scored++;
        if (t->list != NULL)
            json_array_append_new(
                t->list, json_pack("{s:I,s:I,s:o}", "position", (json_int_t)start + r + 1, "id",
                                   (json_int_t)id, "logprob", mr_json_real(logp)));
        else printf("%td\t%ld\t%.9g\n", start + r + 1, (long)id, logp);
    }
    return MR_OK;
}

static mr_status print_summary(const mr_session *s, const tally *t, mr_err *err) {
    const double mean = t->nll / (double)t->scored;
    const double bits = t->nll / log(2.0), bytes = (double)s->text.count;
    if (t->list == NULL) {
        printf("%td tokens scored, %.9g nats per token, perplexity %.9g, %.9g bits per token",
               t->scored, mean, exp(mean), bits / (double)t->scored);
        if (bytes > 0) printf(", %.9g bits per byte", bits / bytes);
        putchar('\n');
        return MR_OK;
    }
    json_t *document = json_pack("{s:o,s:O,s:I,s:o,s:o,s:o}", "tokens",
                                 mr_json_ids(s->ids.id, s->ids.count), "scores", t->list, "scored",
                                 (json_int_t)t->scored, "nll", mr_json_real(t->nll), "mean_nll",
                                 mr_json_real(mean), "perplexity", mr_json_real(exp(mean)));
    if (bytes > 0) json_object_set_new(document, "bits_per_byte", mr_json_real(bits / bytes));
    return mr_print_json(document, err);
}

mr_status mr_cmd_score(const mr_args *args, mr_err *err) {
    mr_session s = {0};
    int64_t chunk = 256;
    const bool from_input = args->prompt == NULL && args->tokens == NULL && args->file == NULL;
    if (mr_value_int("--chunk", args->chunk, 1, INT32_MAX, &chunk, err) ||
        mr_session_open(args, from_input ? "-" : args->file, &s, err)) return err->code;
    tally t = {args->json ? json_array() : NULL, 0, 0};
    if (s.ids.count < 2)
        mr_fail(err, MR_USAGE, "score: at least two tokens are needed, found %td", s.ids.count);
    else if (mr_session_language(&s, err) == MR_OK &&
             mr_session_run(&s, 0, (idx)chunk, false, NULL, NULL, err) == MR_OK &&
             mr_session_feed(&s, 0, (idx)chunk, each, &t, err) == MR_OK) print_summary(&s, &t, err);
    json_decref(t.list);
    mr_session_close(&s);
    return err->code;
}
