/* Opening a SentencePiece model: the protobuf messages ModelProto, TrainerSpec, NormalizerSpec.
 *
 * Only the fields that change ids or text are read; all others (training settings, self tests)
 * are skipped, as protobuf asks of a reader. What is read is checked in sentencepiece_check.c.
 *
 *   ModelProto      1 piece (repeated)  2 trainer_spec  3 normalizer_spec  5 denormalizer_spec
 *   piece           1 bytes  2 score  3 type; its id is its position in the list
 *   TrainerSpec     3 model_type  24 treat_whitespace_as_suffix  35 byte_fallback
 *                   44 unk_surface  46 bos_piece  47 eos_piece
 *   NormalizerSpec  2 precompiled_charsmap  3 add_dummy_prefix  4 remove_extra_whitespaces
 *                   5 escape_whitespaces
 *
 * Nothing is copied: the file stays in memory and pieces are views into it. */
#include "tokenizer/sentencepiece.h"

#include <math.h>
#include <string.h>

#include "tokenizer/kind.h"
#include "tokenizer/protobuf.h"

/* What all parsing functions share: the model they fill and what a message needs to know. */
typedef struct {
    const char *path;
    mr_err     *err;
    mr_spm     *spm;
} opening;

/* The reader knows what was wrong and where; this adds which file, and what to do. */
static mr_status malformed(const opening *o, const mr_pb *in) {
    return mr_fail(o->err, MR_BAD, "%s: not a SentencePiece model: byte %td: %s; the file is "
                   "damaged or incomplete, fetch it again", o->path, in->at - in->start,
                   in->problem);
}

/* The fields we use must be stored as the format says; a reader that skipped a misdeclared piece
 * would shift the ids of all that follow. */
static bool wire_is(const opening *o, const mr_pb *in, const mr_pb_field *field, int wire) {
    if (field->wire == wire) return true;
    mr_fail(o->err, MR_BAD, "%s: not a SentencePiece model: before byte %td: field %u has wire "
            "type %d, expected %d; fetch the file again", o->path, in->at - in->start,
            (unsigned)field->number, field->wire, wire);
    return false;
}

/* A score as a priority for the merge loop, which wants integers, smaller first. Floats order as
 * their bits do, once the negative ones are mirrored; no rounding is involved, so scores that
 * differ at all differ here. Zero counts as positive whatever its sign: -0 and 0 are equal. */
static uint32_t order_of(float score) {
    float positive_zero = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    uint32_t ascending = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    return ~ascending; /* the highest score merges first */
}

/* One piece. Its checks that concern other pieces come later, when all are known. */
static mr_status parse_piece(const opening *o, mr_pb in, int32_t id) {
    mr_piece piece = {.type = MR_PIECE_NORMAL, .unused = -1};
    float score = 0;
    mr_pb_field field;
    while (mr_pb_next(&in, &field)) {
        switch (field.number) {
        case 1:
            if (!wire_is(o, &in, &field, MR_PB_BYTES)) return MR_BAD;
            if (field.size > MR_PIECE_MAX)
                return mr_fail(o->err, MR_BAD, "%s: piece %d has %td bytes, the limit is %td; this "
                               "is not a usable vocabulary", o->path, (int)id, field.size,
                               MR_PIECE_MAX);
            piece.bytes = field.bytes;
            piece.size = (int32_t)field.size;
            break;
        case 2:
            if (!wire_is(o, &in, &field, MR_PB_FIXED32)) return MR_BAD;
            score = mr_pb_float(&field);
            break;
        case 3:
            if (!wire_is(o, &in, &field, MR_PB_VARINT)) return MR_BAD;
            piece.type = mr_pb_int32(&field); /* its range is checked with the rest */
            break;
        default: break;
        }
    }
    if (in.problem != NULL) return malformed(o, &in);
    /* It compares as neither better nor worse than anything: no order of merges would be right. */
    if (isnan(score))
        return mr_fail(o->err, MR_BAD, "%s: piece %d has a score that is not a number; fetch the "
                       "file again", o->path, (int)id);
    piece.order = order_of(score);
    o->spm->vocab.piece[id] = piece;
    return MR_OK;
}

/* A string; NUL bytes belong to it. */
static bool text_field(const opening *o, const mr_pb *in, const mr_pb_field *field,
                       const char **bytes, idx *size) {
    *bytes = field->bytes;
    *size = field->size;
    return wire_is(o, in, field, MR_PB_BYTES);
}

