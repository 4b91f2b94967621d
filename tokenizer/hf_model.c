/* The BPE model of the file: pieces, and which pairs of them merge to what, and when.
 *
 * Merges are looked up by the ids of the two pieces, in a table of its own: linear probing, at
 * most half full, like that of the vocabulary. Upstream: models/bpe/model.rs. */
#include <stdio.h>
#include <string.h>

#include "tokenizer/hf_read.h"

void mr_hf_model_close(mr_hf_model *model) {
    mr_vocab_close(&model->vocab);
    mr_free(model->merge);
    model->merge = NULL;
}

/* Entries of an object or list, counted before anything is allocated for them. */
static mr_status count_entries(const mr_hf_reading *r, mr_scan in, const char *what, char bracket,
                               idx most, idx *count) {
    mr_span key;
    *count = 0;
    mr_scan_enter(&in, bracket);
    while (in.problem == NULL && (bracket == '{' ? mr_scan_key(&in, &key) : mr_scan_item(&in)))
        if (mr_scan_skip(&in)) ++*count;
    if (in.problem != NULL) return mr_hf_problem(r, &in, what);
    if (*count > most)
        return mr_fail(r->err, MR_BAD, "%s: %s has %td entries, the limit is %td", r->path, what,
                       *count, most);
    return MR_OK;
}

static mr_status read_piece(const mr_hf_reading *r, const mr_span *key, idx id, mr_piece *piece) {
    mr_hf_string text;
    if (id < 0 || id >= MR_VOCAB_MAX)
        return mr_fail(r->err, MR_BAD, "%s: model.vocab: byte %td: an id is %td, expected 0 to %td",
                       r->path, key->bytes - r->hf->file, id, MR_VOCAB_MAX - 1);
    if (key->size > MR_PIECE_MAX)
        return mr_fail(r->err, MR_BAD, "%s: model.vocab: piece %td has %td bytes, the limit is %td",
                       r->path, id, key->size, MR_PIECE_MAX);
    if (mr_hf_text(r, key, &text) != MR_OK) return MR_BAD;
    *piece = (mr_piece){.bytes = text.bytes, .size = (int32_t)text.size, .order = (uint32_t)id,
                        .type = MR_PIECE_NORMAL};
    return MR_OK;
}

static mr_status read_vocab(const mr_hf_reading *r, mr_scan in) {
    mr_vocab *vocab = &r->hf->model.vocab;
    mr_span key;
    int32_t twins[2];
    idx count, at = 0, id = 0;
    if (count_entries(r, in, "model.vocab", '{', MR_VOCAB_MAX, &count) != MR_OK) return MR_BAD;
    if (mr_vocab_open(vocab, count, r->err) != MR_OK) return MR_BAD;
    mr_scan_enter(&in, '{');
    while (mr_scan_key(&in, &key) && mr_scan_integer(&in, &id))
        if (read_piece(r, &key, id, &vocab->piece[at++]) != MR_OK) return MR_BAD;
    if (in.problem != NULL) return mr_hf_problem(r, &in, "model.vocab");
    if (mr_vocab_index(vocab, twins) == MR_OK) return MR_OK;
    if (twins[0] == twins[1])
        return mr_fail(r->err, MR_BAD, "%s: model.vocab: piece %d collides with more than %d "
                       "others; this vocabulary was made to be slow", r->path,
                       (int)vocab->piece[twins[0]].order, MR_PROBE_MAX);
    return mr_fail(r->err, MR_BAD, "%s: model.vocab: ids %d and %d have the same piece; the "
                   "vocabulary is damaged", r->path, (int)vocab->piece[twins[0]].order,
                   (int)vocab->piece[twins[1]].order);
}

/* The slot of a pair, or the empty one where it would go; NULL when that is too far away. */
static mr_hf_merge *slot_of(const mr_hf_model *model, uint64_t pair) {
    uint64_t hash = pair * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t i = (uint32_t)(hash >> 32);
    for (int probes = 0; probes <= MR_PROBE_MAX; probes++, i++) {
        mr_hf_merge *slot = &model->merge[i & model->mask];
        if (slot->pair == pair || slot->pair == UINT64_MAX) return slot;
    }
    return NULL;
}

