/* madvise and mincore over the matrices of a layer. Where a system lacks one of the advices, or
 * the file belongs to somebody else, its own judgement has to do. */
#define _DEFAULT_SOURCE   /* madvise, mincore */

#include "weights/pages.h"

#include <sys/mman.h>
#include <unistd.h>

/* Bytes not worth a look; pages looked at; and bytes asked for at a time, of which Linux reads no
 * more than the device takes in one request, and keeps quiet about it. */
enum { SMALL = 1 << 18, LOOKS = 4, PIECE = 1 << 20 };

/* Whole pages that hold a matrix; none where it is small. */
typedef struct {
    uintptr_t begin, bytes, page;
} span;

static span span_of(const mr_matrix *m) {
    span s = {.page = (uintptr_t)sysconf(_SC_PAGESIZE)};
    const idx elements = (m->rows - 1) * m->row_stride + (m->cols - 1) * m->col_stride + 1;
    const idx bytes = elements * mr_dtype_size(m->dtype);
    const uintptr_t at = (uintptr_t)m->data;
    s.begin = at / s.page * s.page;
    if (m->data != NULL && bytes >= SMALL)
        s.bytes = (at + (uintptr_t)bytes + s.page - 1) / s.page * s.page - s.begin;
    return s;
}

/* A few pages speak for all: those at both ends and between. */
static bool missing(const mr_matrix *m) {
    const span s = span_of(m);
    for (uintptr_t k = 0; k < LOOKS && s.bytes > 0; k++) {
        unsigned char seen = 1;
        void *at = (void *)(s.begin + (s.bytes / s.page - 1) * k / (LOOKS - 1) * s.page);
        if (mincore(at, s.page, &seen) == 0 && (seen & 1) == 0) return true;
    }
    return false;
}

static bool ask_for(const mr_matrix *m) {
    const span s = span_of(m);
    if (!missing(m)) return false;
    for (uintptr_t at = 0; at < s.bytes; at += PIECE)
        madvise((void *)(s.begin + at), s.bytes - at < PIECE ? s.bytes - at : PIECE, MADV_WILLNEED);
    return true;
}

static bool give_back(const mr_matrix *m) {
    const span s = span_of(m);
#ifdef MADV_PAGEOUT
    return s.bytes > 0 && madvise((void *)s.begin, s.bytes, MADV_PAGEOUT) == 0;
#else
    return s.bytes > 0 && madvise((void *)s.begin, s.bytes, MADV_DONTNEED) == 0;
#endif
}

/* True when any of the matrices says so. */
static bool each_of_layer(const mr_model *model, idx l, bool (*act)(const mr_matrix *)) {
    const mr_layer *w = &model->layers[l];
    const idx blocks = model->config.n_experts > 0 ? model->config.n_experts : 1;
    bool any = act(&w->wq);
    any = act(&w->wk) || any;
    any = act(&w->wv) || any;
    any = act(&w->wo) || any;
    for (idx e = 0; e < blocks; e++) {
        any = act(&w->ffn[e].w1) || any;
        any = act(&w->ffn[e].w3) || any;
        any = act(&w->ffn[e].w2) || any;
    }
    return any;
}

void mr_pages_coming(const mr_model *model, idx layer) {
    const idx next = layer + 1;
    if (layer == 0) each_of_layer(model, 0, ask_for);
    if (next == model->config.n_layers) {
        ask_for(&model->output);
    } else if (each_of_layer(model, next, missing)) {
        const bool full = layer > 0 && each_of_layer(model, 0, missing);
        for (idx l = layer - 1; full && l >= 0 && l >= layer - 2; l--)
            each_of_layer(model, l, give_back);
        each_of_layer(model, next, ask_for);
    }
}