/* A bool is a varint, true if not zero. */
static bool flag_field(const opening *o, const mr_pb *in, const mr_pb_field *field, bool *flag) {
    *flag = field->value != 0;
    return wire_is(o, in, field, MR_PB_VARINT);
}

/* How the vocabulary was trained. Most of it is history; what remains are the kind of model, how
 * unknown characters are written, and what the special pieces are called. */
static mr_status parse_trainer(const opening *o, mr_pb in) {
    mr_spm *spm = o->spm;
    mr_pb_field field;
    bool ok = true;
    while (ok && mr_pb_next(&in, &field)) {
        switch (field.number) {
        case 3:
            ok = wire_is(o, &in, &field, MR_PB_VARINT);
            spm->model_type = mr_pb_int32(&field);
            break;
        case 24: ok = flag_field(o, &in, &field, &spm->whitespace_suffix); break;
        case 35: ok = flag_field(o, &in, &field, &spm->byte_fallback); break;
        case 44:
            ok = text_field(o, &in, &field, &spm->unk_surface, &spm->unk_surface_size);
            break;
        case 46: ok = text_field(o, &in, &field, &spm->bos_piece, &spm->bos_piece_size); break;
        case 47: ok = text_field(o, &in, &field, &spm->eos_piece, &spm->eos_piece_size); break;
        default: break;
        }
    }
    if (!ok) return MR_BAD;
    return in.problem != NULL ? malformed(o, &in) : MR_OK;
}

/* normalizer_spec and denormalizer_spec are the same message. Of the second only the charsmap has
 * an effect, and it must be empty: nobody trains a model that rewrites what it decodes. */
static mr_status read_charsmap(const opening *o, const mr_pb_field *field, bool denormalizer) {
    if (denormalizer && field->size > 0)
        return mr_fail(o->err, MR_BAD, "%s: its denormalizer_spec has a precompiled_charsmap of "
                       "%td bytes, expected none; choose a model without one", o->path,
                       field->size);
    if (denormalizer) return MR_OK;
    const char *problem = mr_charsmap_open(&o->spm->charsmap, field->bytes, field->size);
    if (problem == NULL) return MR_OK;
    return mr_fail(o->err, MR_BAD, "%s: its precompiled_charsmap of %td bytes is damaged: %s; "
                   "fetch the file again", o->path, field->size, problem);
}

static mr_status parse_normalizer(const opening *o, mr_pb in, bool denormalizer) {
    mr_spm *spm = o->spm;
    mr_pb_field field;
    bool ok = true;
    while (ok && mr_pb_next(&in, &field)) {
        if (denormalizer && field.number != 2) continue;
        switch (field.number) {
        case 2:
            if (!wire_is(o, &in, &field, MR_PB_BYTES)) return MR_BAD;
            if (read_charsmap(o, &field, denormalizer) != MR_OK) return MR_BAD;
            break;
        case 3: ok = flag_field(o, &in, &field, &spm->dummy_prefix); break;
        case 4: ok = flag_field(o, &in, &field, &spm->trim_spaces); break;
        case 5: ok = flag_field(o, &in, &field, &spm->escape_spaces); break;
        default: break;
        }
    }
    if (!ok) return MR_BAD;
    return in.problem != NULL ? malformed(o, &in) : MR_OK;
}

/* First pass over the outer message: how many pieces? Also proves that level well-formed. */
static mr_status count_pieces(const opening *o, mr_pb in, idx *count) {
    mr_pb_field field;
    *count = 0;
    while (mr_pb_next(&in, &field)) {
        if (field.number != 1) continue;
        if (!wire_is(o, &in, &field, MR_PB_BYTES)) return MR_BAD;
        ++*count;
    }
    if (in.problem != NULL) return malformed(o, &in);
    if (*count == 0 || *count > MR_VOCAB_MAX)
        return mr_fail(o->err, MR_BAD, "%s: has %td pieces, expected 1 to %td; this is not a "
                       "SentencePiece vocabulary", o->path, *count, MR_VOCAB_MAX);
    return MR_OK;
}

