/* The kind "tokenizer.json": opening a file of Hugging Face's `tokenizers`, and its table. */
#include "tokenizer/hf.h"

#include <string.h>

#include "tokenizer/hf_read.h"
#include "tokenizer/kind.h"
#include "tokenizer/pretoken.h"

/* Also the way out of a failed open: everything not yet opened is still zero. */
static void hf_close(void *model) {
    mr_hf *hf = model;
    mr_hf_model_close(&hf->model);
    mr_hf_added_close(&hf->added);
    mr_free(hf->name);
    mr_free(hf->classes);
    mr_free(hf->file);
    mr_free(hf);
}

/* The parts of the outermost object. Those that are absent or null have at == NULL. */
typedef struct {
    mr_scan added, normalizer, pretokenizer, template, decoder, model;
} parts;

static mr_status find_parts(const mr_hf_reading *r, idx size, parts *p) {
    mr_hf_string version = {0};
    mr_scan in = mr_scan_open(r->hf->file, size);
    mr_hf_field field[] = {
        {"version", MR_HF_A_NAME, &version, false, false},
        {"added_tokens", MR_HF_A_VALUE, &p->added, false, false},
        {"normalizer", MR_HF_A_VALUE, &p->normalizer, false, false},
        {"pre_tokenizer", MR_HF_A_VALUE, &p->pretokenizer, false, false},
        {"post_processor", MR_HF_A_VALUE, &p->template, false, false},
        {"decoder", MR_HF_A_VALUE, &p->decoder, false, false},
        {"model", MR_HF_A_VALUE, &p->model, true, false},
    };
    int count = (int)(sizeof field / sizeof field[0]);
    if (mr_hf_fields(r, in, "the file", field, count) != MR_OK) return MR_BAD;
    if (version.bytes == NULL || mr_hf_is(&version, "1.0")) return MR_OK;
    return mr_fail(r->err, MR_BAD, "%s: version \"%s\" is not supported, expected \"1.0\"", r->path,
                   mr_hf_show(&version).text);
}

/* Names by id: the pieces of the model, then the added tokens, which may be pieces as well. */
static mr_status name_pieces(const mr_hf_reading *r) {
    mr_hf *hf = r->hf;
    const mr_vocab *vocab = &hf->model.vocab;
    for (idx i = 0; i < vocab->count; i++)
        if ((idx)vocab->piece[i].order >= hf->ids) hf->ids = (idx)vocab->piece[i].order + 1;
    for (idx i = 0; i < hf->added.count; i++)
        if (hf->added.token[i].id >= hf->ids) hf->ids = (idx)hf->added.token[i].id + 1;
    hf->name = mr_alloc(hf->ids, (idx)sizeof *hf->name, r->err);
    if (hf->name == NULL) return MR_BAD;
    for (idx i = 0; i < vocab->count; i++) {
        const mr_piece *piece = &vocab->piece[i];
        mr_hf_name *name = &hf->name[piece->order];
        if (name->bytes != NULL)
            return mr_fail(r->err, MR_BAD, "%s: model.vocab: two pieces have the id %lu; the "
                           "vocabulary is damaged", r->path, (unsigned long)piece->order);
        *name = (mr_hf_name){piece->bytes, piece->size, false};
    }
    return MR_OK;
}

/* A token that normalizing changes is decoded in its changed form; and it is that form which
 * decides whether a token is left out for being special. */
static mr_status name_added(const mr_hf_reading *r) {
    const mr_hf_added *added = &r->hf->added;
    for (idx i = 0; i < added->count; i++) {
        const mr_hf_token *token = &added->token[i];
        mr_hf_name *name = &r->hf->name[token->id];
        const mr_piece *form = token->normalized ? &added->normal.piece[i] : &added->raw.piece[i];
        int32_t same = mr_vocab_find(&added->raw, form->bytes, form->size);
        if (name->bytes != NULL
            && mr_hf_find(&r->hf->model, token->content.bytes, token->content.size) != token->id)
            return mr_fail(r->err, MR_BAD, "%s: added token \"%s\" has the id %d of a piece; the "
                           "vocabulary has gaps or is damaged", r->path,
                           mr_hf_show(&token->content).text, (int)token->id);
        *name = (mr_hf_name){form->bytes, form->size, same >= 0 && added->token[same].special};
    }
    return MR_OK;
}

static int32_t hf_control(const void *model, const char *text) {
    const mr_hf_added *added = &((const mr_hf *)model)->added;
    int32_t at = mr_vocab_find(&added->raw, text, (idx)strlen(text));
    return at >= 0 && added->token[at].special ? added->token[at].id : -1;
}

