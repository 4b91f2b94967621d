/* A chat request in memory, and the steps it goes through: read, check, merge, encode. */
#ifndef MR_TOKENIZER_CHAT_REQUEST_H
#define MR_TOKENIZER_CHAT_REQUEST_H

#include "tokenizer/lists.h"
#include "tokenizer/pyjson.h"

typedef enum { MR_CHAT_SYSTEM, MR_CHAT_USER, MR_CHAT_ASSISTANT, MR_CHAT_TOOL } mr_chat_role;

/* One part of a content that was written as a list. */
typedef struct {
    bool    thinking, closed;
    mr_py_span text;
} mr_chat_part;

/* A content is a text, or a list of parts. Absent and null are the empty text. */
typedef struct {
    bool          list;
    mr_py_span       text; /* when it is no list */
    mr_chat_part *part;
    idx           parts;
} mr_chat_content;

/* Arguments that are JSON are kept parsed, all others as a JSON string. */
typedef struct {
    mr_py_span      id, name;
    const mr_py *arguments;
} mr_chat_call;

typedef struct {
    mr_chat_role    role;
    mr_chat_content content;
    mr_chat_call   *call; /* assistant */
    idx             calls;
    bool            prefix; /* assistant: the answer goes on from here, no EOS */
    const mr_py    *id, *name; /* tool: of the call it answers, of the tool; NULL when not given */
    const mr_py    *result;    /* tool, v1 to v3 after the merge: the content as JSON */
} mr_chat_message;

typedef struct {
    mr_py_span      name, description;
    const mr_py *parameters;
} mr_chat_tool;

typedef struct {
    mr_py_arena      arena; /* owns everything below, but not the text of the request */
    mr_chat_message *message;
    idx              messages;
    mr_chat_tool    *tool;
    idx              tools;
    mr_py_span          system; /* v1 to v3 after the merge: all system texts; empty: none */
    int              version; /* 1, 2, 3, 7, 11 or 13 */
    mr_ids          *turns;   /* NULL, or gets the assistant's turns; then one may be last */
} mr_chat_request;

/* Reads JSON into *out, which starts as {0} but for its version; unknown fields and wrong types
 * are refused. Freed by mr_py_free(&out->arena), also after a failure. */
mr_status mr_chat_read(const char *json, idx bytes, mr_chat_request *out, mr_err *err);

/* A text that may be JSON: its value, {} for an empty text, else the text as a string. MR_BAD when
 * Python's reader would meet a limit in it. */
mr_status mr_chat_json(mr_py_arena *arena, mr_py_span text, const char *where, const mr_py **out,
                       mr_err *err);

/* The rules about order, names and ids that mistral-common applies in its default mode. */
mr_status mr_chat_check(const mr_chat_request *request, mr_err *err);

/* Whether a JSON value is a JSON Schema of draft 7; `where` opens the message. */
mr_status mr_chat_schema(const mr_py *schema, const char *where, mr_err *err);

/* Whether Python's re.compile would take the pattern. */
bool mr_chat_regex(mr_py_span pattern);

/* Replaces the messages by the merged ones. */
mr_status mr_chat_merge(mr_chat_request *request, mr_err *err);

/* Text and ids of a merged request. */
mr_status mr_chat_print(const mr_tokenizer *tokenizer, const mr_chat_request *request,
                        mr_text *text, mr_ids *ids, mr_err *err);

/* Message i became ids [first,end). */
static inline mr_status mr_chat_turn(const mr_chat_request *request, idx i, idx first, idx end,
                                     mr_err *err) {
    if (request->turns == NULL || request->message[i].role != MR_CHAT_ASSISTANT) return MR_OK;
    const mr_status status = mr_ids_push(request->turns, (int32_t)first, err);
    return status != MR_OK ? status : mr_ids_push(request->turns, (int32_t)end, err);
}

/* bool(content) of Python: an empty text and an empty list are false. */
static inline bool mr_chat_some(const mr_chat_content *content) {
    return content->list ? content->parts > 0 : content->text.count > 0;
}

#endif
