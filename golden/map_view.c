/* Views as products of strides: reshape splits factors, permute orders, slice shortens them. */
#include "golden/map_view.h"

#include <string.h>

mr_view mr_view_whole(idx source, int rank, const idx *dim) {
    mr_view v = {.source = source, .scale = 1, .rank = rank};
    const idx count = mr_count(rank, dim);
    memcpy(v.dim, dim, (size_t)rank * sizeof *dim);
    if (count != 1) v.factor[v.n++] = (mr_view_factor){count, 1, NULL};
    return v;
}

idx mr_view_count(const mr_view *v) { return mr_count(v->rank, v->dim); }

/* Joins neighbours that are one run of equal strides. */
static void join(mr_view *v) {
    int kept = 0;
    for (int i = 0; i < v->n; i++) {
        const mr_view_factor f = v->factor[i];
        mr_view_factor *last = kept > 0 ? &v->factor[kept - 1] : NULL;
        if (f.size == 1 && f.at == NULL) continue;
        if (last != NULL && last->at == NULL && f.at == NULL && last->stride == f.size * f.stride)
            *last = (mr_view_factor){last->size * f.size, f.stride, NULL};
        else v->factor[kept++] = f;
    }
    v->n = kept;
}

/* Fills in a -1; the sizes must then have as many elements as the view. */
static bool complete(const mr_view *v, int rank, const idx *dim, idx *out) {
    const idx count = mr_view_count(v);
    idx known = 1;
    int open = -1;
    for (int i = 0; i < rank; i++) {
        out[i] = dim[i];
        if (dim[i] == -1 && open < 0) open = i;
        else if (dim[i] < 1 || !mr_mul(known, dim[i], &known)) return false;
    }
    if (open >= 0) out[open] = count / known;
    return count > 0 && (open < 0 ? known == count : out[open] > 0 && out[open] * known == count);
}

bool mr_view_reshape(mr_view *v, int rank, const idx *dim) {
    mr_view_factor back[MR_VIEW_FACTORS];   /* the new factors, last one first */
    idx sizes[MR_MAX_RANK];
    int n = 0, at;
    if (rank < 0 || rank > MR_MAX_RANK || v->pick != NULL || !complete(v, rank, dim, sizes))
        return false;
    mr_view u = *v;
    join(&u);
    at = u.n - 1;
    for (int a = rank - 1; a >= 0; a--) {
        for (idx need = sizes[a]; need > 1; n++) {
            if (at < 0 || n == MR_VIEW_FACTORS) return false;
            mr_view_factor *f = &u.factor[at];
            if (need % f->size == 0) {
                back[n] = *f;
                need /= f->size;
                at--;
            } else if (f->size % need == 0 && f->at == NULL) {
                back[n] = (mr_view_factor){need, f->stride, NULL};
                f->size /= need;
                f->stride *= need;
                need = 1;
            } else return false;
        }
    }
    for (int i = 0; i < n; i++) v->factor[i] = back[n - 1 - i];
    v->n = n;
    v->rank = rank;
    memcpy(v->dim, sizes, (size_t)rank * sizeof *sizes);
    return true;
}

/* Joins what it can and cuts factors where axes end. */
static bool cut(mr_view *v) {
    idx dim[MR_MAX_RANK];
    memcpy(dim, v->dim, sizeof dim);
    return mr_view_reshape(v, v->rank, dim);
}

/* Factors [*from, *to) of an axis of a view that was cut. */
static void factors_of(const mr_view *v, int axis, int *from, int *to) {
    *from = *to = 0;
    for (int a = 0; a <= axis; a++) {
        *from = *to;
        for (idx size = 1; size < v->dim[a]; (*to)++) size *= v->factor[*to].size;
    }
}

bool mr_view_permute(mr_view *v, const int *axes) {
    bool seen[MR_MAX_RANK] = {false};
    if (!cut(v)) return false;
    mr_view u = *v;
    u.n = 0;
    for (int i = 0; i < v->rank; i++) {
        int from, to;
        if (axes[i] < 0 || axes[i] >= v->rank || seen[axes[i]]) return false;
        seen[axes[i]] = true;
        factors_of(v, axes[i], &from, &to);
        for (int f = from; f < to; f++) u.factor[u.n++] = v->factor[f];
        u.dim[i] = v->dim[axes[i]];
    }
    *v = u;
    return true;
}

bool mr_view_slice(mr_view *v, int axis, idx start, idx stop, idx step) {
    int from, to;
    if (axis < 0 || axis >= v->rank || step < 1 || start < 0 || stop <= start ||
        stop > v->dim[axis]) return false;
    if (!cut(v)) return false;
    factors_of(v, axis, &from, &to);
    if (to == from) return true;                            /* size 1: all of it */
    mr_view_factor *f = &v->factor[from];
    const idx size = (stop - start + step - 1) / step;
    if (to - from > 1 || f->at != NULL) return size == v->dim[axis];
    v->offset += start * f->stride;
    v->dim[axis] = f->size = size;
    f->stride *= step;
    if (size == 1) {
        memmove(f, f + 1, (size_t)(v->n - to) * sizeof *f);
        v->n--;
    }
    return true;
}

idx mr_view_place(const mr_view *v, idx i) {
    idx at = v->offset;
    if (v->pick != NULL) return v->pick[i];
    for (int f = v->n - 1; f >= 0; f--) {
        const mr_view_factor *x = &v->factor[f];
        at += x->at != NULL ? x->at[i % x->size] : i % x->size * x->stride;
        i /= x->size;
    }
    return at;
}

void mr_view_read(const mr_view *v, const double *source, double *out) {
    const idx count = mr_view_count(v);
    for (idx i = 0; i < count; i++) {
        const idx at = mr_view_place(v, i);
        out[i] = at < 0 ? v->fill : v->scale * source[at];
    }
}

bool mr_view_same(const mr_view *a, const mr_view *b) {
    const idx count = mr_view_count(a);
    if (a->source != b->source || count != mr_view_count(b)) return false;
    for (idx i = 0; i < count; i++)
        if (mr_view_place(a, i) != mr_view_place(b, i)) return false;
    return true;
}

bool mr_view_is_plain(const mr_view *v) {
    mr_view u = *v;
    join(&u);
    return v->pick == NULL && v->scale == 1 && v->offset == 0 &&
           (u.n == 0 || (u.n == 1 && u.factor[0].stride == 1 && u.factor[0].at == NULL));
}
