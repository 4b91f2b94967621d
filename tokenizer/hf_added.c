/* Added tokens: read from the file, and found in texts, leftmost and longest first.
 *
 * Those that are not "normalized" are looked for in the text as it is, the others afterwards, in
 * what the normalizers make of the rest, and there they are what the normalizers make of them.
 * Upstream: tokenizer/added_vocabulary.rs. */
#include <string.h>

#include "tokenizer/hf_read.h"
#include "tokenizer/hf_unicode.h"
#include "tokenizer/lists.h"

void mr_hf_added_close(mr_hf_added *added) {
    mr_free(added->token);
    mr_text_free(&added->forms);
    mr_vocab_close(&added->raw);
    mr_vocab_close(&added->normal);
    mr_matcher_close(&added->raw_matcher);
    mr_matcher_close(&added->normal_matcher);
}

/* Ids are not free to choose: a token that is a piece has the id of the piece, others are numbered
 * from the end of the vocabulary. The library ignores what the file says and does that; a file
 * that says something else would mean different ids to different readers. */
static mr_status check_id(const mr_hf_reading *r, const mr_hf_token *token, idx stated, idx *next) {
    int32_t id = mr_hf_find(&r->hf->model, token->content.bytes, token->content.size);
    idx wanted = id >= 0 ? id : (*next)++;
    if (stated != wanted || wanted >= MR_VOCAB_MAX)
        return mr_fail(r->err, MR_BAD, "%s: added token \"%s\" has id %td, expected %td: that of "
                       "the same piece, or the next after the vocabulary", r->path,
                       mr_hf_show(&token->content).text, stated, wanted);
    return MR_OK;
}

static mr_status read_token(const mr_hf_reading *r, const mr_scan *in, idx *next,
                            mr_hf_token *token) {
    idx id = 0;
    mr_hf_field field[] = {{"id", MR_HF_A_NUMBER, &id, true, false},
                           {"content", MR_HF_A_STRING, &token->content, true, false},
                           {"special", MR_HF_A_FLAG, &token->special, true, false},
                           {"lstrip", MR_HF_A_FLAG, &token->lstrip, true, false},
                           {"rstrip", MR_HF_A_FLAG, &token->rstrip, true, false},
                           {"single_word", MR_HF_A_FLAG, &token->single_word, true, false},
                           {"normalized", MR_HF_A_FLAG, &token->normalized, true, false}};
    if (mr_hf_fields(r, *in, "added_tokens", field, 7) != MR_OK) return MR_BAD;
    if (token->content.size > MR_PIECE_MAX)
        return mr_fail(r->err, MR_BAD, "%s: an added token has %td bytes, the limit is %td",
                       r->path, token->content.size, MR_PIECE_MAX);
    if (token->content.size == 0) return MR_OK; /* ignored */
    token->form_start = -1;
    token->id = (int32_t)id; /* checked to be in range next */
    return check_id(r, token, id, next);
}

/* What a token looks like after normalizing, if that makes a difference. */
static mr_status note_form(const mr_hf_reading *r, mr_hf_token *token) {
    mr_hf_added *added = &r->hf->added;
    mr_text text = {0};
    idx first = 0;
    if (!token->normalized || r->hf->normalizer.count == 0) return MR_OK;
    mr_status status = mr_text_append(&text, token->content.bytes, token->content.size, r->err);
    if (status == MR_OK) status = mr_hf_normalize(&r->hf->normalizer, &text, &first, r->err);
    bool same = text.count == token->content.size
                && memcmp(text.byte, token->content.bytes, (size_t)text.count) == 0;
    if (status == MR_OK && (text.count == 0 || text.count > MR_PIECE_MAX))
        status = mr_fail(r->err, MR_BAD, "%s: added token \"%s\" becomes %td bytes long when "
                         "normalized, expected 1 to %td; set its \"normalized\" to false", r->path,
                         mr_hf_show(&token->content).text, text.count, MR_PIECE_MAX);
    if (status == MR_OK && !same) {
        token->form_start = added->forms.count;
        token->form_size = text.count;
        status = mr_text_append(&added->forms, text.byte, text.count, r->err);
    }
    mr_text_free(&text);
    return status;
}

/* The matcher takes the pieces of type USER_DEFINED from a vocabulary. */
static void fill(mr_hf_added *added) {
    for (idx i = 0; i < added->count; i++) {
        const mr_hf_token *t = &added->token[i];
        mr_piece piece = {.bytes = t->content.bytes, .size = (int32_t)t->content.size,
                          .type = t->normalized ? MR_PIECE_NORMAL : MR_PIECE_USER_DEFINED};
        added->raw.piece[i] = piece;
        if (t->form_start >= 0) {
            piece.bytes = added->forms.byte + t->form_start;
            piece.size = (int32_t)t->form_size;
        }
        piece.type = t->normalized ? MR_PIECE_USER_DEFINED : MR_PIECE_NORMAL;
        added->normal.piece[i] = piece;
    }
}

/* Keys are sorted, so equal ones are neighbours. */
static mr_status check_keys(const mr_hf_reading *r, const mr_matcher *matcher) {
    for (idx i = 1; i < matcher->count; i++) {
        const mr_match_key *a = &matcher->key[i - 1], *b = &matcher->key[i];
        if (a->size == b->size && memcmp(a->bytes, b->bytes, (size_t)a->size) == 0)
            return mr_fail(r->err, MR_BAD, "%s: two added tokens look the same, number %d and "
                           "number %d, at least when normalized; remove one", r->path, (int)a->id,
                           (int)b->id);
    }
    return MR_OK;
}

