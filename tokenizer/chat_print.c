/* The templates: text and ids of a merged request, piece by piece. */
#include <string.h>

#include "tokenizer/chat_request.h"
#include "tokenizer/lists.h"

/* What is being written. The first failure stays in `status` and stops everything after it. */
typedef struct {
    const mr_tokenizer    *tokenizer;
    const mr_chat_request *request;
    bool                   pieces;  /* the text is made of pieces: SentencePiece */
    mr_text                scratch; /* a text before it is encoded */
    mr_text               *text;
    mr_ids                *ids;
    mr_err                *err;
    mr_status              status;
} writer;

/* ---- the smallest steps -------------------------------------------------------------------- */

static void fail(writer *w, const char *what) {
    if (w->status == MR_OK) w->status = mr_fail(w->err, MR_BAD, "%s", what);
}

static void add_text(writer *w, const char *byte, idx count) {
    if (w->status == MR_OK) w->status = mr_text_append(w->text, byte, count, w->err);
}

static void add_piece(writer *w, int32_t id) {
    idx bytes = 0;
    const char *piece = mr_tokenizer_piece(w->tokenizer, id, &bytes);
    if (piece != NULL) add_text(w, piece, bytes);
}

static void control(writer *w, const char *name) {
    const int32_t id = mr_tokenizer_control(w->tokenizer, name);
    if (w->status != MR_OK) return;
    if (id < 0) {
        w->status = mr_fail(w->err, MR_BAD, "the tokenizer has no token %s, which the template v%d "
                            "needs", name, w->request->version);
        return;
    }
    w->status = mr_ids_push(w->ids, id, w->err);
    add_text(w, name, (idx)strlen(name));
}

static void boundary(writer *w, int32_t id, const char *name) {
    if (id < 0) fail(w, name);
    if (w->status == MR_OK) w->status = mr_ids_push(w->ids, id, w->err);
    add_piece(w, id);
}

static bool surrogate_at(mr_py_span text, idx i) {
    return text.count - i >= 3 && (unsigned char)text.byte[i] == 0xED &&
           (unsigned char)text.byte[i + 1] >= 0xA0;
}

/* Half a surrogate pair is no character: SentencePiece refuses it, Tekken reads U+FFFD. */
static mr_py_span replace_surrogates(writer *w, mr_py_span text) {
    idx i = 0;
    while (i < text.count && !surrogate_at(text, i)) i++;
    if (i >= text.count) return text;
    if (w->pieces) fail(w, "a text has a surrogate without its other half");
    char *copy = mr_alloc(text.count, 1, w->err);
    if (copy == NULL) w->status = MR_BAD;
    if (w->status == MR_OK) {
        memcpy(copy, text.byte, (size_t)text.count);
        for (; i < text.count; i++)
            if (surrogate_at(text, i)) memcpy(copy + i, "\xEF\xBF\xBD", 3);
        w->scratch.count = 0;
        w->status = mr_text_append(&w->scratch, copy, text.count, w->err);
    }
    mr_free(copy);
    return (mr_py_span){w->scratch.byte, w->status == MR_OK ? w->scratch.count : 0};
}

/* One text by itself: neighbours never merge into one token. */
static void plain(writer *w, mr_py_span text) {
    const idx before = w->ids->count;
    if (w->status != MR_OK) return;
    text = replace_surrogates(w, text);
    if (w->status == MR_OK)
        w->status = mr_tokenizer_encode(w->tokenizer, text.byte, text.count, w->ids, w->err);
    if (!w->pieces) add_text(w, text.byte, text.count);
    for (idx i = before; w->pieces && i < w->ids->count; i++) add_piece(w, w->ids->id[i]);
}

/* ---- texts made of several, in scratch ----------------------------------------------------- */

static void clear(writer *w) { w->scratch.count = 0; }

static void say_text(writer *w, mr_py_span text) {
    if (w->status == MR_OK) w->status = mr_text_append(&w->scratch, text.byte, text.count, w->err);
}

static void say(writer *w, const char *words) {
    say_text(w, (mr_py_span){words, (idx)strlen(words)});
}

