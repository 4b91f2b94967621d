/* Reading a tekken.json: 150,000 entries of JSON, of which the first 130,072 are used.
 *
 *   config         pattern  default_vocab_size  default_num_special_tokens  version
 *   vocab          [{rank, token_bytes (base64), ...}, ...], the rank being the position
 *   special_tokens [{rank, token_str, ...}, ...] or absent: tekken_special.c
 *
 * The keys may come in any order, so the file is walked over twice: once to check its syntax and
 * to note where each section is, once to read them. Sections that do not concern text (image,
 * audio) are passed over. What is required here is what mistral-common requires.
 *
 * The decoded bytes of the tokens are written over the section they were read from: they are
 * shorter than what they came from. From there they are copied, once their total size is known. */
#include <string.h>

#include "tokenizer/base64.h"
#include "tokenizer/pretoken.h"
#include "tokenizer/tekken_parts.h"

static const char *const section_names[MR_TEKKEN_SECTIONS] = {
    "config", "vocab", "special_tokens", "multimodal", "model_settings_builder",
};

/* The versions there are, in order: which sections a file may have depends on them. */
static const char *const version_names[] = {"v1", "v2", "v3", "v7", "v11", "v13", "v15"};
static const int         version_numbers[] = {1, 2, 3, 7, 11, 13, 15};
enum { VERSIONS = sizeof version_names / sizeof version_names[0] };

mr_status mr_tekken_malformed(const mr_tekken_reading *r, const mr_scan *in) {
    return mr_fail(r->err, MR_BAD, "%s: not a tekken.json: byte %td: %s; the file is damaged or "
                   "incomplete, fetch it again", r->path, in->at - in->start, in->problem);
}

bool mr_tekken_recognise(const char *bytes, idx size) {
    mr_scan in = mr_scan_open(bytes, size);
    mr_span key;
    if (mr_scan_peek(&in) != '{') return false;
    mr_scan_enter(&in, '{');
    while (mr_scan_key(&in, &key)) {
        char value = mr_scan_peek(&in);
        if (mr_span_is(&key, "config")) return value == '{';
        if (mr_span_is(&key, "vocab")) return value == '[';
        if (mr_span_is(&key, "model") || !mr_scan_skip(&in)) return false;
    }
    return false;
}

/* The first walk. A section that is null counts as absent, as it does to Python's dict.get. */
static mr_status outline(mr_tekken_reading *r) {
    mr_scan in = r->file;
    mr_span key;
    mr_scan_enter(&in, '{');
    while (mr_scan_key(&in, &key)) {
        int which = 0;
        while (which < MR_TEKKEN_SECTIONS && !mr_span_is(&key, section_names[which])) which++;
        bool absent = mr_scan_peek(&in) == 'n';
        const char *from = in.at;
        if (!mr_scan_skip(&in)) break;
        if (which == MR_TEKKEN_SECTIONS || absent) continue;
        if (r->section[which].from != NULL)
            return mr_fail(r->err, MR_BAD, "%s: has \"%s\" twice; the file is damaged", r->path,
                           section_names[which]);
        r->section[which].from = from;
        r->section[which].to = in.at;
    }
    if (!mr_scan_finish(&in)) return mr_tekken_malformed(r, &in);
    for (int which = MR_TEKKEN_CONFIG; which <= MR_TEKKEN_VOCAB; which++)
        if (r->section[which].from == NULL)
            return mr_fail(r->err, MR_BAD, "%s: expected a tekken.json with \"%s\", found none",
                           r->path, section_names[which]);
    return MR_OK;
}

