/* Training data: each line of a JSON Lines file becomes an example of one or two sequences. */
#include "cli/train.h"

#include <stdlib.h>
#include <string.h>

#include "weights/jsonl.h"

/* A line being read. */
typedef struct {
    const mr_encoder *e;
    mr_train_data    *data;
    const json_t     *object;
    mr_example        example;
    int               sequences;   /* of the example so far */
    bool              lost;        /* nothing to learn is left after truncation */
    bool              prompts;     /* rl: there is nothing to score */
} line;

static const json_t *get(const line *l, const char *key) { return json_object_get(l->object, key); }

/* Ends the sequence that began at `start`: cut to the longest length, its end dropped. */
static mr_status end_sequence(line *l, idx start, mr_err *err) {
    mr_train_data *d = l->data;
    idx targets = 0, kept = 0;
    const bool cut = d->ids.count - start > l->e->max_length;
    for (idx i = start + 1; i < d->ids.count; i++) {
        targets += d->scored.byte[i];
        if (i - start < l->e->max_length) kept += d->scored.byte[i];
    }
    if (targets == 0 && !l->prompts) return mr_fail(err, MR_BAD, "nothing in it is to be learnt");
    if (cut) d->ids.count = d->scored.count = start + l->e->max_length;
    l->lost = l->lost || (l->prompts ? cut : kept == 0);
    d->truncated += cut;
    l->example.start[l->sequences] = start;
    l->example.count[l->sequences++] = d->ids.count - start;
    return MR_OK;
}

/* "chosen: the text is empty" */
static mr_status in_key(const char *key, const mr_err *inner, mr_err *err) {
    return mr_fail(err, inner->code, "%s: %s", key, inner->text);
}

/* sft: the first of these forms that the line has. */
static mr_status read_sft(line *l, mr_err *err) {
    const idx start = l->data->ids.count;
    const char *key = "input_ids";
    const json_t *found = get(l, key);
    mr_err inner = {0};
    if (found != NULL) mr_encode_ids(l->e, found, get(l, "labels"), true, l->data, &inner);
    else if ((found = get(l, key = "messages")) != NULL)
        mr_encode_chat(l->e, found, get(l, "tools"), l->data, &inner);
    else if (get(l, "prompt") != NULL && (found = get(l, key = "completion")) != NULL)
        mr_encode_pair(l->e, get(l, "prompt"), found, l->data, &inner);
    else if (json_is_string(found = get(l, key = "text")))
        mr_encode_text(l->e, json_string_value(found), l->data, &inner);
    else
        return mr_fail(err, MR_BAD, "expected \"text\" (a string), \"prompt\" and \"completion\", "
                       "\"messages\" or \"input_ids\"");
    return inner.code != MR_OK ? in_key(key, &inner, err) : end_sequence(l, start, err);
}

/* reward, dpo: prompt with chosen, prompt with rejected. */
static mr_status read_pair(line *l, mr_err *err) {
    static const char *const texts[] = {"chosen", "rejected"},
                      *const lists[] = {"chosen_ids", "rejected_ids"};
    const bool ids = get(l, "prompt_ids") != NULL;
    const json_t *prompt = get(l, ids ? "prompt_ids" : "prompt"), *margin = get(l, "margin");
    for (int n = 0; n < 2; n++) {
        const char *key = ids ? lists[n] : texts[n];
        const json_t *answer = get(l, key);
        const idx start = l->data->ids.count;
        mr_err inner = {0};
        if (prompt == NULL || answer == NULL)
            return mr_fail(err, MR_BAD, "expected \"prompt\", \"chosen\" and \"rejected\" (or "
                           "prompt_ids, chosen_ids and rejected_ids); \"%s\" is missing",
                           prompt == NULL ? "prompt" : key);
        if (!ids) mr_encode_pair(l->e, prompt, answer, l->data, &inner);
        else if (mr_encode_ids(l->e, prompt, NULL, false, l->data, &inner) == MR_OK)
            mr_encode_ids(l->e, answer, NULL, true, l->data, &inner);
        if (ids && inner.code == MR_OK)   /* the answer's first id is a target as well */
            l->data->scored.byte[start + (idx)json_array_size(prompt)] = 1;
        if (inner.code != MR_OK) return in_key(key, &inner, err);
        if (end_sequence(l, start, err)) return MR_BAD;
    }
    if (margin != NULL && !json_is_number(margin))
        return mr_fail(err, MR_BAD, "margin: expected a number, found %s", mr_json_kind(margin));
    l->example.margin = margin != NULL ? json_number_value(margin) : 0;
    return MR_OK;
}