static void say_string(writer *w, mr_py_span string) {
    if (w->status == MR_OK) w->status = mr_py_write_string(string, &w->scratch, w->err);
}

static void say_json(writer *w, const mr_py *value) {
    if (w->status == MR_OK) w->status = mr_py_write(value, &w->scratch, w->err);
}

static void encode_scratch(writer *w) { plain(w, (mr_py_span){w->scratch.byte, w->scratch.count}); }

/* ---- messages ------------------------------------------------------------------------------ */

static void print_tools(writer *w) {
    const mr_chat_request *request = w->request;
    if (request->tools == 0) return;
    clear(w);
    for (idx i = 0; i < request->tools; i++) {
        say(w, i == 0 ? "[" : ", ");
        say(w, "{\"type\": \"function\", \"function\": {\"name\": ");
        say_string(w, request->tool[i].name);
        say(w, ", \"description\": ");
        say_string(w, request->tool[i].description);
        say(w, ", \"parameters\": ");
        say_json(w, request->tool[i].parameters);
        say(w, "}}");
    }
    say(w, "]");
    control(w, "[AVAILABLE_TOOLS]");
    encode_scratch(w);
    control(w, "[/AVAILABLE_TOOLS]");
}

/* v1 writes the markers as text and the system text before the first user message; v2 and v3
 * write it before the last one. */
static void print_user(writer *w, const mr_chat_message *message, bool first, bool last) {
    const int version = w->request->version;
    if (version >= 2 && (version >= 13 ? first : last)) print_tools(w);
    clear(w);
    if (version == 1) say(w, "[INST] ");
    if (w->request->system.count > 0 && (version == 1 ? first : last)) {
        say_text(w, w->request->system);
        say(w, "\n\n");
    }
    say_text(w, message->content.text);
    if (version == 1) say(w, " [/INST]");
    else control(w, "[INST]");
    encode_scratch(w);
    if (version > 1) control(w, "[/INST]");
}

/* A list has been made only where there is a thought; its texts are printed as they are. */
static void print_parts(writer *w, const mr_chat_content *content) {
    for (idx i = 0; i < content->parts; i++) {
        const mr_chat_part *part = &content->part[i];
        if (part->thinking) control(w, "[THINK]");
        plain(w, part->text);
        if (part->thinking && part->closed) control(w, "[/THINK]");
    }
}

static void print_system(writer *w, const mr_chat_message *message) {
    control(w, "[SYSTEM_PROMPT]");
    if (message->content.list) print_parts(w, &message->content);
    else plain(w, message->content.text);
    control(w, "[/SYSTEM_PROMPT]");
}

/* Up to v7: all calls as one JSON list. */
static void print_call_list(writer *w, const mr_chat_message *message) {
    clear(w);
    for (idx i = 0; i < message->calls; i++) {
        const mr_chat_call *call = &message->call[i];
        say(w, i == 0 ? "[{\"name\": " : ", {\"name\": ");
        say_string(w, call->name);
        say(w, ", \"arguments\": ");
        say_json(w, call->arguments);
        if (w->request->version >= 3) {
            say(w, ", \"id\": ");
            say_string(w, call->id);
        }
        say(w, "}");
    }
    say(w, "]");
    control(w, "[TOOL_CALLS]");
    encode_scratch(w);
}

/* v11 and later: call by call; v13 no longer prints the id. */
static void print_call(writer *w, const mr_chat_call *call) {
    control(w, "[TOOL_CALLS]");
    plain(w, call->name);
    if (w->request->version < 13) {
        control(w, "[CALL_ID]");
        plain(w, call->id);
    }
    control(w, "[ARGS]");
    clear(w);
    say_json(w, call->arguments);
    encode_scratch(w);
}

static mr_py_span without_last_spaces(mr_py_span text) {
    while (text.count > 0 && text.byte[text.count - 1] == ' ') text.count--;
    return text;
}

