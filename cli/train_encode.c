/* From the parts of an example to ids, and a mark at each id that is a target. */
#include "cli/train.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/chat.h"
#include "tokenizer/lists.h"
#include "weights/json.h"

/* Ids [from, end of ids) get a mark each. */
static mr_status mark(mr_train_data *out, bool scored, mr_err *err) {
    const char byte = scored ? 1 : 0;
    while (out->scored.count < out->ids.count)
        if (mr_text_append(&out->scored, &byte, 1, err)) return MR_BAD;
    return MR_OK;
}

static mr_status add(mr_train_data *out, int32_t id, bool scored, mr_err *err) {
    return mr_ids_push(&out->ids, id, err) ? MR_BAD : mark(out, scored, err);
}

/* The last gate of every id: a tokenizer can have more of them than the model. */
static mr_status check(const mr_encoder *e, const mr_train_data *out, idx from, mr_err *err) {
    for (idx i = from; i < out->ids.count; i++)
        if (out->ids.id[i] < 0 || out->ids.id[i] >= e->vocab)
            return mr_fail(err, MR_BAD, "id %ld is outside the model's vocabulary, expected 0 to "
                           "%td", (long)out->ids.id[i], e->vocab - 1);
    return MR_OK;
}

static mr_status need_tokenizer(const mr_encoder *e, mr_err *err) {
    if (e->tokenizer != NULL) return MR_OK;
    return mr_fail(err, MR_BAD, "text needs a tokenizer, and the model's folder has none; add "
                   "tokenizer.model or give lists of ids");
}

/* labels: NULL, or the ids again with -100 where there is no target, as Hugging Face has them. */
mr_status mr_encode_ids(const mr_encoder *e, const json_t *list, const json_t *labels, bool scored,
                        mr_train_data *out, mr_err *err) {
    const idx from = out->ids.count;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return mr_fail(err, MR_BAD, "expected a list of ids, found %s",
                       json_is_array(list) ? "an empty one" : mr_json_kind(list));
    if (labels != NULL &&
        (!json_is_array(labels) || json_array_size(labels) != json_array_size(list)))
        return mr_fail(err, MR_BAD, "labels: expected a list as long as the ids");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i), *label = json_array_get(labels, i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= e->vocab)
            return mr_fail(err, MR_BAD, "id %zu: expected 0 to %td, found %s", i, e->vocab - 1,
                           json_is_integer(id) ? "another number" : mr_json_kind(id));
        if (label != NULL && json_integer_value(label) != value &&
            json_integer_value(label) != -100)
            return mr_fail(err, MR_BAD, "labels: number %zu is neither -100 nor the id at its "
                           "place", i);
        const bool target = label != NULL ? json_integer_value(label) == value : scored;
        if (add(out, (int32_t)value, target && out->ids.count > from, err)) return MR_BAD;
    }
    return MR_OK;
}

/* e(text), alone; a string that is empty teaches nothing. */
static mr_status add_text(const mr_encoder *e, const char *text, bool scored, mr_train_data *out,
                          mr_err *err) {
    if (*text == '\0') return mr_fail(err, MR_BAD, "the text is empty");
    if (mr_tokenizer_encode(e->tokenizer, text, (idx)strlen(text), &out->ids, err)) return MR_BAD;
    return mark(out, scored, err);
}

static mr_status add_bos(const mr_encoder *e, mr_train_data *out, mr_err *err) {
    const int32_t bos = mr_tokenizer_bos(e->tokenizer);
    return bos < 0 ? MR_OK : add(out, bos, false, err);
}

static mr_status add_eos(const mr_encoder *e, mr_train_data *out, mr_err *err) {
    const int32_t eos = mr_tokenizer_eos(e->tokenizer);
    if (eos < 0) return mr_fail(err, MR_BAD, "the tokenizer has no EOS token, so no end is learnt");
    return add(out, eos, true, err);
}

/* BOS e(text) EOS, everything after BOS scored. */
mr_status mr_encode_text(const mr_encoder *e, const char *text, mr_train_data *out, mr_err *err) {
    const idx from = out->ids.count;
    if (need_tokenizer(e, err) || add_bos(e, out, err) || add_text(e, text, true, out, err) ||
        add_eos(e, out, err)) return MR_BAD;
    return check(e, out, from, err);
}