bool mr_hf_join(void *rule, const char *text, const mr_symbol *left, const mr_symbol *right,
                mr_join *join) {
    const mr_hf_model *model = rule;
    (void)text;
    const mr_hf_merge *slot = slot_of(model, (uint64_t)left->id << 32 | (uint32_t)right->id);
    if (slot == NULL || slot->pair == UINT64_MAX) return false;
    *join = (mr_join){.order = slot->rank, .id = slot->id};
    return true;
}

int32_t mr_hf_find(const mr_hf_model *model, const char *bytes, idx size) {
    int32_t at = mr_vocab_find(&model->vocab, bytes, size);
    return at < 0 ? -1 : (int32_t)model->vocab.piece[at].order;
}

/* Both pieces and what they make must be in the vocabulary. A pair that comes twice has the rank
 * of the second time, as in the library. `joined` holds as many bytes as the longest piece. */
static mr_status put_merge(const mr_hf_reading *r, const mr_hf_string *a, const mr_hf_string *b,
                           uint32_t rank, char *joined) {
    mr_hf_model *model = &r->hf->model;
    int32_t left = mr_hf_find(model, a->bytes, a->size), id = -1;
    int32_t right = mr_hf_find(model, b->bytes, b->size);
    if (left >= 0 && right >= 0 && a->size <= model->vocab.longest - b->size) {
        memcpy(joined, a->bytes, (size_t)a->size);
        memcpy(joined + a->size, b->bytes, (size_t)b->size);
        id = mr_hf_find(model, joined, a->size + b->size);
    }
    if (id < 0)
        return mr_fail(r->err, MR_BAD, "%s: model.merges: number %lu: %s not in the vocabulary",
                       r->path, (unsigned long)rank, left < 0 ? "its left piece is"
                       : right < 0 ? "its right piece is" : "what it makes is");
    uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
    mr_hf_merge *slot = slot_of(model, pair);
    if (slot == NULL)
        return mr_fail(r->err, MR_BAD, "%s: model.merges: number %lu collides with more than %d "
                       "others; this file was made to be slow", r->path, (unsigned long)rank,
                       MR_PROBE_MAX);
    *slot = (mr_hf_merge){.pair = pair, .rank = rank, .id = id};
    return MR_OK;
}

/* "a b": the older way to write a merge, with exactly one space. Lines that start with #version
 * come from merges.txt and count as nothing: then *b is left empty. */
static mr_status split_merge(const mr_hf_reading *r, idx number, mr_hf_string *a,
                             mr_hf_string *b) {
    const char *space = a->size > 0 ? memchr(a->bytes, ' ', (size_t)a->size) : NULL;
    *b = (mr_hf_string){0};
    if (a->size >= 8 && memcmp(a->bytes, "#version", 8) == 0) return MR_OK;
    if (space != NULL) {
        *b = (mr_hf_string){space + 1, a->bytes + a->size - space - 1};
        a->size = space - a->bytes;
    }
    if (space == NULL || memchr(b->bytes, ' ', (size_t)b->size) != NULL)
        return mr_fail(r->err, MR_BAD, "%s: model.merges: number %td: expected two pieces with one "
                       "space between them", r->path, number);
    return MR_OK;
}

/* One item of the list; *pairs says in which of the two ways the first one was written. */
static mr_status read_merge(const mr_hf_reading *r, mr_scan *in, idx number, bool pairs,
                            mr_hf_string *a, mr_hf_string *b) {
    mr_span left, right;
    if (!pairs) {
        if (!mr_scan_string(in, &left)) return mr_hf_problem(r, in, "model.merges");
        if (mr_hf_text(r, &left, a) != MR_OK) return MR_BAD;
        return split_merge(r, number, a, b);
    }
    bool two = mr_scan_enter(in, '[') && mr_scan_item(in) && mr_scan_string(in, &left)
               && mr_scan_item(in) && mr_scan_string(in, &right);
    if (two && mr_scan_item(in)) mr_scan_fail(in, "a merge has more than two pieces");
    if (!two) mr_scan_fail(in, "a merge has less than two pieces");
    if (in->problem != NULL) return mr_hf_problem(r, in, "model.merges");
    return mr_hf_text(r, &left, a) != MR_OK ? MR_BAD : mr_hf_text(r, &right, b);
}