/* Second pass. Settings may come after the pieces, so nothing is checked across messages here. */
static mr_status parse_model(const opening *o, mr_pb in) {
    mr_status status = MR_OK;
    int32_t id = 0; /* stays below the count of the first pass: it read the same fields */
    mr_pb_field field;
    while (status == MR_OK && mr_pb_next(&in, &field)) {
        /* Messages that occur twice add up field by field, the later value winning: parsing into
         * the same model does just that. */
        bool used = field.number == 1 || field.number == 2 || field.number == 3
                    || field.number == 5;
        if (!used) continue;
        if (!wire_is(o, &in, &field, MR_PB_BYTES)) return MR_BAD;
        mr_pb inside = mr_pb_inside(&in, &field);
        if (field.number == 1) status = parse_piece(o, inside, id++);
        else if (field.number == 2) status = parse_trainer(o, inside);
        else status = parse_normalizer(o, inside, field.number == 5);
    }
    return status;
}

/* What a model means that does not say otherwise: the defaults of sentencepiece_model.proto. */
static void set_defaults(mr_spm *spm) {
    spm->model_type = 1; /* unigram */
    spm->dummy_prefix = spm->trim_spaces = spm->escape_spaces = true;
    spm->unk_surface = " \xE2\x81\x87 "; /* U+2047 between spaces */
    spm->unk_surface_size = 5;
}

/* Also the way out of a failed open: everything not yet opened is still zero. */
static void spm_close(void *model) {
    mr_spm *spm = model;
    mr_vocab_close(&spm->vocab);
    mr_matcher_close(&spm->matcher);
    mr_free(spm->file);
    mr_free(spm);
}

static mr_status spm_open(const char *path, char *bytes, idx size, void **model, mr_err *err) {
    mr_spm *spm = mr_alloc(1, (idx)sizeof *spm, err);
    if (spm == NULL) { /* the bytes are ours even so */
        mr_free(bytes);
        return MR_BAD;
    }
    spm->file = bytes;
    set_defaults(spm);

    /* Two passes over the file, so that the piece table is allocated once and at its right size,
     * and a count beyond the limit is refused before anything is allocated. */
    opening o = {.path = path, .err = err, .spm = spm};
    mr_pb in = mr_pb_open(bytes, size);
    idx count;
    mr_status status = count_pieces(&o, in, &count);
    if (status == MR_OK) status = mr_vocab_open(&spm->vocab, count, err);
    if (status == MR_OK) status = parse_model(&o, in);
    if (status == MR_OK) status = mr_spm_check(spm, path, err);
    if (status == MR_OK) *model = spm;
    else spm_close(spm);
    return status;
}

/* A protobuf file has no magic number. Everything is taken for one except JSON, whose opening
 * brackets would be the start of a group, which no model has: for other wrong files the reader's
 * message, with the offset, says most. */
static bool spm_recognise(const char *bytes, idx size) {
    return size > 0 && bytes[0] != '{' && bytes[0] != '[';
}

/* The functions of the table: each takes the model as the opaque pointer that open returned. */
static idx spm_size(const void *model) { return ((const mr_spm *)model)->vocab.count; }

static int32_t spm_bos(const void *model) { return ((const mr_spm *)model)->bos; }

static int32_t spm_eos(const void *model) { return ((const mr_spm *)model)->eos; }

static const char *spm_version(const void *model) { return ((const mr_spm *)model)->version; }

/* Only pieces of type CONTROL: other pieces of that text could come from a user. */
static int32_t spm_control(const void *model, const char *text) {
    const mr_vocab *vocab = &((const mr_spm *)model)->vocab;
    int32_t id = mr_vocab_find(vocab, text, (idx)strlen(text));
    return id >= 0 && vocab->piece[id].type == MR_PIECE_CONTROL ? id : -1;
}

static const char *spm_piece(const void *model, int32_t id, idx *bytes) {
    const mr_piece *piece = &((const mr_spm *)model)->vocab.piece[id];
    *bytes = piece->size;
    return piece->bytes;
}

const mr_tokenizer_type mr_kind_sentencepiece = {
    .name = "sentencepiece-bpe", .recognise = spm_recognise, .open = spm_open,
    .close = spm_close, .size = spm_size, .bos = spm_bos, .eos = spm_eos,
    .version = spm_version, .control = spm_control, .piece = spm_piece, .encode = mr_spm_encode,
    .stream = mr_spm_stream, .stream_end = mr_spm_stream_end,
};
