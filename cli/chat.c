/* chat: a conversation in the terminal. The whole history goes through the template at every turn;
 * what the cache already holds of it is not computed again. */
#define _POSIX_C_SOURCE 200809L

#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tokenizer/chat.h"
#include "tokenizer/lists.h"
#include "tokenizer/pyjson.h"

/* Set by Ctrl-C; stops the answer, or ends the program at the prompt. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

typedef struct {
    const mr_args *args;
    mr_session     session;  /* session.ids: the tokens of the prompt, then of the answer */
    mr_ids         fed;      /* what the cache holds */
    idx            capacity; /* of the cache */
    mr_text        system;   /* one message as JSON, or empty */
    mr_text        history;  /* messages as JSON, each with a comma after it */
    mr_sampling    sampling;
    mr_rng         rng;
    int64_t        steps;
    double        *logits, *probs;
    int32_t       *order;
} chat;

static mr_status read_options(const mr_args *args, chat *c, mr_err *err) {
    c->steps = 1024;
    if (mr_value_int("-n", args->steps, 1, INT32_MAX, &c->steps, err)) return MR_USAGE;
    return mr_value_sampling(args, &c->sampling, &c->rng, err);
}

/* ---- the request --------------------------------------------------------------------------- */

static mr_status say(mr_text *out, const char *words, mr_err *err) {
    return mr_text_append(out, words, (idx)strlen(words), err);
}

static mr_status add_message(mr_text *out, const char *role, const char *text, idx bytes,
                             mr_err *err) {
    if (say(out, "{\"role\": \"", err) || say(out, role, err) ||
        say(out, "\", \"content\": ", err) ||
        mr_py_write_string((mr_py_span){text, bytes}, out, err)) return MR_BAD;
    return say(out, "},", err);
}

/* The ids of system message and history replace *ids. */
static mr_status encode(const mr_tokenizer *tokenizer, const char *version, const mr_text *system,
                        const mr_text *history, mr_ids *ids, mr_err *err) {
    mr_text request = {0}, text = {0};
    ids->count = 0;
    mr_status status = say(&request, "{\"messages\": [", err);
    if (status == MR_OK && system != NULL)
        status = mr_text_append(&request, system->byte, system->count, err);
    if (status == MR_OK) status = mr_text_append(&request, history->byte, history->count, err);
    if (status == MR_OK) {
        request.count--; /* the last comma */
        status = say(&request, "]}", err);
    }
    if (status == MR_OK)
        status = mr_chat_encode(tokenizer, version, request.byte, request.count, &text, ids, err);
    mr_text_free(&request);
    mr_text_free(&text);
    return status;
}

mr_status mr_chat_prompt(const mr_tokenizer *tokenizer, const char *version, const char *text,
                         mr_ids *ids, mr_err *err) {
    mr_text history = {0};
    mr_status status = add_message(&history, "user", text, (idx)strlen(text), err);
    if (status == MR_OK) status = encode(tokenizer, version, NULL, &history, ids, err);
    mr_text_free(&history);
    return status;
}

/* ---- the answer ---------------------------------------------------------------------------- */

/* Room in the cache for the prompt and a full answer; a larger cache starts empty. */
static mr_status make_room(chat *c, mr_err *err) {
    const idx need = c->session.ids.count + (idx)c->steps;
    if (c->session.run != NULL && need <= c->capacity) return MR_OK;
    c->capacity = need > 2 * c->capacity ? need : 2 * c->capacity;
    c->fed.count = 0;
    mr_run_close(c->session.run);
    c->session.run = NULL;
    return mr_session_run(&c->session, c->capacity - c->session.ids.count, MR_CHUNK, true, NULL,
                          NULL, err);
}

/* The cache is of use when the new prompt begins with all that it holds. */
static bool cache_fits(const chat *c) {
    const mr_ids *prompt = &c->session.ids;
    return c->fed.count < prompt->count &&
           (c->fed.count == 0 ||
            memcmp(c->fed.id, prompt->id, (size_t)c->fed.count * sizeof *c->fed.id) == 0);
}

static mr_status feed(chat *c, mr_err *err) {
    const mr_ids *ids = &c->session.ids;
    while (c->fed.count < ids->count && !interrupted) {
        const idx left = ids->count - c->fed.count, n = left < MR_CHUNK ? left : MR_CHUNK;
        if (mr_ids_reserve(&c->fed, n, err) ||
            mr_run_forward(c->session.run, ids->id + c->fed.count, &n, err)) return err->code;
        memcpy(c->fed.id + c->fed.count, ids->id + c->fed.count, (size_t)n * sizeof *ids->id);
        c->fed.count += n;
    }
    return MR_OK;
}

/* Prints what the answer has beyond `printed`. */
static void show(const mr_text *answer, idx printed) {
    if (answer->count <= printed) return;
    fwrite(answer->byte + printed, 1, (size_t)(answer->count - printed), stdout);
    fflush(stdout);
}

static mr_status one_token(chat *c, mr_stream *stream, mr_text *answer, bool *ended, mr_err *err) {
    const mr_session *s = &c->session;
    const idx printed = answer->count;
    mr_run_logits(s->run, 0, c->logits);
    const int32_t next = mr_sample(c->logits, s->checkpoint.model.config.vocab_size, &c->sampling,
                                   &c->rng, c->probs, c->order);
    *ended = next == mr_tokenizer_eos(s->tokenizer);
    if (*ended) return MR_OK;
    if (mr_ids_push(&c->session.ids, next, err) ||
        mr_tokenizer_stream(s->tokenizer, stream, next, answer, err)) return err->code;
    show(answer, printed);
    return MR_OK;
}