/* Ids of a conversation through the template, and where its assistant's turns are. */
static mr_status encode_request(const mr_encoder *e, json_t *messages, const json_t *tools,
                                mr_ids *ids, mr_ids *turns, mr_err *err) {
    mr_text text = {0};
    json_t *request = json_pack("{s:O}", "messages", messages);
    if (tools != NULL) json_object_set(request, "tools", (json_t *)tools);
    char *json = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (json == NULL) return mr_fail(err, MR_BAD, "out of memory while forming JSON");
    const mr_status status = mr_chat_encode_turns(e->tokenizer, e->version, json,
                                                  (idx)strlen(json), &text, ids, turns, err);
    free(json);   /* jansson's allocator, not ours */
    mr_text_free(&text);
    return status;
}

/* Every turn of the assistant from id `from` of the conversation on is scored. */
static mr_status add_conversation(const mr_encoder *e, json_t *messages, const json_t *tools,
                                  const mr_ids *prompt, mr_train_data *out, mr_err *err) {
    mr_ids turns = {0};
    const idx start = out->ids.count, from = prompt != NULL ? prompt->count : 0;
    mr_status status = encode_request(e, messages, tools, &out->ids, &turns, err);
    if (status == MR_OK && from > 0 &&
        (out->ids.count - start <= from ||
         memcmp(out->ids.id + start, prompt->id, (size_t)from * sizeof *prompt->id) != 0))
        status = mr_fail(err, MR_BAD, "through the chat template the prompt is not the beginning "
                         "of prompt and answer; the answer must be turns of the assistant");
    if (status == MR_OK) status = mark(out, false, err);
    for (idx n = 0; n + 1 < turns.count && status == MR_OK; n += 2)
        for (idx i = turns.id[n]; i < turns.id[n + 1]; i++)
            out->scored.byte[i] = turns.id[n] >= start + from ? 1 : 0;
    mr_ids_free(&turns);
    return status == MR_OK ? check(e, out, start, err) : status;
}

mr_status mr_encode_chat(const mr_encoder *e, const json_t *messages, const json_t *tools,
                         mr_train_data *out, mr_err *err) {
    if (need_tokenizer(e, err)) return MR_BAD;
    return add_conversation(e, (json_t *)messages, tools, NULL, out, err);
}

static mr_status encode_messages(const mr_encoder *e, const json_t *prompt, const json_t *answer,
                                 mr_train_data *out, mr_err *err) {
    if (answer == NULL) {
        if (encode_request(e, (json_t *)prompt, NULL, &out->ids, NULL, err)) return MR_BAD;
        return mark(out, false, err);
    }
    mr_ids before = {0};
    json_t *whole = json_copy((json_t *)prompt);
    mr_status status = encode_request(e, (json_t *)prompt, NULL, &before, NULL, err);
    if (status == MR_OK && (whole == NULL || json_array_extend(whole, (json_t *)answer)))
        status = mr_fail(err, MR_BAD, "out of memory while joining messages");
    if (status == MR_OK) status = add_conversation(e, whole, NULL, &before, out, err);
    json_decref(whole);
    mr_ids_free(&before);
    return status;
}

/* BOS e(prompt) e(answer) EOS, each e() by itself; the answer and its EOS are scored. */
mr_status mr_encode_pair(const mr_encoder *e, const json_t *prompt, const json_t *answer,
                         mr_train_data *out, mr_err *err) {
    const idx from = out->ids.count;
    const bool text = json_is_string(prompt), list = json_is_array(prompt);
    if (need_tokenizer(e, err)) return MR_BAD;
    if (!text && !list)
        return mr_fail(err, MR_BAD, "prompt: expected a string or a list of messages, found %s",
                       mr_json_kind(prompt));
    if (answer != NULL && (text ? !json_is_string(answer) : !json_is_array(answer)))
        return mr_fail(err, MR_BAD, "expected an answer of the prompt's kind, %s, found %s",
                       text ? "a string" : "a list of messages", mr_json_kind(answer));
    if (list) return encode_messages(e, prompt, answer, out, err);
    if (add_bos(e, out, err) || add_text(e, json_string_value(prompt), false, out, err) ||
        (answer != NULL && (add_text(e, json_string_value(answer), true, out, err) ||
                            add_eos(e, out, err)))) return MR_BAD;
    return check(e, out, from, err);
}
