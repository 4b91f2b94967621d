/* tokenize: text to ids and back; line by line for other programs. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/base64.h"
#include "tokenizer/lists.h"
#include "weights/json.h"

static json_t *string_of(const mr_text *text) {
    return json_stringn(text->count > 0 ? text->byte : "", (size_t)text->count);
}

/* ids of one text, BOS first when asked for */
static mr_status encode(const mr_tokenizer *t, bool bos, const char *text, idx bytes, mr_ids *ids,
                        mr_err *err) {
    ids->count = 0;
    const int32_t first = mr_tokenizer_bos(t);
    if (bos && first >= 0 && mr_ids_push(ids, first, err)) return MR_BAD;
    return mr_tokenizer_encode(t, text, bytes, ids, err);
}

static mr_status list_ids(const json_t *list, mr_ids *ids, mr_err *err) {
    ids->count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char one[32];
        snprintf(one, sizeof one, "%lld", (long long)json_integer_value(json_array_get(list, i)));
        if (!json_is_integer(json_array_get(list, i)) || mr_value_ids("ids", one, ids, err))
            return mr_fail(err, MR_BAD, "ids: expected a list of integers");
    }
    return MR_OK;
}

/* One request: {"text":..}, {"bytes_b64":..} or {"ids":[..]} */
static mr_status read_request(const mr_tokenizer *t, const json_t *request, bool bos, mr_ids *ids,
                              mr_err *err) {
    const json_t *text = json_object_get(request, "text"),
                 *b64 = json_object_get(request, "bytes_b64");
    const json_t *list = json_object_get(request, "ids");
    if (json_is_array(list)) return list_ids(list, ids, err);
    if (json_is_string(text))
        return encode(t, bos, json_string_value(text), (idx)json_string_length(text), ids, err);
    if (!json_is_string(b64))
        return mr_fail(err, MR_BAD, "expected an object with \"text\", \"bytes_b64\" or \"ids\"");
    mr_text bytes = {0};
    mr_status status = mr_base64_decode(json_string_value(b64), &bytes, err);
    if (status == MR_OK)
        status = encode(t, bos, bytes.count > 0 ? bytes.byte : "", bytes.count, ids, err);
    mr_text_free(&bytes);
    return status;
}

/* Answers one line; what is wrong with it is its answer. */
static mr_status answer(const mr_tokenizer *t, const char *line, size_t length, bool bos,
                        mr_ids *ids, mr_err *err) {
    json_error_t reason;
    mr_err one = {0};
    mr_text text = {0};
    json_t *request = NULL;
    if (mr_json_deep(line, (idx)length))
        mr_fail(&one, MR_BAD, "JSON of more than %d levels", MR_JSON_DEPTH);
    else if ((request = json_loadb(line, length, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
                                   &reason)) == NULL)
        mr_fail(&one, MR_BAD, "not JSON: %s", reason.text);
    else if (read_request(t, request, bos, ids, &one) == MR_OK)
        mr_tokenizer_decode(t, ids->id, ids->count, &text, &one);
    json_decref(request);
    json_t *reply = one.code != MR_OK
                        ? json_pack("{s:s}", "error", one.text)
                        : json_pack("{s:o,s:o}", "ids", mr_json_ids(ids->id, ids->count), "decoded",
                                    string_of(&text));
    mr_text_free(&text);
    return mr_print_json(reply, err);
}

static mr_status lines(const mr_tokenizer *t, bool bos, mr_err *err) {
    mr_text all = {0};
    mr_ids ids = {0};
    mr_status status = mr_value_file("-", &all, err);
    for (char *at = all.byte, *end; status == MR_OK && at != NULL && at < all.byte + all.count;
         at = end + 1) {
        end = memchr(at, '\n', (size_t)(all.byte + all.count - at));
        if (end == NULL) end = all.byte + all.count;
        if (end > at) status = answer(t, at, (size_t)(end - at), bos, &ids, err);
    }
    mr_ids_free(&ids);
    mr_text_free(&all);
    return status;
}

static mr_status decode(const mr_tokenizer *t, const mr_args *args, mr_err *err) {
    mr_ids ids = {0};
    mr_text text = {0};
    mr_status status = mr_value_ids("--decode", args->decode, &ids, err);
    if (status == MR_OK) status = mr_tokenizer_decode(t, ids.id, ids.count, &text, err);
    if (status == MR_OK && args->json)
        status = mr_print_json(json_pack("{s:o,s:o}", "ids", mr_json_ids(ids.id, ids.count),
                                         "decoded", string_of(&text)),
                               err);
    else if (status == MR_OK) {
        fwrite(text.byte, 1, (size_t)text.count, stdout);
        putchar('\n');
    }
    mr_ids_free(&ids);
    mr_text_free(&text);
    return status;
}

static mr_status print_ids(const mr_tokenizer *t, const mr_args *args, const char *text, idx bytes,
                           mr_err *err) {
    mr_ids ids = {0};
    mr_status status = encode(t, !args->no_bos, text, bytes, &ids, err);
    if (status == MR_OK && args->json) {
        json_t *pieces = json_array();
        for (idx i = 0; i < ids.count; i++) {
            idx size;
            const char *piece = mr_tokenizer_piece(t, ids.id[i], &size);
            json_t *name = json_stringn(piece, (size_t)size);
            /* a piece need not be UTF-8 */
            json_array_append_new(pieces, name != NULL ? name : json_null());
        }
        status = mr_print_json(
            json_pack("{s:o,s:o}", "ids", mr_json_ids(ids.id, ids.count), "pieces", pieces), err);
    } else if (status == MR_OK) {
        for (idx i = 0; i < ids.count; i++) printf("%s%ld", i > 0 ? "," : "", (long)ids.id[i]);
        putchar('\n');
    }
    mr_ids_free(&ids);
    return status;
}

mr_status mr_cmd_tokenize(const mr_args *args, mr_err *err) {
    mr_tokenizer *t = NULL;
    mr_text text = {0};
    if (args->bos && args->no_bos)
        return mr_fail(err, MR_USAGE, "--bos and --no-bos exclude each other");
    if (mr_tokenizer_open(args->model, &t, err)) return err->code;
    if (args->jsonl) lines(t, args->bos, err);
    else if (args->decode != NULL) decode(t, args, err);
    else if (args->file != NULL) print_ids(t, args, args->file, (idx)strlen(args->file), err);
    else if (mr_value_file("-", &text, err) == MR_OK)
        print_ids(t, args, text.byte, text.count, err);
    mr_text_free(&text);
    mr_tokenizer_close(t);
    return err->code;
}