/* rl: a prompt alone. */
static mr_status read_prompt(line *l, mr_err *err) {
    const idx start = l->data->ids.count;
    const json_t *ids = get(l, "prompt_ids"), *prompt = get(l, "prompt");
    mr_err inner = {0};
    if (ids == NULL && prompt == NULL) return mr_fail(err, MR_BAD, "\"prompt\" is missing");
    if (ids != NULL) mr_encode_ids(l->e, ids, NULL, false, l->data, &inner);
    else mr_encode_pair(l->e, prompt, NULL, l->data, &inner);
    return inner.code != MR_OK ? in_key("prompt", &inner, err) : end_sequence(l, start, err);
}

mr_status mr_train_data_add(mr_train_data *d, const mr_example *example, mr_err *err) {
    if (d->count == d->room) {
        const idx room = d->room == 0 ? 64 : 2 * d->room;
        mr_example *larger = mr_resize(d->example, room, sizeof *larger, err);
        if (larger == NULL) return MR_BAD;
        d->example = larger;
        d->room = room;
    }
    d->example[d->count++] = *example;
    return MR_OK;
}

/* One line; one that truncation left nothing of is counted and forgotten. */
static mr_status read_line(mr_train_data *d, mr_train_task task, const mr_encoder *e,
                           const json_t *object, mr_err *err) {
    const idx before = d->ids.count;
    line l = {.e = e, .data = d, .object = object, .prompts = task == MR_TRAIN_RL,
              .example = {.reference = {(double)NAN, (double)NAN}}};
    const mr_status status = task == MR_TRAIN_SFT  ? read_sft(&l, err)
                             : task == MR_TRAIN_RL ? read_prompt(&l, err)
                                                   : read_pair(&l, err);
    if (status != MR_OK) return status;
    if (!l.lost) return mr_train_data_add(d, &l.example, err);
    d->ids.count = d->scored.count = before;
    d->truncated -= l.prompts ? 1 : 0;
    d->dropped++;
    return MR_OK;
}

mr_status mr_train_data_read(mr_train_data *d, const char *path, mr_train_task task,
                             const mr_encoder *e, mr_err *err) {
    mr_jsonl lines;
    json_t *object = NULL;
    *d = (mr_train_data){.sequences = task == MR_TRAIN_REWARD || task == MR_TRAIN_DPO ? 2 : 1};
    if (mr_jsonl_open(&lines, path, err)) return MR_BAD;
    mr_status status;
    while ((status = mr_jsonl_next(&lines, &object, err)) == MR_OK && object != NULL) {
        mr_err inner = {0};
        status = read_line(d, task, e, object, &inner);
        json_decref(object);
        if (status != MR_OK) {
            mr_fail(err, status, "%s: line %td: %s", path, lines.line, inner.text);
            break;
        }
    }
    mr_jsonl_close(&lines);
    if (status == MR_OK && d->count == 0)
        status = mr_fail(err, MR_BAD, "%s: nothing to train on: %s", path, d->dropped > 0
                         ? "no example has room for anything to learn; raise --max-length"
                         : "the file has no lines");
    return status;
}

void mr_train_data_free(mr_train_data *d) {
    mr_ids_free(&d->ids);
    mr_text_free(&d->scored);
    mr_free(d->example);
    *d = (mr_train_data){0};
}

/* FNV-1a over ids, marks and places: a checkpoint belongs to one set of examples. */
static uint64_t fnv(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    while (bytes-- > 0) hash = (hash ^ *at++) * UINT64_C(1099511628211);
    return hash;
}

uint64_t mr_train_data_hash(const mr_train_data *d) {
    uint64_t hash = UINT64_C(14695981039346656037);
    hash = fnv(hash, d->ids.id, (size_t)d->ids.count * sizeof *d->ids.id);
    hash = fnv(hash, d->scored.byte, (size_t)d->scored.count);
    for (idx i = 0; i < d->count; i++) {
        hash = fnv(hash, d->example[i].start, sizeof d->example[i].start);
        hash = fnv(hash, &d->example[i].margin, sizeof d->example[i].margin);
    }
    return hash;
}

static int falling(const void *a, const void *b) {
    const idx x = *(const idx *)a, y = *(const idx *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

mr_status mr_train_data_longest(const mr_train_data *d, idx n, idx *sum, mr_err *err) {
    idx *all = mr_alloc(d->count, sizeof *all, err);
    if (all == NULL) return MR_BAD;
    for (idx i = 0; i < d->count; i++) all[i] = d->example[i].count[0] + d->example[i].count[1];
    qsort(all, (size_t)d->count, sizeof *all, falling);
    *sum = 0;
    for (idx i = 0; i < n; i++) *sum += all[i < d->count ? i : i % d->count];
    mr_free(all);
    return MR_OK;
}