/* One setting of the config. Settings that are not used are not looked at. */
static mr_status read_setting(mr_tekken_reading *r, mr_scan *in, const mr_span *key) {
    static const char *const names[] = {"pattern", "version", "default_vocab_size",
                                        "default_num_special_tokens"};
    int which = 0;
    mr_span text;
    while (which < 4 && !mr_span_is(key, names[which])) which++;
    if (which == 4) return mr_scan_skip(in) ? MR_OK : MR_BAD;
    if (r->seen >> which & 1)
        return mr_fail(r->err, MR_BAD, "%s: config has \"%s\" twice; the file is damaged", r->path,
                       names[which]);
    r->seen |= 1u << which;
    if (which == 2) return mr_scan_integer(in, &r->size) ? MR_OK : MR_BAD;
    if (which == 3) return mr_scan_integer(in, &r->special) ? MR_OK : MR_BAD;
    if (!mr_scan_string(in, &text)) return MR_BAD;
    if (which == 0 && !mr_span_is(&text, MR_TEKKEN_PATTERN))
        return mr_fail(r->err, MR_BAD, "%s: config.pattern is not the split pattern of Mistral's "
                       "Tekken models, the only one that is implemented", r->path);
    if (which == 1) {
        for (int i = 0; i < VERSIONS; i++)
            if (mr_span_is(&text, version_names[i])) {
                r->tekken->version = version_names[i];
                r->version = version_numbers[i];
            }
        if (r->version == 0)
            return mr_fail(r->err, MR_BAD, "%s: config.version is \"%.*s\", expected v1, v2, v3, "
                           "v7, v11, v13 or v15", r->path, text.size < 20 ? (int)text.size : 20,
                           text.bytes);
    }
    return MR_OK;
}

static mr_status read_config(mr_tekken_reading *r) {
    mr_scan in = mr_tekken_section(r, MR_TEKKEN_CONFIG);
    mr_span key;
    mr_status status = MR_OK;
    mr_scan_enter(&in, '{');
    while (status == MR_OK && mr_scan_key(&in, &key)) status = read_setting(r, &in, &key);
    if (in.problem != NULL) return mr_tekken_malformed(r, &in);
    if (status != MR_OK) return status;
    if (r->seen != 15)
        return mr_fail(r->err, MR_BAD, "%s: config must have pattern, version, default_vocab_size "
                       "and default_num_special_tokens; at least one is missing", r->path);

    /* All 256 bytes must be there, or some text could not be written at all. */
    if (r->special < 0 || r->size < 256 || r->size > MR_VOCAB_MAX || r->size - 256 < r->special)
        return mr_fail(r->err, MR_BAD, "%s: default_vocab_size is %td with %td special tokens, "
                       "expected at most %td and at least 256 others", r->path, r->size,
                       r->special, MR_VOCAB_MAX);
    /* An entry takes more than ten bytes: no memory for a vocabulary that cannot be there. */
    const idx bytes = r->file.end - r->file.start;
    if (r->size - r->special > bytes / 10)
        return mr_fail(r->err, MR_BAD, "%s: default_vocab_size is %td, but the file has only %td "
                       "bytes; it is damaged or incomplete", r->path, r->size, bytes);
    if (r->version > 11 && r->section[MR_TEKKEN_MULTIMODAL].from != NULL)
        return mr_fail(r->err, MR_BAD, "%s: has \"multimodal\", which ended with v11; expected "
                       "\"image\" in a file of version %s", r->path, r->tekken->version);
    if (r->version < 15 && r->section[MR_TEKKEN_SETTINGS].from != NULL)
        return mr_fail(r->err, MR_BAD, "%s: has \"model_settings_builder\", which version %s does "
                       "not know; expected v15", r->path, r->tekken->version);
    return MR_OK;
}

/* The two values of an entry that count. */
typedef struct {
    idx     rank;
    mr_span text;
    int     ranks, texts; /* how often each was there */
} entry;

/* Reads an entry of either list; `name` is the key of its text. */
static bool read_entry(mr_scan *in, const char *name, entry *e) {
    mr_span key;
    *e = (entry){0};
    mr_scan_enter(in, '{');
    while (mr_scan_key(in, &key)) {
        if (mr_span_is(&key, "rank")) {
            if (!mr_scan_integer(in, &e->rank)) break;
            e->ranks++;
        } else if (mr_span_is(&key, name)) {
            if (!mr_scan_string(in, &e->text)) break;
            e->texts++;
        } else {
            mr_scan_skip(in);
        }
    }
    return in->problem == NULL;
}

mr_status mr_tekken_entry(const mr_tekken_reading *r, mr_scan *in, const char *list,
                          const char *name, idx position, mr_span *text) {
    entry e;
    if (!read_entry(in, name, &e)) return mr_tekken_malformed(r, in);
    *text = e.text;
    if (e.ranks != 1 || e.texts != 1)
        return mr_fail(r->err, MR_BAD, "%s: %s[%td] must have \"rank\" and \"%s\" once each, found "
                       "%d and %d; the file is damaged", r->path, list, position, name, e.ranks,
                       e.texts);
    if (e.rank != position)
        return mr_fail(r->err, MR_BAD, "%s: %s[%td] has rank %td, expected its position; the file "
                       "is damaged", r->path, list, position, e.rank);
    return MR_OK;
}

