/* Makes one message of neighbours of the same role, as mistral-common does before it prints. */
#include <string.h>

#include "tokenizer/chat_request.h"

#define BETWEEN "\n\n"
#define BETWEEN_BYTES ((idx)2)

/* A text that grows inside memory that is known to be large enough. */
typedef struct {
    char *start, *end;
} pen;

static void put(pen *p, mr_py_span text) {
    if (text.count > 0) memcpy(p->end, text.byte, (size_t)text.count);
    p->end += text.count;
}

static mr_py_span written(const pen *p) { return (mr_py_span){p->start, p->end - p->start}; }

/* Room for all texts of the messages with separators, and in *parts for all their parts. */
static mr_status measure(const mr_chat_message *message, idx count, idx *bytes, idx *parts,
                         mr_err *err) {
    bool fits = true;
    *bytes = 0;
    *parts = 1;
    for (idx m = 0; m < count; m++) {
        const mr_chat_content *content = &message[m].content;
        fits = fits && mr_add(*bytes, content->text.count, bytes) &&
               mr_add(*bytes, BETWEEN_BYTES, bytes) && mr_add(*parts, content->parts, parts);
        for (idx i = 0; i < content->parts; i++)
            fits = fits && mr_add(*bytes, content->part[i].text.count, bytes) &&
                   mr_add(*bytes, BETWEEN_BYTES, bytes);
    }
    return fits ? MR_OK : mr_fail(err, MR_BAD, "messages: the texts together do not fit");
}

/* Adds a text to the one being written; empty texts leave no separator behind. */
static void join(pen *p, mr_py_span text) {
    if (text.count == 0) return;
    if (p->end > p->start) put(p, (mr_py_span){BETWEEN, BETWEEN_BYTES});
    put(p, text);
}

/* What has been written becomes a part of its own, ahead of a thought or at the end. */
static void flush(pen *p, mr_chat_content *out) {
    if (p->end == p->start) return;
    out->part[out->parts++] = (mr_chat_part){.text = written(p)};
    p->start = p->end;
}

/* The contents of several messages as one: a text, or a list when a thought is among them. */
static mr_status merge_contents(mr_py_arena *arena, const mr_chat_message *message, idx count,
                                mr_chat_content *out, mr_err *err) {
    idx bytes, parts, most;
    pen p;
    *out = (mr_chat_content){0};
    if (measure(message, count, &bytes, &parts, err)) return MR_BAD;
    if (!mr_mul(parts, 2, &most)) most = parts; /* a text between any two thoughts */
    out->part = mr_py_alloc(arena, most, (idx)sizeof *out->part, err);
    p.start = p.end = mr_py_alloc(arena, bytes, 1, err);
    if (out->part == NULL || p.start == NULL) return MR_BAD;
    for (idx m = 0; m < count; m++) {
        const mr_chat_content *content = &message[m].content;
        join(&p, content->text);
        for (idx i = 0; i < content->parts; i++) {
            if (!content->part[i].thinking) {
                join(&p, content->part[i].text);
                continue;
            }
            flush(&p, out);
            out->part[out->parts++] = content->part[i];
        }
    }
    out->list = out->parts > 0;
    if (out->list) flush(&p, out);
    else out->text = written(&p);
    return MR_OK;
}

static mr_status merge_answers(mr_py_arena *arena, const mr_chat_message *message, idx count,
                               mr_chat_message *out, mr_err *err) {
    idx calls = 1;
    for (idx m = 0; m < count; m++)
        if (!mr_add(calls, message[m].calls, &calls)) return MR_BAD;
    out->call = mr_py_alloc(arena, calls, (idx)sizeof *out->call, err);
    if (out->call == NULL) return MR_BAD;
    for (idx m = 0; m < count; m++) {
        for (idx c = 0; c < message[m].calls; c++) out->call[out->calls++] = message[m].call[c];
        out->prefix = out->prefix || message[m].prefix;
    }
    return MR_OK;
}

/* Place of the call that a result answers; mr_chat_check has found it there. */
static idx place(const mr_chat_message *caller, const mr_chat_message *result) {
    idx at = caller->calls - 1;
    while (at > 0 && !mr_py_equal(caller->call[at].id, result->id->text)) at--;
    return at;
}

