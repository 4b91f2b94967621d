/* What mistral-common checks before it prints a request, in its default mode ("test"): the order of
 * roles, the pairing of calls and results, names and ids. */
#include <stdio.h>

#include "tokenizer/chat_request.h"

/* ---- names and ids ------------------------------------------------------------------------- */

static bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Only characters of the set, `least` to `most` of them. The original is a regular expression that
 * ends in "$", which lets one line feed follow; so does this. */
static bool matches(mr_py_span text, const char *more, idx least, idx most) {
    if (text.count > 0 && text.byte[text.count - 1] == '\n') text.count--;
    if (text.count < least || text.count > most) return false;
    for (idx i = 0; i < text.count; i++) {
        const char c = text.byte[i];
        if (!is_letter_or_digit(c) && c != more[0] && c != more[1]) return false;
    }
    return true;
}

static mr_status check_name(mr_py_span name, const char *where, mr_err *err) {
    if (matches(name, "_-", 1, 64)) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: a function name has 1 to 64 letters, digits, \"_\" and \"-\"",
                   where);
}

static mr_status check_id(int version, mr_py_span id, const char *where, mr_err *err) {
    if (version < 3) return MR_OK;
    if (version >= 13)
        return id.count > 0 && !mr_py_is(id, "null")
                   ? MR_OK
                   : mr_fail(err, MR_BAD, "%s: the id of a tool call is missing", where);
    return matches(id, "00", 9, 9)
               ? MR_OK
               : mr_fail(err, MR_BAD, "%s: the id of a tool call has 9 letters and digits", where);
}

/* ---- order --------------------------------------------------------------------------------- */

static const char *name_of(mr_chat_role role) {
    static const char *const name[] = {"system", "user", "assistant", "tool"};
    return name[role];
}

/* Which role may follow which. */
static bool may_follow(mr_chat_role before, mr_chat_role role) {
    switch (before) {
        case MR_CHAT_SYSTEM: return role != MR_CHAT_TOOL;
        case MR_CHAT_USER: return role != MR_CHAT_TOOL;
        case MR_CHAT_ASSISTANT: return role != MR_CHAT_SYSTEM;
        case MR_CHAT_TOOL: return role != MR_CHAT_SYSTEM;
    }
    return false;
}

static mr_status check_order(const mr_chat_request *request, mr_err *err) {
    const mr_chat_message *message = request->message, *last = message + request->messages - 1;
    if (request->messages == 0)
        return mr_fail(err, MR_BAD, "messages: a conversation has at least one message");
    if (message == last && message->role != MR_CHAT_USER && message->role != MR_CHAT_SYSTEM)
        return mr_fail(err, MR_BAD, "messages[0]: a single message is of the user or the system");
    if (message != last && last->role == MR_CHAT_ASSISTANT && !last->prefix &&
        request->turns == NULL)
        return mr_fail(err, MR_BAD, "messages[%td]: the assistant has the last word; set "
                       "continue_final_message to let it go on", request->messages - 1);
    for (; message < last; message++)
        if (!may_follow(message[0].role, message[1].role))
            return mr_fail(err, MR_BAD, "messages[%td]: role %s after role %s",
                           message + 1 - request->message, name_of(message[1].role),
                           name_of(message[0].role));
    return MR_OK;
}

/* ---- calls and results --------------------------------------------------------------------- */

static mr_status unpaired(const mr_chat_request *request, const mr_chat_message *message,
                          const char *what, mr_err *err) {
    return mr_fail(err, MR_BAD, "messages[%td]: %s", message - request->message, what);
}

/* Up to v7 only numbers count. The first message is not looked at, in mistral-common either. */
static mr_status check_numbers(const mr_chat_request *request, mr_err *err) {
    idx open = 0;
    for (idx i = 1; i < request->messages; i++) {
        const mr_chat_message *message = &request->message[i];
        if (message->role == MR_CHAT_TOOL) open--;
        if (message->role != MR_CHAT_ASSISTANT) continue;
        if (open != 0)
            return unpaired(request, message, "not as many tool results as tool calls before", err);
        open = message->calls;
    }
    return MR_OK;
}

static bool calls_id(const mr_chat_message *message, idx calls, mr_py_span id) {
    for (idx i = 0; i < calls; i++)
        if (mr_py_equal(message->call[i].id, id)) return true;
    return false;
}