/* Appends the answer's text and prints it as it comes. */
static mr_status generate(chat *c, mr_text *answer, mr_err *err) {
    mr_stream stream = {0};
    bool ended = false;
    mr_status status = make_room(c, err);
    if (status == MR_OK && !cache_fits(c)) {
        mr_run_reset(c->session.run, 0, 0);
        c->fed.count = 0;
    }
    interrupted = 0;
    if (status == MR_OK) status = feed(c, err);
    for (int64_t n = 0; n < c->steps && status == MR_OK && !ended && !interrupted; n++) {
        status = one_token(c, &stream, answer, &ended, err);
        if (status == MR_OK && !ended && n + 1 < c->steps) status = feed(c, err);
    }
    const idx printed = answer->count;
    if (mr_tokenizer_stream_end(c->session.tokenizer, &stream, answer, err)) status = MR_BAD;
    show(answer, printed);
    putchar('\n');
    fflush(stdout);
    if (interrupted) fprintf(stderr, "(stopped)\n");
    else if (!ended && status == MR_OK)
        fprintf(stderr, "(cut off after %lld tokens)\n", (long long)c->steps);
    interrupted = 0;
    return status;
}

/* A turn that fails or gets no answer leaves no trace in the history. */
static mr_status turn(chat *c, const mr_text *line, mr_err *err) {
    const idx before = c->history.count;
    mr_err refusal = {0};
    mr_text answer = {0};
    mr_status status = add_message(&c->history, "user", line->byte, line->count, err);
    if (status == MR_OK && encode(c->session.tokenizer, c->args->version, &c->system, &c->history,
                                  &c->session.ids, &refusal)) {
        fprintf(stderr, "(%s)\n", refusal.text);
    } else if (status == MR_OK) {
        status = generate(c, &answer, err);
        if (answer.count == 0) fprintf(stderr, "(no answer)\n");
    }
    if (answer.count == 0 || status != MR_OK) c->history.count = before;
    else status = add_message(&c->history, "assistant", answer.byte, answer.count, err);
    mr_text_free(&answer);
    return status;
}

/* ---- the prompt ---------------------------------------------------------------------------- */

static mr_status set_system(chat *c, const char *text, idx bytes, mr_err *err) {
    c->system.count = 0;
    return bytes > 0 ? add_message(&c->system, "system", text, bytes, err) : MR_OK;
}

/* Lines that begin with "/". */
static mr_status command(chat *c, const mr_text *line, bool *done, mr_err *err) {
    static const char system[] = "/system";
    const idx length = (idx)sizeof system - 1;
    if (strcmp(line->byte, "/exit") == 0) *done = true;
    else if (strcmp(line->byte, "/reset") == 0) {
        c->history.count = 0;
        fprintf(stderr, "(the conversation starts anew)\n");
    } else if (strncmp(line->byte, system, (size_t)length) == 0 &&
               (line->byte[length] == ' ' || line->byte[length] == '\0')) {
        const idx from = line->byte[length] == ' ' ? length + 1 : length;
        fprintf(stderr, line->count > from ? "(system text set)\n" : "(no system text)\n");
        return set_system(c, line->byte + from, line->count - from, err);
    } else {
        fprintf(stderr, "/reset        forget the conversation\n"
                        "/system TEXT  set the system text, or none\n"
                        "/exit         end; so do Ctrl-D and, here, Ctrl-C\n"
                        "Ctrl-C stops an answer.\n");
    }
    return MR_OK;
}

/* A line without its end; false at the end of the input or after Ctrl-C. */
static bool read_line(mr_text *line, mr_err *err) {
    int byte;
    line->count = 0;
    if (mr_text_reserve(line, 1, err)) return false;
    line->byte[0] = '\0';
    while ((byte = getchar()) != EOF && byte != '\n') {
        const char one = (char)byte;
        if (mr_text_append(line, &one, 1, err)) return false;
    }
    return !interrupted && (byte == '\n' || line->count > 0);
}

/* flags: SA_RESTART while an answer is printed, which loses nothing; 0 while a line is awaited,
 * which ends. */
static void catch_interrupts(int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = flags;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static mr_status talk(chat *c, mr_err *err) {
    const bool terminal = isatty(STDIN_FILENO) != 0;
    mr_text line = {0};
    bool done = false;
    while (!done && err->code == MR_OK) {
        if (terminal) fprintf(stderr, "> ");
        catch_interrupts(0);
        const bool more = read_line(&line, err);
        catch_interrupts(SA_RESTART);
        if (!more) break;
        if (line.count == 0) continue;
        if (line.byte[0] == '/') command(c, &line, &done, err);
        else turn(c, &line, err);
    }
    if (terminal && !done) fprintf(stderr, "\n");
    mr_text_free(&line);
    return err->code;
}

mr_status mr_cmd_chat(const mr_args *args, mr_err *err) {
    chat c = {.args = args};
    mr_args own = *args;
    own.prompt = ""; /* the session wants one, and says so when there is no tokenizer for it */
    if (read_options(args, &c, err) || mr_session_open(&own, NULL, &c.session, err))
        return err->code;
    const idx V = c.session.checkpoint.model.config.vocab_size;
    c.logits = mr_alloc(V, sizeof *c.logits, err);
    c.probs = mr_alloc(V, sizeof *c.probs, err);
    c.order = mr_alloc(V, sizeof *c.order, err);
    catch_interrupts(SA_RESTART);
    if (args->system != NULL) set_system(&c, args->system, (idx)strlen(args->system), err);
    if (err->code == MR_OK && mr_session_language(&c.session, err) == MR_OK) talk(&c, err);
    mr_free(c.logits);
    mr_free(c.probs);
    mr_free(c.order);
    mr_ids_free(&c.fed);
    mr_text_free(&c.system);
    mr_text_free(&c.history);
    mr_session_close(&c.session);
    return err->code;
}