/* From v11 on results stand in the order of their calls. */
static void sort_results(const mr_chat_message *caller, mr_chat_message *result, idx count) {
    for (idx i = 1; i < count; i++) {
        const mr_chat_message moved = result[i];
        idx to = i;
        for (; to > 0 && place(caller, &result[to - 1]) > place(caller, &moved); to--)
            result[to] = result[to - 1];
        result[to] = moved;
    }
}

/* Each message by itself: tool results, and system messages from v7 on. */
static mr_status keep_apart(mr_chat_request *request, const mr_chat_message *message, idx count,
                            mr_chat_message *out, mr_err *err) {
    for (idx m = 0; m < count; m++) {
        out[m] = message[m];
        if (merge_contents(&request->arena, &message[m], 1, &out[m].content, err)) return MR_BAD;
        if (message[m].role == MR_CHAT_TOOL && request->version < 7 &&
            mr_chat_json(&request->arena, out[m].content.text, "tool result", &out[m].result, err))
            return MR_BAD;
    }
    return MR_OK;
}

/* v1 to v3: all system texts as one, kept beside the messages. */
static mr_status collect_system(mr_chat_request *request, mr_err *err) {
    idx bytes, parts;
    pen p;
    bool first = true;
    if (measure(request->message, request->messages, &bytes, &parts, err)) return MR_BAD;
    p.start = p.end = mr_py_alloc(&request->arena, bytes, 1, err);
    if (p.start == NULL) return MR_BAD;
    for (idx m = 0; m < request->messages; m++) {
        mr_chat_content text;
        const mr_chat_message *message = &request->message[m];
        if (message->role != MR_CHAT_SYSTEM || !mr_chat_some(&message->content)) continue;
        if (merge_contents(&request->arena, message, 1, &text, err)) return MR_BAD;
        if (!first) put(&p, (mr_py_span){BETWEEN, BETWEEN_BYTES}); /* also beside an empty text */
        put(&p, text.text);
        first = false;
    }
    request->system = written(&p);
    return MR_OK;
}

/* Appends what becomes of `count` neighbours of one role. */
static mr_status merge_group(mr_chat_request *request, const mr_chat_message *message, idx count,
                             mr_chat_message *list, idx *length, mr_err *err) {
    const mr_chat_role role = message->role;
    mr_chat_message *out = list + *length;
    if (role == MR_CHAT_SYSTEM && request->version < 7) return MR_OK;
    if (role == MR_CHAT_SYSTEM || role == MR_CHAT_TOOL) {
        if (keep_apart(request, message, count, out, err)) return MR_BAD;
        if (role == MR_CHAT_TOOL && request->version >= 11 && *length > 0 &&
            out[-1].role == MR_CHAT_ASSISTANT) sort_results(out - 1, out, count);
        *length += count;
        return MR_OK;
    }
    *out = (mr_chat_message){.role = role};
    *length += 1;
    if (merge_contents(&request->arena, message, count, &out->content, err)) return MR_BAD;
    return role == MR_CHAT_ASSISTANT ? merge_answers(&request->arena, message, count, out, err)
                                     : MR_OK;
}

mr_status mr_chat_merge(mr_chat_request *request, mr_err *err) {
    const mr_chat_message *message = request->message;
    idx length = 0;
    if (request->version < 7 && collect_system(request, err)) return MR_BAD;
    mr_chat_message *list =
        mr_py_alloc(&request->arena, request->messages + 1, (idx)sizeof *list, err);
    if (list == NULL) return MR_BAD;
    list[0] = (mr_chat_message){.role = MR_CHAT_USER};

    /* Up to v3 a conversation begins with the user; list[0] is that empty message. */
    mr_chat_message *merged = list + 1;
    for (idx from = 0, to; from < request->messages; from = to) {
        for (to = from + 1; to < request->messages && message[to].role == message[from].role; to++)
            continue;
        if (merge_group(request, message + from, to - from, merged, &length, err)) return MR_BAD;
    }
    const bool insert = length == 0 || (request->version < 7 && merged[0].role != MR_CHAT_USER);
    request->message = insert ? list : merged;
    request->messages = length + insert;
    return MR_OK;
}
