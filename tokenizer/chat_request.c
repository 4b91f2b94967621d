/* Reads the JSON of a chat request: the same fields, types and defaults as mistral-common. */
#include "tokenizer/chat_request.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/chat_fields.h"

#define COUNT(table) ((idx)(sizeof(table) / sizeof *(table)))

typedef struct {
    mr_py_arena *arena;
    mr_err      *err;
    char         where[64]; /* place in the request, opens the messages */
} reader;

static void *list_memory(reader *r, const mr_py *list, idx size) {
    return mr_py_alloc(r->arena, list->items > 0 ? list->items : 1, size, r->err);
}

/* ---- contents ------------------------------------------------------------------------------ */

static mr_status read_part(reader *r, const mr_py *value, mr_chat_part *out) {
    const mr_py *type = mr_py_get(value, "type"), *text = NULL, *closed = NULL;
    const mr_field plain[] = {{"type", MR_FIELD_STRING, true, false, NULL},
                              {"text", MR_FIELD_STRING, true, false, &text}};
    const mr_field thought[] = {{"type", MR_FIELD_STRING, true, false, NULL},
                                {"thinking", MR_FIELD_STRING, true, false, &text},
                                {"closed", MR_FIELD_BOOL, false, false, &closed}};
    if (type == NULL || type->kind != MR_PY_STRING)
        return mr_fail(r->err, MR_BAD, "%s: a part of the content has no \"type\"", r->where);
    out->thinking = mr_py_is(type->text, "thinking");
    if (!out->thinking && !mr_py_is(type->text, "text"))
        return mr_fail(r->err, MR_BAD, "%s: content of type \"%s\" is not supported here, only "
                       "\"text\" and \"thinking\"", r->where,
                       mr_chat_shown(type->text, (char[MR_CHAT_SHOWN]){0}));
    const mr_status status =
        out->thinking ? mr_chat_fields(value, r->where, thought, COUNT(thought), r->err)
                      : mr_chat_fields(value, r->where, plain, COUNT(plain), r->err);
    if (status != MR_OK) return status;
    out->text = text->text;
    out->closed = closed == NULL || mr_chat_true(closed);
    return MR_OK;
}

static mr_status read_content(reader *r, const mr_py *value, mr_chat_content *out) {
    if (value == NULL) return MR_OK;
    out->list = value->kind == MR_PY_LIST;
    out->text = mr_chat_string(out->list ? NULL : value, "");
    if (!out->list)
        return value->kind == MR_PY_STRING
                   ? MR_OK
                   : mr_fail(r->err, MR_BAD, "%s.content: expected a string or a list", r->where);
    out->part = list_memory(r, value, (idx)sizeof *out->part);
    if (out->part == NULL) return MR_BAD;
    for (const mr_py *part = value->first; part != NULL; part = part->next)
        if (read_part(r, part, &out->part[out->parts++])) return MR_BAD;
    return MR_OK;
}

/* ---- tool calls ---------------------------------------------------------------------------- */

mr_status mr_chat_json(mr_py_arena *arena, mr_py_span text, const char *where, const mr_py **out,
                       mr_err *err) {
    mr_err reason = {0};
    bool malformed;
    if (text.count == 0) text = (mr_py_span){"{}", 2};
    if (mr_py_read(arena, text.byte, text.count, out, &malformed, &reason) == MR_OK) return MR_OK;
    if (!malformed) return mr_fail(err, MR_BAD, "%s: %s", where, reason.text);
    mr_py *string = mr_py_alloc(arena, 1, (idx)sizeof *string, err);
    if (string == NULL) return MR_BAD;
    string->kind = MR_PY_STRING;
    string->text = text;
    *out = string;
    return MR_OK;
}

static mr_status read_arguments(reader *r, const mr_py *value, const mr_py **out) {
    *out = value;
    if (value != NULL && value->kind == MR_PY_DICT) return MR_OK;
    if (value != NULL && value->kind != MR_PY_STRING)
        return mr_fail(r->err, MR_BAD, "%s: arguments must be a string or an object", r->where);
    return mr_chat_json(r->arena, mr_chat_string(value, ""), r->where, out, r->err);
}

static mr_status read_call(reader *r, const mr_py *value, mr_chat_call *out) {
    const mr_py *id, *function, *name, *arguments;
    const mr_field call[] = {{"id", MR_FIELD_STRING, false, false, &id},
                             {"type", MR_FIELD_FUNCTION, false, false, NULL},
                             {"function", MR_FIELD_DICT, true, false, &function}};
    const mr_field inner[] = {{"name", MR_FIELD_STRING, true, false, &name},
                              {"arguments", MR_FIELD_ANY, true, true, &arguments}};
    if (mr_chat_fields(value, r->where, call, COUNT(call), r->err) ||
        mr_chat_fields(function, r->where, inner, COUNT(inner), r->err)) return MR_BAD;
    out->id = mr_chat_string(id, "null");
    out->name = name->text;
    return read_arguments(r, arguments, &out->arguments);
}

