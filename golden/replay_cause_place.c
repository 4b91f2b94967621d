/* Where every token of a run stands: sequence, call, position; and where a fault puts it. */
#include "golden/replay_state.h"

#include "ref/half.h"

/* Tokens of sequence b that were fed as a prompt; the rest was decoded one by one. */
static idx prompt_of(const mr_meta *m, idx b) {
    return m->length[b] > m->decode ? m->length[b] - m->decode : 1;
}

static idx longest_prompt(const mr_meta *m) {
    idx most = 0;
    for (idx b = 0; b < m->n_seqs; b++) most = prompt_of(m, b) > most ? prompt_of(m, b) : most;
    return most;
}

/* Empty columns before sequence b in a left-padded grid. */
static idx padding(const mr_meta *m, idx b) {
    return m->batch == MR_LEFT_PADDED ? longest_prompt(m) - prompt_of(m, b) : 0;
}

static void place_token(mr_walk *w, idx t, idx b, idx a) {
    const mr_meta *m = w->meta;
    const idx prompt = prompt_of(m, b), pad = padding(m, b);
    const idx chunk = m->chunk > 0 ? m->chunk : pad + prompt, column = pad + a;
    w->place[t] = a;
    w->call[t] = a;
    w->call_end[t] = a + 1;
    w->kind[t] = MR_DECODE_CALL;
    if (a >= prompt) return;
    const idx start = column / chunk * chunk - pad, end = start + chunk;
    w->call[t] = start > 0 ? start : 0;
    w->call_end[t] = end < prompt ? end : prompt;
    w->kind[t] = w->call[t] == 0 ? MR_FIRST_CALL : MR_LATER_CALL;
}

void mr_place_tokens(mr_walk *w) {
    idx t = 0;
    for (idx b = 0; b < w->meta->n_seqs; b++)
        for (idx a = 0, base = t; a < w->meta->length[b]; a++, t++) {
            w->column[t] = base;
            place_token(w, t, b, a);
        }
}

/* Decode step `place`: the largest position of the sequences that are in it. */
static int64_t largest_of_step(const mr_meta *m, idx step) {
    int64_t most = 0;
    for (idx b = 0; b < m->n_seqs; b++) {
        const idx a = prompt_of(m, b) + step;
        if (a < m->length[b] && m->first[b] + a > most) most = m->first[b] + a;
    }
    return most;
}

/* Position of sequence b mod 2 at the same step, or its last one. */
static int64_t of_other_user(const mr_meta *m, idx b, idx step) {
    const idx other = m->batch == MR_ALONE ? b : b % 2, a = prompt_of(m, other) + step;
    return m->first[other] + (a < m->length[other] ? a : m->length[other] - 1);
}

static void rotate_to(mr_walk *w, idx t, idx b) {
    const mr_meta *m = w->meta;
    const mr_fault *f = w->fault;
    const bool decoding = w->kind[t] == MR_DECODE_CALL;
    const idx step = w->place[t] - prompt_of(m, b);
    int64_t p = m->first[b] + w->place[t], q;
    if (f->at == MR_AT_CALL) p = m->first[b] + w->place[t] - w->call[t];
    if (f->at == MR_AT_PADDED || (f->at == MR_AT_PADDED_DECODE && decoding)) p += padding(m, b);
    if (f->at == MR_AT_OTHER_USER && decoding) p = of_other_user(m, b, step);
    if (f->at == MR_AT_MINUS_FIRST && w->kind[t] == MR_FIRST_CALL) p--;
    if (f->at == MR_AT_TABLE_END && p >= f->table) p = f->table - 1;
    if (f->at == MR_AT_BF16) p = (int64_t)mr_round((double)p, MR_STORE_BF16);
    p += f->position_offset;
    q = p;
    if (f->at == MR_AT_LARGEST_QUERY && decoding && m->batch != MR_ALONE)
        q = largest_of_step(m, step);
    w->position_q[t] = q;
    w->position_k[t] = p;
}

void mr_place_rotations(mr_walk *w) {
    idx t = 0;
    for (idx b = 0; b < w->meta->n_seqs; b++)
        for (idx a = 0; a < w->meta->length[b]; a++, t++) rotate_to(w, t, b);
}
