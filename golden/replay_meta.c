/* Reading `meta`: tokens, positions and conventions of a recorded run. */
#include "golden/replay_meta.h"

#include <stdio.h>
#include <string.h>

#include "weights/header.h"
#include "weights/json.h"

static mr_status missing(const char *source, const char *what, mr_err *err) {
    return mr_fail(err, MR_BAD, "%s: meta: expected %s; record the trace again", source, what);
}

/* *out = index of the string at `key` among words, which end with NULL. */
static mr_status word(const json_t *meta, const char *source, const char *key,
                      const char *const *words, int *out, mr_err *err) {
    const char *text = json_string_value(json_object_get(meta, key));
    for (int n = 0; text != NULL && words[n] != NULL; n++)
        if (strcmp(text, words[n]) == 0) {
            *out = n;
            return MR_OK;
        }
    return mr_fail(err, MR_BAD, "%s: meta: %s is %s%.60s%s; record the trace again", source, key,
                   text ? "\"" : "", text ? text : "absent", text ? "\", which is not known" : "");
}

static mr_status read_words(const json_t *json, const char *source, mr_meta *m, mr_err *err) {
    static const char *const precisions[] = {"f64", "f32", "bf16", "f16", NULL},
                             *const conventions[] = {"native", "hf", NULL};
    static const char *const angles[] = {"f32", "exact", NULL}, *const layouts[] = {"interleaved",
                                                                                    "half", NULL};
    int precision = 0, convention = 0, angle = 0, layout = 0;
    if (word(json, source, "precision", precisions, &precision, err) ||
        word(json, source, "convention", conventions, &convention, err) ||
        word(json, source, "rope_angles", angles, &angle, err) ||
        word(json, source, "rope_layout", layouts, &layout, err)) return MR_BAD;
    m->precision = (mr_trace_precision)precision;
    m->convention = (mr_convention)convention;
    m->rope_angles = (mr_rope_angles)angle;
    m->rope_layout = (mr_rope_layout)layout;
    return MR_OK;
}

static mr_status read_tokens(const json_t *json, const char *source, mr_meta *m, mr_err *err) {
    const json_t *lists = json_object_get(json, "tokens"),
                 *firsts = json_object_get(json, "first_position");
    m->n_seqs = (idx)json_array_size(lists);
    if (m->n_seqs == 0) return missing(source, "\"tokens\", a list of lists of ids", err);
    if ((idx)json_array_size(firsts) != m->n_seqs)
        return missing(source, "\"first_position\", one number per sequence", err);
    for (idx b = 0; b < m->n_seqs; b++)
        m->count += (idx)json_array_size(json_array_get(lists, (size_t)b));
    m->length = mr_alloc(m->n_seqs, sizeof *m->length, err);
    m->first = mr_alloc(m->n_seqs, sizeof *m->first, err);
    m->tokens = mr_alloc(m->count, sizeof *m->tokens, err);
    if (m->length == NULL || m->first == NULL || m->tokens == NULL) return MR_BAD;
    for (idx b = 0, t = 0; b < m->n_seqs; b++) {
        const json_t *list = json_array_get(lists, (size_t)b),
                     *first = json_array_get(firsts, (size_t)b);
        m->length[b] = (idx)json_array_size(list);
        m->first[b] = json_integer_value(first);
        if (!json_is_array(list)) return missing(source, "\"tokens\", a list of lists of ids", err);
        if (!json_is_integer(first) || m->first[b] < 0 || m->first[b] > INT32_MAX - m->length[b])
            return missing(source, "\"first_position\" of 0 to 2^31-1", err);
        for (idx a = 0; a < m->length[b]; a++, t++) {
            const json_t *id = json_array_get(list, (size_t)a);
            m->tokens[t] = (int32_t)json_integer_value(id);
            if (!json_is_integer(id) || m->tokens[t] != json_integer_value(id))
                return missing(source, "\"tokens\", ids of 32 bits", err);
        }
    }
    return MR_OK;
}

/* How the run was divided into calls. Only hypotheses look at it, so it may be absent. */
static void read_calls(const json_t *json, mr_meta *m) {
    static const char *const batches[] = {"alone", "right", "left", "packed"};
    const char *batch = json_string_value(json_object_get(json, "layout"));
    for (int i = 0; batch != NULL && i < 4; i++)
        if (strcmp(batch, batches[i]) == 0) m->batch = (mr_batch)i;
    const json_int_t chunk = json_integer_value(json_object_get(json, "chunk")),
                     decode = json_integer_value(json_object_get(json, "decode"));
    const char *inside = json_string_value(json_object_get(json, "inside"));
    m->wide_inside = inside != NULL && strcmp(inside, "f32") == 0;
    m->chunk = chunk > 0 && chunk < INT32_MAX ? (idx)chunk : 0;
    m->decode = decode > 0 && decode < INT32_MAX ? (idx)decode : 0;
}

/* The loss whose gradient was recorded. */
static void read_losses(const json_t *json, mr_meta *m) {
    const json_t *losses = json_object_get(json, "router_losses");
    m->router = (mr_router_losses){
        .balance = json_number_value(json_object_get(losses, "balance")),
        .pooled = json_number_value(json_object_get(losses, "pooled")),
        .z = json_number_value(json_object_get(losses, "z")),
        .importance = json_number_value(json_object_get(losses, "importance"))};
}

static void read_gaps(const json_t *json, mr_meta *m) {
    const char *layer;
    json_t *gaps, *gap;
    size_t at;
    m->smallest_gap = -1;
    json_object_foreach(json_object_get(json, "router_gaps"), layer, gaps) json_array_foreach(
        gaps, at, gap) if (m->smallest_gap < 0 || json_number_value(gap) < m->smallest_gap)
        m->smallest_gap = json_number_value(gap);
}

mr_status mr_meta_read(const char *source, const char *text, mr_meta *out, mr_err *err) {
    json_t *json = NULL;
    memset(out, 0, sizeof *out);
    if (*text == '\0')
        return mr_fail(err, MR_BAD,
                       "%s: has no meta, so what was run is not known; record it again", source);
    char label[512];
    snprintf(label, sizeof label, "%s: tensor meta", source);
    if (mr_json_text(label, text, (idx)strlen(text), &json, err)) return MR_BAD;
    const mr_status status =
        read_words(json, source, out, err) || read_tokens(json, source, out, err) ||
        mr_meta_read_rows(source, json, out, err) ? MR_BAD : MR_OK;
    read_gaps(json, out);
    read_calls(json, out);
    read_losses(json, out);
    json_decref(json);
    if (status != MR_OK) mr_meta_free(out);
    return status;
}

void mr_meta_free(mr_meta *m) {
    mr_free(m->length);
    mr_free(m->first);
    mr_free(m->tokens);
    mr_meta_free_rows(m);
    memset(m, 0, sizeof *m);
}