static mr_status read_calls(reader *r, const mr_py *list, mr_chat_message *out) {
    if (list == NULL) return MR_OK;
    out->call = list_memory(r, list, (idx)sizeof *out->call);
    if (out->call == NULL) return MR_BAD;
    for (const mr_py *call = list->first; call != NULL; call = call->next)
        if (read_call(r, call, &out->call[out->calls++])) return MR_BAD;
    return MR_OK;
}

/* ---- messages ------------------------------------------------------------------------------ */

static bool read_role(const mr_py *message, mr_chat_role *out) {
    static const char *const word[] = {"system", "user", "assistant", "tool"};
    const mr_py *role = mr_py_get(message, "role");
    for (int i = 0; i < 4; i++) {
        *out = (mr_chat_role)i;
        if (role != NULL && role->kind == MR_PY_STRING && mr_py_is(role->text, word[i]))
            return true;
    }
    return false;
}

static mr_status read_message(reader *r, const mr_py *value, mr_chat_message *out) {
    const mr_py *content = NULL, *calls = NULL, *prefix = NULL;
    const mr_field plain[] = {{"role", MR_FIELD_ANY, true, false, NULL},
                              {"content", MR_FIELD_ANY, true, false, &content}};
    const mr_field assistant[] = {{"role", MR_FIELD_ANY, true, false, NULL},
                                  {"content", MR_FIELD_ANY, false, true, &content},
                                  {"tool_calls", MR_FIELD_LIST, false, true, &calls},
                                  {"prefix", MR_FIELD_BOOL, false, false, &prefix}};
    const mr_field tool[] = {{"role", MR_FIELD_ANY, true, false, NULL},
                             {"content", MR_FIELD_ANY, true, false, &content},
                             {"tool_call_id", MR_FIELD_STRING, false, true, &out->id},
                             {"name", MR_FIELD_STRING, false, true, &out->name}};
    if (!read_role(value, &out->role))
        return mr_fail(r->err, MR_BAD, "%s: role must be system, user, assistant or tool",
                       r->where);
    const bool answers = out->role == MR_CHAT_ASSISTANT, results = out->role == MR_CHAT_TOOL;
    if (mr_chat_fields(value, r->where, answers ? assistant : results ? tool : plain,
                       answers ? COUNT(assistant) : results ? COUNT(tool) : COUNT(plain), r->err))
        return MR_BAD;
    out->prefix = mr_chat_true(prefix);
    return read_content(r, content, &out->content) || read_calls(r, calls, out) ? MR_BAD : MR_OK;
}

static mr_status read_messages(reader *r, const mr_py *list, bool go_on, mr_chat_request *out) {
    out->message = list_memory(r, list, (idx)sizeof *out->message);
    if (out->message == NULL) return MR_BAD;
    for (const mr_py *message = list->first; message != NULL; message = message->next) {
        snprintf(r->where, sizeof r->where, "messages[%td]", out->messages);
        if (read_message(r, message, &out->message[out->messages++])) return MR_BAD;
    }
    if (!go_on) return MR_OK;
    if (out->messages == 0 || out->message[out->messages - 1].role != MR_CHAT_ASSISTANT)
        return mr_fail(r->err, MR_BAD, "continue_final_message: the last message is not the "
                       "assistant's");
    out->message[out->messages - 1].prefix = true;
    return MR_OK;
}

/* ---- tools --------------------------------------------------------------------------------- */

static mr_status read_tool(reader *r, const mr_py *value, mr_chat_tool *out) {
    const mr_py *function, *name, *description;
    const mr_field tool[] = {{"type", MR_FIELD_FUNCTION, false, false, NULL},
                             {"function", MR_FIELD_DICT, true, false, &function}};
    const mr_field inner[] = {{"name", MR_FIELD_STRING, true, false, &name},
                              {"description", MR_FIELD_STRING, false, false, &description},
                              {"parameters", MR_FIELD_DICT, true, false, &out->parameters},
                              {"strict", MR_FIELD_BOOL, false, false, NULL}};
    if (mr_chat_fields(value, r->where, tool, COUNT(tool), r->err) ||
        mr_chat_fields(function, r->where, inner, COUNT(inner), r->err)) return MR_BAD;
    out->name = name->text;
    out->description = mr_chat_string(description, "");
    return MR_OK;
}

static mr_status read_tools(reader *r, const mr_py *list, mr_chat_request *out) {
    if (list == NULL) return MR_OK;
    out->tool = list_memory(r, list, (idx)sizeof *out->tool);
    if (out->tool == NULL) return MR_BAD;
    for (const mr_py *tool = list->first; tool != NULL; tool = tool->next) {
        snprintf(r->where, sizeof r->where, "tools[%td]", out->tools);
        if (read_tool(r, tool, &out->tool[out->tools++])) return MR_BAD;
    }
    return MR_OK;
}