/* The bytes of a token, written to *to, which never overtakes the reader. */
static mr_status decode_token(const mr_tekken_reading *r, mr_span text, idx rank, char **to) {
    char *place = r->bytes + (text.bytes - r->file.start);
    if (text.escaped) text.size = mr_span_text(&text, place); /* "\/" is legal JSON */
    if (text.size < 0 || text.size > 2 * MR_PIECE_MAX)
        return mr_fail(r->err, MR_BAD, "%s: vocab[%td] is no base64 of at most %td bytes; the file "
                       "is damaged", r->path, rank, MR_PIECE_MAX);
    idx size = text.size % 4 == 0 ? mr_base64_bytes(place, text.size, *to) : -1;
    if (size <= 0 || size > MR_PIECE_MAX)
        return mr_fail(r->err, MR_BAD, "%s: vocab[%td]: token_bytes is not base64 of 1 to %td "
                       "bytes; the file is damaged", r->path, rank, MR_PIECE_MAX);
    if (rank < 256 && (size != 1 || (unsigned char)**to != rank))
        return mr_fail(r->err, MR_BAD, "%s: vocab[%td] must be the single byte 0x%02X; the file is "
                       "damaged", r->path, rank, (unsigned)rank);
    r->tekken->vocab.piece[rank] = (mr_piece){.bytes = *to, .size = (int32_t)size,
                                              .order = (uint32_t)rank, .type = MR_PIECE_NORMAL};
    *to += size;
    return MR_OK;
}

/* Reads as many entries as are used; the rest was checked for its syntax, as in the original. */
static mr_status read_vocab(mr_tekken_reading *r) {
    const idx count = r->size - r->special;
    mr_scan in = mr_tekken_section(r, MR_TEKKEN_VOCAB);
    r->to = r->bytes + (in.at - in.start);
    if (mr_vocab_open(&r->tekken->vocab, count, r->err) != MR_OK) return MR_BAD;
    mr_scan_enter(&in, '[');
    for (idx rank = 0; rank < count; rank++) {
        mr_span text;
        if (!mr_scan_item(&in)) {
            if (in.problem != NULL) return mr_tekken_malformed(r, &in);
            return mr_fail(r->err, MR_BAD, "%s: vocab has %td entries, but %td of %td ids are not "
                           "special; the file is damaged or incomplete", r->path, rank, count,
                           r->size);
        }
        if (mr_tekken_entry(r, &in, "vocab", "token_bytes", rank, &text) != MR_OK) return MR_BAD;
        if (decode_token(r, text, rank, &r->to) != MR_OK) return MR_BAD;
    }
    return MR_OK;
}

/* Equal tokens would make the rank of a text ambiguous. */
static mr_status make_index(const mr_tekken_reading *r, mr_vocab *vocab, const char *list) {
    int32_t twins[2];
    if (mr_vocab_index(vocab, twins) == MR_OK) return MR_OK;
    if (twins[0] == twins[1])
        return mr_fail(r->err, MR_BAD, "%s: %s[%d] collides with more than %d others; this "
                       "vocabulary was made to be slow", r->path, list, (int)twins[0],
                       MR_PROBE_MAX);
    return mr_fail(r->err, MR_BAD, "%s: %s[%d] and %s[%d] are equal, expected all to differ; the "
                   "file is damaged", r->path, list, (int)twins[0], list, (int)twins[1]);
}

mr_status mr_tekken_read(mr_tekken *tekken, const char *path, char *bytes, idx size, mr_err *err) {
    mr_tekken_reading r = {.path = path, .err = err, .tekken = tekken, .bytes = bytes,
                           .file = mr_scan_open(bytes, size)};
    mr_status status = outline(&r);
    if (status == MR_OK) status = read_config(&r);
    if (status == MR_OK) status = read_vocab(&r);
    if (status == MR_OK) status = mr_tekken_specials(&r);
    if (status == MR_OK) status = make_index(&r, &tekken->vocab, "vocab");
    if (status == MR_OK) status = make_index(&r, &tekken->special, "special_tokens");
    if (status != MR_OK) return status;
    tekken->bos = mr_vocab_find(&tekken->special, "<s>", 3);
    tekken->eos = mr_vocab_find(&tekken->special, "</s>", 4);
    return MR_OK;
}