/* A result must answer a call of the last assistant message, and each call once. */
static mr_status check_result(const mr_chat_request *request, const mr_chat_message *caller,
                              const mr_chat_message *result, mr_err *err) {
    if (result->id == NULL || caller == NULL || !calls_id(caller, caller->calls, result->id->text))
        return unpaired(request, result, "the result of a tool call that was not made", err);
    for (const mr_chat_message *other = caller + 1; other < result; other++)
        if (other->role == MR_CHAT_TOOL && mr_py_equal(other->id->text, result->id->text))
            return unpaired(request, result, "a second result of the same tool call", err);
    return MR_OK;
}

/* From v11 on the ids count as well. */
static mr_status check_ids(const mr_chat_request *request, mr_err *err) {
    const mr_chat_message *caller = NULL;
    idx answered = 0;
    for (idx i = 1; i < request->messages; i++) {
        const mr_chat_message *message = &request->message[i];
        if (message->role == MR_CHAT_TOOL) {
            if (check_result(request, caller, message, err)) return MR_BAD;
            answered++;
        }
        if (message->role != MR_CHAT_ASSISTANT) continue;
        if (caller != NULL && caller->calls != answered)
            return unpaired(request, message, "not as many tool results as tool calls before", err);
        for (idx c = 0; c < message->calls; c++)
            if (calls_id(message, c, message->call[c].id))
                return unpaired(request, message, "two tool calls with the same id", err);
        caller = message;
        answered = 0;
    }
    return MR_OK;
}

/* ---- contents ------------------------------------------------------------------------------ */

static mr_status check_parts(const mr_chat_request *request, const mr_chat_message *message,
                             mr_err *err) {
    const bool may_think = request->version >= 13 && (message->role == MR_CHAT_SYSTEM ||
                                                      message->role == MR_CHAT_ASSISTANT);
    for (idx i = 0; i < message->content.parts; i++)
        if (message->content.part[i].thinking && !may_think)
            return unpaired(request, message, "thinking is for the system and the assistant, from "
                            "v13 on", err);
    return MR_OK;
}

static mr_status check_answer(const mr_chat_request *request, const mr_chat_message *message,
                              const char *where, mr_err *err) {
    if (request->version < 7 && mr_chat_some(&message->content) == (message->calls > 0))
        return mr_fail(err, MR_BAD, "%s: either content or tool calls, and not both", where);
    for (idx i = 0; i < message->calls; i++)
        if (check_id(request->version, message->call[i].id, where, err) ||
            check_name(message->call[i].name, where, err)) return MR_BAD;
    if (message->prefix && message != request->message + request->messages - 1)
        return mr_fail(err, MR_BAD, "%s: only the last message can be continued", where);
    return MR_OK;
}

static mr_status check_tool_message(const mr_chat_request *request, const mr_chat_message *message,
                                    const char *where, mr_err *err) {
    if (message->name != NULL && check_name(message->name->text, where, err)) return MR_BAD;
    if (message->id != NULL) return check_id(request->version, message->id->text, where, err);
    return request->version < 3 ? MR_OK : mr_fail(err, MR_BAD, "%s: no tool_call_id", where);
}

mr_status mr_chat_check(const mr_chat_request *request, mr_err *err) {
    char where[64];
    if (check_order(request, err)) return MR_BAD;
    if (request->version < 11 ? check_numbers(request, err) : check_ids(request, err))
        return MR_BAD;
    for (idx i = 0; i < request->messages; i++) {
        const mr_chat_message *message = &request->message[i];
        snprintf(where, sizeof where, "messages[%td]", i);
        if (check_parts(request, message, err)) return MR_BAD;
        if (message->role == MR_CHAT_ASSISTANT && check_answer(request, message, where, err))
            return MR_BAD;
        if (message->role == MR_CHAT_TOOL && check_tool_message(request, message, where, err))
            return MR_BAD;
    }
    for (idx i = 0; i < request->tools; i++) {
        snprintf(where, sizeof where, "tools[%td]", i);
        if (mr_chat_schema(request->tool[i].parameters, where, err) ||
            check_name(request->tool[i].name, where, err)) return MR_BAD;
    }
    return MR_OK;
}