static mr_status open_matchers(const mr_hf_reading *r) {
    mr_hf_added *added = &r->hf->added;
    int32_t twins[2];
    if (mr_vocab_open(&added->raw, added->count, r->err) != MR_OK) return MR_BAD;
    if (mr_vocab_open(&added->normal, added->count, r->err) != MR_OK) return MR_BAD;
    fill(added);
    if (mr_vocab_index(&added->raw, twins) != MR_OK)
        return mr_fail(r->err, MR_BAD, "%s: added tokens number %d and %d have the same content; "
                       "remove one", r->path, (int)twins[0], (int)twins[1]);
    if (mr_matcher_open(&added->raw_matcher, &added->raw, r->err) != MR_OK) return MR_BAD;
    if (mr_matcher_open(&added->normal_matcher, &added->normal, r->err) != MR_OK) return MR_BAD;
    if (check_keys(r, &added->raw_matcher) != MR_OK) return MR_BAD;
    return check_keys(r, &added->normal_matcher);
}

mr_status mr_hf_read_added(const mr_hf_reading *r, const mr_scan *list) {
    mr_hf_added *added = &r->hf->added;
    mr_scan in = *list, again = *list;
    idx count = 0, next = r->hf->model.vocab.count;
    if (list->at == NULL) return open_matchers(r); /* there are none */
    mr_scan_enter(&in, '[');
    while (in.problem == NULL && mr_scan_item(&in))
        if (mr_scan_skip(&in)) count++;
    if (in.problem != NULL) return mr_hf_problem(r, &in, "added_tokens");
    if (count > MR_VOCAB_MAX)
        return mr_fail(r->err, MR_BAD, "%s: added_tokens has %td entries, the limit is %td",
                       r->path, count, MR_VOCAB_MAX);
    added->token = mr_alloc(count, (idx)sizeof *added->token, r->err);
    if (added->token == NULL) return MR_BAD;
    mr_scan_enter(&again, '[');
    while (mr_scan_item(&again)) {
        mr_scan item = again;
        mr_hf_token *token = &added->token[added->count];
        *token = (mr_hf_token){0};
        mr_scan_skip(&again);
        if (read_token(r, &item, &next, token) != MR_OK) return MR_BAD;
        if (token->content.size == 0) continue;
        if (note_form(r, token) != MR_OK) return MR_BAD;
        added->count++;
    }
    return open_matchers(r);
}

/* Whether a character of \w stands on either side of text[from..to): then it is part of a word. */
static bool inside_word(const mr_hf_cut *c, idx from, idx to) {
    const uint8_t *classes = c->hf->classes;
    idx size;
    if (from > 0) {
        const char *before = c->text + from - mr_hf_step_back(c->text + from);
        if (mr_hf_is_word(classes, mr_hf_code(before, &size))) return true;
    }
    return to < c->bytes && mr_hf_is_word(classes, mr_hf_code(c->text + to, &size));
}

/* The start of the White_Space before `at`, but not before what is already given out. */
static idx strip_left(const mr_hf_cut *c, idx at) {
    idx size;
    while (at > c->done) {
        idx before = at - mr_hf_step_back(c->text + at);
        if (!mr_hf_is_blank(mr_hf_code(c->text + before, &size))) break;
        at = before;
    }
    return at > c->done ? at : c->done;
}

/* The end of the White_Space after `at`. A run is walked once, even if every blank of it is an
 * added token with rstrip. */
static idx strip_right(mr_hf_cut *c, idx at) {
    idx size, from = at;
    if (at >= c->blanks_from && at < c->blanks_to) return c->blanks_to;
    while (at < c->bytes && mr_hf_is_blank(mr_hf_code(c->text + at, &size))) at += size;
    c->blanks_from = from;
    c->blanks_to = at;
    return at;
}

bool mr_hf_cut_next(mr_hf_cut *c, idx *start, idx *size, idx *index) {
    const mr_hf_added *added = &c->hf->added;
    const mr_matcher *matcher = c->normal ? &added->normal_matcher : &added->raw_matcher;
    idx from = c->bytes, to = c->bytes;
    *index = -1;
    while (matcher->count > 0 && c->at < c->bytes && *index < 0) {
        int32_t key;
        idx found = mr_matcher_longest(matcher, c->text + c->at, c->bytes - c->at, &key);
        from = c->at;
        c->at += found > 0 ? found : 1;
        if (found == 0) continue;
        const mr_hf_token *token = &added->token[key];
        to = from + found;
        /* One inside a word is passed over, and so are others that begin inside of it. */
        if (token->single_word && inside_word(c, from, to)) continue;
        if (token->lstrip) from = strip_left(c, from);
        if (token->rstrip) to = strip_right(c, to);
        if (from < to) *index = key; /* else an earlier rstrip has taken all of it */
    }
    if (*index < 0) from = to = c->bytes;
    *start = c->done;
    *size = from > c->done ? from - c->done : 0; /* an earlier rstrip may have gone further */
    c->done = to;
    return *index >= 0;
}