static mr_status read_merge_list(const mr_hf_reading *r, mr_scan in, char *joined) {
    mr_hf_string a, b;
    uint32_t rank = 0; /* stays below MR_MERGES_MAX */
    bool pairs = false;
    mr_scan_enter(&in, '[');
    for (idx number = 0; mr_scan_item(&in); number++) {
        if (number == 0) pairs = mr_scan_peek(&in) == '[';
        if (read_merge(r, &in, number, pairs, &a, &b) != MR_OK) return MR_BAD;
        if (b.bytes == NULL) continue;
        if (put_merge(r, &a, &b, rank++, joined) != MR_OK) return MR_BAD;
    }
    return in.problem == NULL ? MR_OK : mr_hf_problem(r, &in, "model.merges");
}

static mr_status read_merges(const mr_hf_reading *r, mr_scan in) {
    mr_hf_model *model = &r->hf->model;
    idx count, slots = 2;
    if (count_entries(r, in, "model.merges", '[', MR_MERGES_MAX, &count) != MR_OK) return MR_BAD;
    while (slots < 2 * count) slots *= 2;
    model->merge = mr_alloc(slots, (idx)sizeof *model->merge, r->err);
    if (model->merge == NULL) return MR_BAD;
    model->mask = (uint32_t)(slots - 1);
    for (idx i = 0; i < slots; i++) model->merge[i].pair = UINT64_MAX;
    char *joined = mr_alloc(model->vocab.longest, 1, r->err);
    mr_status status = joined != NULL ? read_merge_list(r, in, joined) : MR_BAD;
    mr_free(joined);
    return status;
}

/* Options that change ids and that models of this family do not use. */
static mr_status check_options(const mr_hf_reading *r, const mr_scan *dropout,
                               const mr_hf_string *prefix, const mr_hf_string *suffix) {
    mr_scan in = *dropout;
    bool none = in.at == NULL; /* absent or null; zero means the same */
    if (!none && mr_scan_skip(&in)) {
        const char *at = dropout->at;
        while (at < in.at && (*at == '0' || *at == '.')) at++;
        none = at == in.at;
    }
    if (!none)
        return mr_fail(r->err, MR_BAD, "%s: model.dropout is set, expected null: ids would be "
                       "random", r->path);
    if (prefix->size > 0 || suffix->size > 0)
        return mr_fail(r->err, MR_BAD, "%s: model.%s is not supported, expected null", r->path,
                       prefix->size > 0 ? "continuing_subword_prefix" : "end_of_word_suffix");
    return MR_OK;
}

static void note_bytes(mr_hf_model *model) {
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        model->byte_id[i] = mr_hf_find(model, name, 6);
    }
}

mr_status mr_hf_read_model(const mr_hf_reading *r, const mr_scan *in) {
    mr_hf_model *model = &r->hf->model;
    mr_scan vocab, merges, dropout = {0};
    mr_hf_string type = {0}, unk = {0}, prefix = {0}, suffix = {0};
    mr_hf_field field[] = {
        {"type", MR_HF_A_NAME, &type, true, false},
        {"vocab", MR_HF_A_VALUE, &vocab, true, false},
        {"merges", MR_HF_A_VALUE, &merges, true, false},
        {"dropout", MR_HF_A_VALUE, &dropout, false, false},
        {"unk_token", MR_HF_A_STRING, &unk, false, false},
        {"continuing_subword_prefix", MR_HF_A_STRING, &prefix, false, false},
        {"end_of_word_suffix", MR_HF_A_STRING, &suffix, false, false},
        {"fuse_unk", MR_HF_A_FLAG, &model->fuse_unk, false, false},
        {"byte_fallback", MR_HF_A_FLAG, &model->byte_fallback, false, false},
        {"ignore_merges", MR_HF_A_FLAG, &model->ignore_merges, false, false},
    };
    if (mr_hf_fields(r, *in, "model", field, (int)(sizeof field / sizeof field[0])) != MR_OK)
        return MR_BAD;
    if (!mr_hf_is(&type, "BPE"))
        return mr_fail(r->err, MR_BAD, "%s: the model \"%s\" is not supported, expected \"BPE\"",
                       r->path, mr_hf_show(&type).text);
    if (check_options(r, &dropout, &prefix, &suffix) != MR_OK) return MR_BAD;
    if (read_vocab(r, vocab) != MR_OK || read_merges(r, merges) != MR_OK) return MR_BAD;
    /* A missing unknown piece only matters once it is needed: then encoding fails. */
    model->unk = unk.bytes == NULL ? -1 : mr_hf_find(model, unk.bytes, unk.size);
    if (unk.bytes != NULL && model->unk < 0) model->unk = -2;
    note_bytes(model);
    return MR_OK;
}