/* ---- the request --------------------------------------------------------------------------- */

static bool is_one_of(const mr_py *value, const char *const *word, int words) {
    for (int i = 0; i < words; i++)
        if (value->kind == MR_PY_STRING && mr_py_is(value->text, word[i])) return true;
    return false;
}

/* Does not change the text, but has rules of its own. */
static mr_status check_choice(const mr_py *choice, mr_err *err) {
    static const char *const words[] = {"auto", "none", "any", "required"};
    const mr_py *function;
    const mr_field outer[] = {{"type", MR_FIELD_FUNCTION, false, false, NULL},
                              {"function", MR_FIELD_DICT, true, false, &function}};
    const mr_field inner[] = {{"name", MR_FIELD_STRING, true, false, NULL}};
    if (choice == NULL || is_one_of(choice, words, 4)) return MR_OK;
    if (mr_chat_fields(choice, "tool_choice", outer, COUNT(outer), err)) return MR_BAD;
    return mr_chat_fields(function, "tool_choice.function", inner, COUNT(inner), err);
}

static mr_status check_format(const mr_py *format, mr_err *err) {
    static const char *const words[] = {"text", "json_object", "json_schema"};
    const mr_py *type, *named, *schema;
    const mr_field outer[] = {{"type", MR_FIELD_ANY, false, false, &type},
                              {"json_schema", MR_FIELD_DICT, false, true, &named}};
    const mr_field inner[] = {{"name", MR_FIELD_STRING, true, false, NULL},
                              {"description", MR_FIELD_STRING, false, true, NULL},
                              {"schema", MR_FIELD_DICT, false, false, &schema},
                              {"custom_schema", MR_FIELD_DICT, false, false, NULL},
                              {"strict", MR_FIELD_BOOL, false, false, NULL}};
    if (format == NULL) return MR_OK;
    if (mr_chat_fields(format, "response_format", outer, COUNT(outer), err)) return MR_BAD;
    if ((type != NULL && !is_one_of(type, words, 3)) ||
        (type != NULL && named == NULL && is_one_of(type, words + 2, 1)))
        return mr_fail(err, MR_BAD, "response_format: the type is none of text, json_object and "
                       "json_schema, or the schema is missing");
    if (named == NULL) return MR_OK;
    if (mr_chat_fields(named, "response_format.json_schema", inner, COUNT(inner), err))
        return MR_BAD;
    const mr_py *custom = mr_py_get(named, "custom_schema");
    if ((schema == NULL) == (custom == NULL))
        return mr_fail(err, MR_BAD, "response_format: expected exactly one schema");
    return mr_chat_schema(schema != NULL ? schema : custom, "response_format", err);
}

mr_status mr_chat_read(const char *json, idx bytes, mr_chat_request *out, mr_err *err) {
    reader r = {.arena = &out->arena, .err = err};
    const mr_py *root, *messages, *tools, *go_on, *choice, *format, *truncate, *effort;
    const mr_field fields[] = {
        {"messages", MR_FIELD_LIST, true, false, &messages},
        {"tools", MR_FIELD_LIST, false, true, &tools},
        {"continue_final_message", MR_FIELD_BOOL, false, false, &go_on},
        {"model", MR_FIELD_STRING, false, true, NULL},
        {"temperature", MR_FIELD_SHARE, false, false, NULL},
        {"top_p", MR_FIELD_SHARE, false, false, NULL},
        {"max_tokens", MR_FIELD_COUNT, false, true, NULL},
        {"random_seed", MR_FIELD_COUNT, false, true, NULL},
        {"parallel_tool_calls", MR_FIELD_BOOL, false, false, NULL},
        {"tool_choice", MR_FIELD_ANY, false, false, &choice},
        {"response_format", MR_FIELD_DICT, false, false, &format},
        {"truncate_for_context_length", MR_FIELD_BOOL, false, false, &truncate},
        {"reasoning_effort", MR_FIELD_ANY, false, true, &effort},
    };
    if (mr_py_read(r.arena, json, bytes, &root, NULL, err) ||
        mr_chat_fields(root, "request", fields, COUNT(fields), err)) return MR_BAD;
    if (mr_chat_true(truncate))
        return mr_fail(err, MR_BAD, "truncate_for_context_length: no length to truncate to");
    if (effort != NULL)
        return mr_fail(err, MR_BAD, "reasoning_effort is for templates from v15 on");
    if (read_messages(&r, messages, mr_chat_true(go_on), out) || read_tools(&r, tools, out) ||
        check_choice(choice, err)) return MR_BAD;
    return check_format(format, err);
}
