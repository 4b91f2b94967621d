/* What must hold before a parsed SentencePiece model may be used, and what follows from it.
 *
 * The library refuses the same models: no or two unknown pieces, empty or equal pieces, byte
 * pieces without byte_fallback or the reverse. Piece types it does not know it reads as NORMAL;
 * here they are refused, since ids would silently mean something else. Messages name pieces by id:
 * their bytes come from a stranger and may be anything. */
#include <string.h>

#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

/* By number; there are only these. */
static const char *const model_types[] = {"none", "unigram", "BPE", "word", "char"};

/* Unigram models have scores too, but mean log probabilities of a best path: merging by them would
 * give plausible, wrong ids. */
static mr_status check_model_type(const mr_spm *spm, const char *path, mr_err *err) {
    int32_t type = spm->model_type;
    if (type == 2) return MR_OK;
    return mr_fail(err, MR_BAD, "%s: model_type is %d (%s), expected 2 (BPE); other SentencePiece "
                   "models do not merge pairs and are not supported", path, (int)type,
                   type >= 1 && type <= 4 ? model_types[type] : "unknown");
}

/* Capital letters only: "<0x0a>" is not a byte piece to the library either. */
static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Also used for decoding: the text of a byte piece is the only place where its value is stored. */
int mr_spm_byte_value(const mr_piece *piece) {
    const char *b = piece->bytes;
    if (piece->size != 6 || memcmp(b, "<0x", 3) != 0 || b[5] != '>') return -1;
    int high = hex_digit(b[3]), low = hex_digit(b[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* Equal byte pieces are found with all other duplicates. */
static mr_status check_byte_piece(mr_spm *spm, int32_t id, const char *path, mr_err *err) {
    if (!spm->byte_fallback)
        return mr_fail(err, MR_BAD, "%s: piece %d is a byte piece, but byte_fallback is off; "
                       "expected both or neither", path, (int)id);
    int value = mr_spm_byte_value(&spm->vocab.piece[id]);
    if (value < 0)
        return mr_fail(err, MR_BAD, "%s: piece %d has type BYTE but is not written as <0x00> to "
                       "<0xFF>; the vocabulary is damaged", path, (int)id);
    spm->byte_id[value] = id;
    return MR_OK;
}

/* One piece by itself, and the counts and tables that depend on its type. */
static mr_status check_piece(mr_spm *spm, int32_t id, const char *path, mr_err *err) {
    mr_piece *piece = &spm->vocab.piece[id];
    if (piece->size == 0)
        return mr_fail(err, MR_BAD, "%s: piece %d is empty; the vocabulary is damaged", path,
                       (int)id);
    switch (piece->type) {
    case MR_PIECE_NORMAL:
    case MR_PIECE_CONTROL:
    case MR_PIECE_USER_DEFINED: return MR_OK;
    case MR_PIECE_UNUSED:       piece->unused = spm->unused_count++; return MR_OK;
    case MR_PIECE_BYTE:         return check_byte_piece(spm, id, path, err);
    case MR_PIECE_UNKNOWN:
        if (spm->unk >= 0)
            return mr_fail(err, MR_BAD, "%s: pieces %d and %d both have type UNKNOWN, expected "
                           "one; the vocabulary is damaged", path, (int)spm->unk, (int)id);
        spm->unk = id;
        return MR_OK;
    default:
        return mr_fail(err, MR_BAD, "%s: piece %d has type %d, expected 1 to 6; the vocabulary is "
                       "damaged or newer than this program", path, (int)id, (int)piece->type);
    }
}

/* All pieces, and what must be true of them together. */
static mr_status check_pieces(mr_spm *spm, const char *path, mr_err *err) {
    for (int i = 0; i < 256; i++) spm->byte_id[i] = -1;
    spm->unk = -1;
    for (int32_t id = 0; id < spm->vocab.count; id++)
        if (check_piece(spm, id, path, err) != MR_OK) return MR_BAD;
    if (spm->unk < 0)
        return mr_fail(err, MR_BAD, "%s: no piece has type UNKNOWN, expected one; the vocabulary "
                       "is damaged", path);
    /* One missing byte would leave some characters without any way to be written. */
    for (int i = 0; spm->byte_fallback && i < 256; i++)
        if (spm->byte_id[i] < 0)
            return mr_fail(err, MR_BAD, "%s: byte_fallback is on, but there is no byte piece "
                           "<0x%02X>; expected all 256", path, i);
    /* The library keeps control and text pieces apart and would accept one of each with the same
     * bytes; then text could name a control piece. No real vocabulary does that. */
    int32_t twins[2];
    mr_status status = mr_vocab_index(&spm->vocab, twins);
    if (status != MR_OK && twins[0] == twins[1])
        return mr_fail(err, MR_BAD, "%s: piece %d collides with more than %d others; this "
                       "vocabulary was made to be slow", path, (int)twins[0], MR_PROBE_MAX);
    if (status != MR_OK)
        return mr_fail(err, MR_BAD, "%s: pieces %d and %d are equal, expected all to differ; the "
                       "vocabulary is damaged", path, (int)twins[0], (int)twins[1]);
    return MR_OK;
}

/* See mr_spm_may_join. With UNUSED pieces the merge loop must see the whole text at once, as how
 * such a piece is taken apart depends on the merges tried elsewhere: then every pair may join. */
static void note_joints(mr_spm *spm) {
    if (spm->unused_count > 0) {
        memset(spm->joint, 0xFF, sizeof spm->joint);
        return;
    }
    for (idx id = 0; id < spm->vocab.count; id++) {
        const mr_piece *piece = &spm->vocab.piece[id];
        if (piece->type != MR_PIECE_NORMAL && piece->type != MR_PIECE_USER_DEFINED) continue;
        /* Cut into characters exactly as the text will be: by lead bytes. */
        for (idx at = mr_utf8_step(piece->bytes[0]), size; at < piece->size; at += size) {
            size = mr_utf8_step(piece->bytes[at]);
            if (size > piece->size - at) size = piece->size - at;
            uint32_t last = (unsigned char)piece->bytes[at - 1];
            uint32_t bit = last << 8 | mr_spm_pair(piece->bytes + at, size);
            spm->joint[bit >> 3] = (uint8_t)(spm->joint[bit >> 3] | 1 << (bit & 7));
        }
    }
}

/* A control piece by its text; the trainer may have renamed it. A piece of that name that is not
 * a control piece does not count: it would come from text. */
static int32_t control_id(const mr_spm *spm, const char *bytes, idx size, const char *usual) {
    int32_t id = size > 0 ? mr_vocab_find(&spm->vocab, bytes, size)
                          : mr_vocab_find(&spm->vocab, usual, (idx)strlen(usual));
    return id >= 0 && spm->vocab.piece[id].type == MR_PIECE_CONTROL ? id : -1;
}

/* The N of a name that ends in .model.vN or .model.vNm1 (m1: with images); else 0. */
static int version_in_name(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *at = NULL;
    /* The last one counts: dates and other numbers come before it in published names. */
    for (const char *p = name; (p = strstr(p, ".model.v")) != NULL; p++) at = p + 8;
    if (at == NULL) return 0;
    int number = 0;
    for (; *at >= '0' && *at <= '9' && number < 1000; at++) number = 10 * number + (*at - '0');
    return *at == '\0' || strcmp(at, "m1") == 0 ? number : 0;
}

/* The version decides nothing here; chat templates depend on it. */
const char *mr_spm_version(const mr_spm *spm, const char *path) {
    switch (version_in_name(path)) {
    case 0: break;
    case 1: return "v1";
    case 2: return "v2";
    case 3: return "v3";
    case 7: return "v7";
    default: return NULL; /* a version that does not exist: better asked than guessed */
    }
    /* Repositories often rename the file to tokenizer.model: then the vocabulary decides, as far
     * as it can. v2 differs from v3 in nothing that can be told reliably. */
    static const char system_prompt[] = "[SYSTEM_PROMPT]";
    if (spm->vocab.count == 32000) return "v1";
    if (mr_vocab_find(&spm->vocab, system_prompt, (idx)sizeof system_prompt - 1) >= 0) return "v7";
    return spm->vocab.count == 32768 ? "v3" : "v1";
}

/* Cheap checks first; each later one may rely on the earlier ones. */
mr_status mr_spm_check(mr_spm *spm, const char *path, mr_err *err) {
    if (check_model_type(spm, path, err) != MR_OK) return MR_BAD;
    if (check_pieces(spm, path, err) != MR_OK) return MR_BAD;
    note_joints(spm);                                  /* needs the count of UNUSED pieces */
    spm->bos = control_id(spm, spm->bos_piece, spm->bos_piece_size, "<s>");
    spm->eos = control_id(spm, spm->eos_piece, spm->eos_piece_size, "</s>");
    spm->version = mr_spm_version(spm, path);
    if (spm->version == NULL)
        return mr_fail(err, MR_BAD, "%s: the name says version v%d, expected v1, v2, v3 or v7; "
                       "rename the file if it is one of these", path, version_in_name(path));
    return mr_matcher_open(&spm->matcher, &spm->vocab, err);
}