/* BOS and EOS come from the template; where it has no EOS, it is the token of that name. The
 * version decides nothing here; it is what the control tokens suggest. */
static mr_status conclude(const mr_hf_reading *r) {
    mr_hf *hf = r->hf;
    if (hf->bos >= hf->ids || hf->eos >= hf->ids)
        return mr_fail(r->err, MR_BAD, "%s: the post_processor uses id %d, but there are %td ids",
                       r->path, (int)(hf->bos >= hf->ids ? hf->bos : hf->eos), hf->ids);
    if (hf->eos < 0) hf->eos = hf_control(hf, "</s>");
    hf->version = hf_control(hf, "[SYSTEM_PROMPT]") >= 0 ? "v7"
                : hf_control(hf, "[INST]") >= 0 ? "v3" : "v1";
    return MR_OK;
}

/* What is small and says whether we can do this at all comes before the large lists. */
static mr_status read_parts(const mr_hf_reading *r, idx size) {
    parts p = {0};
    if (find_parts(r, size, &p) != MR_OK) return MR_BAD;
    r->hf->spaced = p.decoder.at == NULL;
    if (p.normalizer.at != NULL && mr_hf_read_normalizer(r, &p.normalizer) != MR_OK) return MR_BAD;
    if (p.pretokenizer.at != NULL && mr_hf_read_pretokenizer(r, &p.pretokenizer) != MR_OK)
        return MR_BAD;
    if (p.decoder.at != NULL && mr_hf_read_decoder(r, &p.decoder) != MR_OK) return MR_BAD;
    r->hf->flow = mr_hf_flow_of(r->hf);
    if (p.template.at != NULL && mr_hf_read_template(r, &p.template) != MR_OK) return MR_BAD;
    if (mr_hf_read_model(r, &p.model) != MR_OK) return MR_BAD;
    if (mr_hf_read_added(r, &p.added) != MR_OK) return MR_BAD;
    if (name_pieces(r) != MR_OK || name_added(r) != MR_OK) return MR_BAD;
    return conclude(r);
}

static mr_status hf_open(const char *path, char *bytes, idx size, void **model, mr_err *err) {
    mr_hf *hf = mr_alloc(1, (idx)sizeof *hf, err);
    if (hf == NULL) { /* the bytes are ours even so */
        mr_free(bytes);
        return MR_BAD;
    }
    hf->file = bytes;
    hf->bos = hf->eos = -1;
    mr_hf_reading r = {.path = path, .hf = hf, .err = err};
    mr_status status = read_parts(&r, size);
    if (status == MR_OK && (hf->classes = mr_pretoken_classes(err)) == NULL) status = MR_BAD;
    if (status == MR_OK) *model = hf;
    else hf_close(hf);
    return status;
}

/* The outermost object has keys that only this kind of file has, the first of them early. */
static bool hf_recognise(const char *bytes, idx size) {
    static const char *const ours[] = {"truncation", "padding", "added_tokens", "normalizer",
                                       "pre_tokenizer", "post_processor", "decoder", "model"};
    mr_scan in = mr_scan_open(bytes, size);
    mr_span key;
    if (mr_scan_peek(&in) != '{') return false;
    mr_scan_enter(&in, '{');
    while (in.problem == NULL && mr_scan_key(&in, &key)) {
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
            if (mr_span_is(&key, ours[i])) return true;
        mr_scan_skip(&in);
    }
    return false;
}

static idx hf_size(const void *model) { return ((const mr_hf *)model)->ids; }

static int32_t hf_bos(const void *model) { return ((const mr_hf *)model)->bos; }

static int32_t hf_eos(const void *model) { return ((const mr_hf *)model)->eos; }

static const char *hf_version(const void *model) { return ((const mr_hf *)model)->version; }

static const char *hf_unicode(const void *model) {
    (void)model;
    return MR_UNICODE_VERSION;
}

/* An id that no token has is an empty piece. */
static const char *hf_piece(const void *model, int32_t id, idx *bytes) {
    const mr_hf_name *name = &((const mr_hf *)model)->name[id];
    *bytes = name->size;
    return name->bytes != NULL ? name->bytes : "";
}

const mr_tokenizer_type mr_kind_hf = {
    .name = "tokenizer.json", .recognise = hf_recognise, .open = hf_open, .close = hf_close,
    .size = hf_size, .bos = hf_bos, .eos = hf_eos, .version = hf_version, .unicode = hf_unicode,
    .control = hf_control, .piece = hf_piece, .encode = mr_hf_encode, .stream = mr_hf_stream,
    .stream_end = mr_hf_stream_end, .decode = mr_hf_decode,
};
