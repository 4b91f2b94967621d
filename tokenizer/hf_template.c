/* The post-processor: which tokens belong in front of and behind a text. Only BOS and EOS are
 * taken from it, since encoding adds no special tokens.
 *
 *     {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
 *      {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"ids": [1], ...}}} */
#include "tokenizer/hf_read.h"

typedef struct {
    mr_hf_string before, after; /* names of special tokens; bytes NULL: none */
    bool         inside;        /* the text itself has come by */
} template;

/* One item of "single". Two tokens in front would need two BOS: refused, not halved. */
static mr_status read_item(const mr_hf_reading *r, const mr_scan *in, template *t) {
    mr_scan special = {0}, sequence = {0};
    mr_hf_string name = {0};
    mr_hf_field field[] = {{"SpecialToken", MR_HF_A_VALUE, &special, false, false},
                           {"Sequence", MR_HF_A_VALUE, &sequence, false, false}};
    if (mr_hf_fields(r, *in, "post_processor.single", field, 2) != MR_OK) return MR_BAD;
    if (field[1].seen) t->inside = true;
    if (!field[0].seen) return MR_OK;
    mr_hf_field id[] = {{"id", MR_HF_A_STRING, &name, true, false}};
    if (mr_hf_fields(r, special, "post_processor.single", id, 1) != MR_OK) return MR_BAD;
    mr_hf_string *side = t->inside ? &t->after : &t->before;
    if (side->bytes != NULL)
        return mr_fail(r->err, MR_BAD, "%s: the post_processor puts more than one token %s a text, "
                       "expected at most one", r->path, t->inside ? "behind" : "in front of");
    *side = name;
    return MR_OK;
}

/* "special_tokens".NAME.ids, which must be one id. Looked up twice at most, so a walk will do. */
static mr_status find_id(const mr_hf_reading *r, mr_scan in, const mr_hf_string *name,
                         int32_t *id) {
    mr_span key;
    mr_scan ids = {0};
    mr_hf_field field[] = {{"ids", MR_HF_A_VALUE, &ids, true, false}};
    idx value = -1;
    if (name->bytes == NULL) return MR_OK;
    mr_scan_enter(&in, '{');
    while (in.problem == NULL && mr_scan_key(&in, &key) && !mr_hf_same(&key, name))
        mr_scan_skip(&in);
    if (in.problem != NULL) return mr_hf_problem(r, &in, "post_processor.special_tokens");
    if (in.at[-1] == ':') { /* the walk ended at a key, not at the end */
        if (mr_hf_fields(r, in, "post_processor.special_tokens", field, 1) != MR_OK) return MR_BAD;
        mr_scan_enter(&ids, '[');
        if (mr_scan_item(&ids)) mr_scan_integer(&ids, &value);
        if (mr_scan_item(&ids) || ids.problem != NULL) value = -1;
    }
    if (value < 0 || value >= MR_VOCAB_MAX)
        return mr_fail(r->err, MR_BAD, "%s: post_processor.special_tokens: expected one id for "
                       "\"%s\", which the template uses", r->path, mr_hf_show(name).text);
    *id = (int32_t)value;
    return MR_OK;
}

static mr_status read_template(const mr_hf_reading *r, const mr_scan *in) {
    mr_scan single, special;
    template t = {0};
    mr_hf_field field[] = {{"single", MR_HF_A_VALUE, &single, true, false},
                           {"special_tokens", MR_HF_A_VALUE, &special, true, false}};
    if (mr_hf_fields(r, *in, "post_processor", field, 2) != MR_OK) return MR_BAD;
    mr_scan_enter(&single, '[');
    while (single.problem == NULL && mr_scan_item(&single)) {
        mr_scan item = single;
        if (mr_scan_skip(&single) && read_item(r, &item, &t) != MR_OK) return MR_BAD;
    }
    if (single.problem != NULL) return mr_hf_problem(r, &single, "post_processor.single");
    if (find_id(r, special, &t.before, &r->hf->bos) != MR_OK) return MR_BAD;
    return find_id(r, special, &t.after, &r->hf->eos);
}

/* ByteLevel only trims offsets, which nobody asks for here. */
static mr_status read_processor(const mr_hf_reading *r, const mr_scan *in, int depth) {
    mr_hf_string type = {0};
    mr_scan list = {0};
    mr_hf_field field[] = {{"type", MR_HF_A_NAME, &type, true, false},
                           {"processors", MR_HF_A_VALUE, &list, false, false}};
    if (mr_hf_fields(r, *in, "post_processor", field, 2) != MR_OK) return MR_BAD;
    if (mr_hf_is(&type, "ByteLevel")) return MR_OK;
    if (mr_hf_is(&type, "TemplateProcessing")) return read_template(r, in);
    if (!mr_hf_is(&type, "Sequence") || !field[1].seen || depth == MR_HF_DEPTH)
        return mr_fail(r->err, MR_BAD, "%s: the post_processor \"%s\" is not supported; supported "
                       "are TemplateProcessing, ByteLevel, Sequence", r->path,
                       mr_hf_show(&type).text);
    mr_scan_enter(&list, '[');
    while (list.problem == NULL && mr_scan_item(&list)) {
        mr_scan child = list;
        if (mr_scan_skip(&list) && read_processor(r, &child, depth + 1) != MR_OK) return MR_BAD;
    }
    return list.problem == NULL ? MR_OK : mr_hf_problem(r, &list, "post_processor");
}

mr_status mr_hf_read_template(const mr_hf_reading *r, const mr_scan *in) {
    return read_processor(r, in, 0);
}
