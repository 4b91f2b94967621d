/* chat-template: a conversation as JSON becomes the text and the ids of the model's template. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/chat.h"

/* {"text":..,"ids":[..]}, or {"error":..} when the request was refused. */
static mr_status print_answer(const mr_text *text, const mr_ids *ids, const mr_err *refusal,
                              mr_err *err) {
    if (refusal->code != MR_OK)
        return mr_print_json(json_pack("{s:s}", "error", refusal->text), err);
    json_t *string = json_stringn(text->byte, (size_t)text->count);
    if (string == NULL) return mr_fail(err, MR_BAD, "the text of the template is not UTF-8");
    return mr_print_json(
        json_pack("{s:o,s:o}", "text", string, "ids", mr_json_ids(ids->id, ids->count)), err);
}

/* One request per line; what is wrong with a line is its answer. */
static mr_status lines(const mr_tokenizer *t, const char *version, const mr_text *input,
                       mr_err *err) {
    mr_text text = {0};
    mr_ids ids = {0};
    mr_status status = MR_OK;
    const char *stop = input->byte + input->count;
    for (const char *at = input->byte, *end; status == MR_OK && at < stop; at = end + 1) {
        mr_err refusal = {0};
        end = memchr(at, '\n', (size_t)(stop - at));
        if (end == NULL) end = stop;
        if (end == at) continue;
        text.count = ids.count = 0;
        mr_chat_encode(t, version, at, end - at, &text, &ids, &refusal);
        status = print_answer(&text, &ids, &refusal, err);
    }
    mr_text_free(&text);
    mr_ids_free(&ids);
    return status;
}

static mr_status whole(const mr_tokenizer *t, const mr_args *args, const mr_text *input,
                       mr_err *err) {
    mr_text text = {0};
    mr_ids ids = {0};
    mr_status status =
        mr_chat_encode(t, args->version, input->byte, input->count, &text, &ids, err);
    if (args->json) {
        const mr_err refusal = *err;
        const mr_status printed = print_answer(&text, &ids, &refusal, err);
        if (status == MR_OK) status = printed;
    } else if (status == MR_OK) {
        fwrite(text.byte, 1, (size_t)text.count, stdout);
        putchar('\n');
    }
    mr_text_free(&text);
    mr_ids_free(&ids);
    return status;
}

mr_status mr_cmd_chat_template(const mr_args *args, mr_err *err) {
    mr_tokenizer *t = NULL;
    mr_text input = {0};
    if (mr_tokenizer_open(args->model, &t, err)) return err->code;
    mr_status status = mr_value_file(args->file != NULL ? args->file : "-", &input, err);
    if (status == MR_OK)
        status = args->jsonl ? lines(t, args->version, &input, err) : whole(t, args, &input, err);
    mr_text_free(&input);
    mr_tokenizer_close(t);
    return status;
}
