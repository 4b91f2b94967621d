/* madvise and mincore over the matrices of a layer. Where a system lacks one of the advices, or
 * the file belongs to somebody else, its own judgement has to do. */
#define _DEFAULT_SOURCE   /* madvise, mincore */

#include "weights/pages.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLD   /* Linux 5.4 has both */
#define MADV_COLD MADV_NORMAL
#define MADV_PAGEOUT MADV_NORMAL
#endif

/* Bytes not worth a look; pages looked at; and bytes asked for at a time, of which Linux reads no
 * more than the device takes in one request, and keeps quiet about it. */
enum { SMALL = 1 << 18, LOOKS = 4, PIECE = 1 << 20 };

typedef struct {
    uintptr_t begin, bytes;
} span;

/* Whole pages that hold some matrices. */
typedef struct {
    uintptr_t page;   /* bytes of one */
    idx       count;
    span      part[];
} pages;

static void add(pages *p, const mr_matrix *m) {
    const idx elements = (m->rows - 1) * m->row_stride + (m->cols - 1) * m->col_stride + 1;
    const idx bytes = elements * mr_dtype_size(m->dtype);
    const uintptr_t at = (uintptr_t)m->data, begin = at / p->page * p->page;
    const uintptr_t end = (at + (uintptr_t)bytes + p->page - 1) / p->page * p->page;
    if (m->data != NULL && bytes >= SMALL) p->part[p->count++] = (span){begin, end - begin};
}

/* Those of layer l, in the order of use, or only those that every token uses; behind the last layer
 * those of the output head. NULL when there is no memory for the list. */
static pages *pages_of(const mr_model *model, idx l, bool all) {
    const idx blocks = model->config.n_experts > 0 ? model->config.n_experts : 1;
    pages *p = mr_alloc((idx)sizeof *p + (4 + 3 * blocks) * (idx)sizeof(span), 1, NULL);
    if (p == NULL) return NULL;
    p->page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (l == model->config.n_layers) {
        add(p, &model->output);
        return p;
    }
    const mr_layer *w = &model->layers[l];
    add(p, &w->wq), add(p, &w->wk), add(p, &w->wv), add(p, &w->wo);
    for (idx e = 0; e < blocks && all; e++)
        add(p, &w->ffn[e].w1), add(p, &w->ffn[e].w3), add(p, &w->ffn[e].w2);
    return p;
}

/* A few pages speak for a matrix: those at both ends and between. */
static bool missing(const pages *p) {
    for (idx i = 0; i < p->count; i++)
        for (uintptr_t k = 0; k < LOOKS; k++) {
            unsigned char seen = 1;
            const uintptr_t number = (p->part[i].bytes / p->page - 1) * k / (LOOKS - 1);
            if (mincore((void *)(p->part[i].begin + number * p->page), p->page, &seen) == 0 &&
                (seen & 1) == 0)
                return true;
        }
    return false;
}

/* Reads and maps them, or at least asks for them; then frees the list. Its addresses may be gone
 * by then, which makes madvise do nothing. */
static void *bring(void *list) {
    pages *p = list;
    for (idx i = 0; i < p->count; i++) {
        const span s = p->part[i];
#ifdef MADV_POPULATE_READ
        if (madvise((void *)s.begin, s.bytes, MADV_POPULATE_READ) == 0) continue;
#endif
        for (uintptr_t at = 0; at < s.bytes; at += PIECE)
            madvise((void *)(s.begin + at), s.bytes - at < PIECE ? s.bytes - at : PIECE,
                    MADV_WILLNEED);
    }
    mr_free(p);
    return NULL;
}

static bool layer_missing(const mr_model *model, idx l, bool all) {
    pages *p = pages_of(model, l, all);
    const bool is = p != NULL && missing(p);
    mr_free(p);
    return is;
}

/* Starts to bring layer l. Reading takes a thread of its own: the system works for it as long as
 * the disk does (finding a page for 4 KiB, putting another one out), and so it goes on while a
 * layer is computed. */
static void start_to_bring(const mr_model *model, idx l) {
    pthread_t thread;
    pages *p = pages_of(model, l, true);
    if (p == NULL) return;
    if (pthread_create(&thread, NULL, bring, p) == 0) pthread_detach(thread);
    else bring(p);
}

/* The first pages to go when others need the room, used or not; `now`: they go at once. */
static void let_go(const mr_model *model, idx l, bool now) {
    pages *p = pages_of(model, l, true);
    for (idx i = 0; p != NULL && i < p->count; i++) {
        const span s = p->part[i];
        madvise((void *)s.begin, s.bytes, MADV_COLD);
        if (now) madvise((void *)s.begin, s.bytes, MADV_PAGEOUT);
    }
    mr_free(p);
}

void mr_pages_coming(const mr_model *model, idx layer) {
    if (layer == 0 && layer_missing(model, 0, true)) start_to_bring(model, 0);
    if (!layer_missing(model, layer + 1, true)) return;
    start_to_bring(model, layer + 1);
    if (layer > 0) let_go(model, layer - 1, layer_missing(model, 0, false));
}