/* v2 forgets calls and results from before the last user message. */
static void print_assistant(writer *w, const mr_chat_message *message, bool before_last_user) {
    const int version = w->request->version;
    const bool some = mr_chat_some(&message->content);
    if (version == 1 && message->calls > 0) fail(w, "tool calls need a template from v2 on");
    if (version < 7 && some && message->calls > 0)
        fail(w, "one turn of the assistant has text and tool calls; that needs v7 or later");
    if (!some && message->calls == 0) fail(w, "a turn of the assistant is empty");
    if (version == 2 && before_last_user && message->calls > 0) return;
    if (message->content.list) print_parts(w, &message->content);
    else plain(w, version == 1 ? message->content.text
                               : without_last_spaces(message->content.text));
    if (message->calls > 0 && version < 11) print_call_list(w, message);
    for (idx i = 0; i < message->calls && version >= 11; i++) print_call(w, &message->call[i]);
    if (!message->prefix)
        boundary(w, mr_tokenizer_eos(w->tokenizer), "the tokenizer has no EOS token");
}

static void print_result(writer *w, const mr_chat_message *message, bool before_last_user) {
    const int version = w->request->version;
    if (version == 1) fail(w, "tool results need a template from v2 on");
    if (w->status != MR_OK || (version == 2 && before_last_user)) return;
    control(w, "[TOOL_RESULTS]");
    clear(w);
    if (version == 2) {
        say(w, "[{\"name\": ");
        if (message->name == NULL) say(w, "null");
        else say_string(w, message->name->text);
        say(w, ", \"content\": ");
        say_json(w, message->result);
        say(w, "}]");
    } else if (version == 3) {
        say(w, "{\"content\": ");
        say_json(w, message->result);
        say(w, ", \"call_id\": ");
        say_string(w, message->id->text);
        say(w, "}");
    } else if (version < 13) {
        plain(w, message->id->text);
        control(w, "[TOOL_CONTENT]");
    }
    if (version < 7) encode_scratch(w);
    else plain(w, message->content.text);
    control(w, "[/TOOL_RESULTS]");
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* v2 cannot show two results of one turn; only what is printed counts. */
static void refuse_many_results(writer *w, idx last_user) {
    const mr_chat_message *message = w->request->message;
    bool calls = false;
    idx results = 0;
    for (idx i = last_user; i < w->request->messages; i++) {
        if (message[i].role == MR_CHAT_TOOL) {
            results += calls;
            if (results > 1) fail(w, "v2 takes one tool result for a turn of the assistant");
            continue;
        }
        calls = message[i].role == MR_CHAT_ASSISTANT && message[i].calls > 0;
        results = 0;
    }
}

static void print_message(writer *w, idx i, idx first_user, idx last_user) {
    const mr_chat_message *message = &w->request->message[i];
    switch (message->role) {
        case MR_CHAT_SYSTEM: print_system(w, message); break;
        case MR_CHAT_USER: print_user(w, message, i == first_user, i == last_user); break;
        case MR_CHAT_ASSISTANT: print_assistant(w, message, i < last_user); break;
        case MR_CHAT_TOOL: print_result(w, message, i < last_user); break;
    }
}

mr_status mr_chat_print(const mr_tokenizer *tokenizer, const mr_chat_request *request,
                        mr_text *text, mr_ids *ids, mr_err *err) {
    writer w = {.tokenizer = tokenizer, .request = request, .text = text, .ids = ids, .err = err};
    idx first_user = -1, last_user = -1;
    w.pieces = strncmp(mr_tokenizer_kind(tokenizer), "sentencepiece", 13) == 0;
    if (w.pieces && request->version >= 13) fail(&w, "v13 needs a Tekken tokenizer");
    for (idx i = 0; i < request->messages; i++) {
        if (request->message[i].role != MR_CHAT_USER) continue;
        if (first_user < 0) first_user = i;
        last_user = i;
    }
    if (request->version == 2) refuse_many_results(&w, last_user);
    boundary(&w, mr_tokenizer_bos(tokenizer), "the tokenizer has no BOS token");
    for (idx i = 0; i < request->messages; i++) {
        const idx first = ids->count;
        print_message(&w, i, first_user, last_user);
        if (w.status == MR_OK) w.status = mr_chat_turn(request, i, first, ids->count, err);
    }
    mr_text_free(&w.scratch);
    return w.status;
}
