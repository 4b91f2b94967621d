/* The verdict on a kernel's outputs, and what the report says. */
#include "golden/check_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What is known of one output. */
typedef struct {
    const part *p;
    idx    beyond, worst;
    double ratio;
} found;

static double got_of(const part *p, idx i) { return mr_check_value(p->dtype, p->is.data, i); }

/* |error| / bound. Where the exact result overflows the type, so may the kernel's. */
static double ratio_of(const part *p, idx i) {
    const double want = p->want.v[i], got = got_of(p, i), bound = p->want.e[i];
    if (want == got || (isnan(want) && isnan(got))) return 0;
    if (isnan(want) || isnan(got)) return (double)INFINITY;
    if (isinf(bound)) return 0;   /* the result overflows the type */
    const double ratio = fabs(got - want) / bound;
    return isnan(ratio) ? (double)INFINITY : ratio;
}

static found measure(const part *p) {
    found f = {p, 0, 0, -1};
    for (idx i = 0; i < (idx)p->is.count; i++) {
        const double ratio = ratio_of(p, i);
        f.beyond += ratio > 1;
        if (ratio > f.ratio) f.ratio = ratio, f.worst = i;
    }
    return f;
}

static bool judged(const part *p) { return p->use == IS_OUTPUT || p->use == IS_BOTH; }

/* Where float holds every sum, one number is right: the exact one, rounded once. */
static void make_exact(const mr_check *c) {
    for (int i = 0; i < c->parts; i++) {
        const part *p = &c->part[i];
        for (idx k = 0; judged(p) && k < (idx)p->is.count; k++) {
            p->want.v[k] = mr_check_round(p->dtype, p->want.v[k]);
            p->want.e[k] = p->want.s[k] = 0;
        }
    }
}

bool mr_check_within(mr_check *c) {
    const bool exact = c->plan.fill < MR_FILLS && (c->operation->exact >> c->plan.fill & 1u) != 0;
    c->note[0] = '\0';
    for (int i = 0; i < c->parts; i++)
        if (judged(&c->part[i])) memset(c->part[i].want.v, 0, c->part[i].is.count * 24);
    c->operation->expect(c);
    if (exact && c->a.sum <= 0x1p-24) make_exact(c);
    bool within = c->note[0] == '\0';
    for (int i = 0; i < c->parts && within; i++)
        within = !judged(&c->part[i]) || measure(&c->part[i]).ratio <= 1;
    return within;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Bytes of a zone that are no poison any more; *first: distance of the nearest to the array. */
static size_t disturbed(const unsigned char *zone, size_t bytes, bool before, size_t *first) {
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        const size_t at = before ? bytes - 1 - i : i;
        if (zone[at] != POISON && count++ == 0) *first = i;
    }
    return count;
}

/* Writes outside an array, or into an input: false, and what happened. */
static bool memory_good(const mr_check *c, char *text, size_t size) {
    for (int i = 0; i < c->parts; i++) {
        const part *p = &c->part[i];
        const unsigned char *block = p->is.block;
        const size_t bytes = p->is.count * p->is.element, end = p->is.offset + bytes;
        size_t first = 0;
        size_t n = disturbed(block, p->is.offset, true, &first);
        const bool before = n > 0;
        if (n == 0) n = disturbed(block + end, p->is.bytes - end, false, &first);
        if (n > 0) {
            snprintf(text, size, "%zu bytes were written outside %s, the nearest %zu bytes %s; "
                     "likely a tile that is not cut at the edge of the array", n, p->is.name,
                     first + before, before ? "before its start" : "after its end");
            return false;
        }
        if (p->use == IS_INPUT && memcmp(p->before, p->is.data, bytes) != 0) {
            snprintf(text, size, "the input %s was changed by the kernel", p->is.name);
            return false;
        }
    }
    return true;
}

/* ---- text ------------------------------------------------------------------------------------ */

static size_t put_index(char *text, size_t size, const part *p, idx i) {
    idx at[3] = {0};
    for (int r = p->rank - 1; r >= 0; r--) at[r] = i % p->dim[r], i /= p->dim[r];
    int n = snprintf(text, size, "%s[%td", p->is.name, at[0]);
    for (int r = 1; r < p->rank; r++) n += snprintf(text + n, size - (size_t)n, ",%td", at[r]);
    return (size_t)n + (size_t)snprintf(text + n, size - (size_t)n, "]");
}

/* "rmsnorm, f32, inputs all negative, x [33,127] g [127]" */
static void put_case(const mr_check *c, char *text, size_t size) {
    static const char *const fills[] = {
        [MR_FILL_ORDINARY] = "ordinary inputs", [MR_FILL_INTEGERS] = "integer inputs",
        [MR_FILL_LARGE] = "large inputs", [MR_FILL_TINY] = "tiny inputs",
        [MR_FILL_NEGATIVE] = "negative inputs", [MR_FILL_TIES] = "ties",
        [MR_FILL_OFFSET] = "a large offset", [MR_FILL_CANCELLATION] = "cancelling terms",
        [MR_FILL_OWN] = "inputs of the caller"};
    int n = snprintf(text, size, "%s, %s, %s,", c->plan.operation, c->plan.store,
                     fills[c->plan.fill]);
    for (int i = 0; i < c->parts && n < (int)size - 64; i++) {
        const part *p = &c->part[i];
        n += snprintf(text + n, size - (size_t)n, " %s [%td", p->is.name, p->dim[0]);
        for (int r = 1; r < p->rank; r++)
            n += snprintf(text + n, size - (size_t)n, ",%td", p->dim[r]);
        n += snprintf(text + n, size - (size_t)n, "]");
    }
    if (mr_check_part(c, "v") != NULL)
        snprintf(text + n, size - (size_t)n, " window %lld, %lld tokens cached",
                 (long long)c->plan.window, (long long)c->plan.seen);
}

static void put_fault(mr_check *c, found f, char *text, size_t size) {
    char where[96], why[400];
    put_index(where, sizeof where, f.p, f.worst);
    double bound = f.p->want.e[f.worst];
    int n = snprintf(text, size, "%td of %zu elements of %s are wrong; worst %s: got %.9g, "
                     "expected %.9g, ", f.beyond, f.p->is.count, f.p->is.name, where,
                     got_of(f.p, f.worst), f.p->want.v[f.worst]);
    n += bound > 0 ? snprintf(text + n, size - (size_t)n, "bound %.2g (error/bound %.3g)", bound,
                              f.ratio)
                   : snprintf(text + n, size - (size_t)n, "exactly");
    if (c->note[0] != '\0') n += snprintf(text + n, size - (size_t)n, "; %s", c->note);
    mr_check_reason(c, f.p, f.worst, why, sizeof why);
    if (why[0] != '\0') snprintf(text + n, size - (size_t)n, "; likely reason: %s", why);
}

/* Is every expected number of every output the same? Then a mixed-up kernel would pass. */
static bool constant(const mr_check *c) {
    for (int i = 0; i < c->parts; i++) {
        const part *p = &c->part[i];
        for (idx k = 1; judged(p) && k < (idx)p->is.count; k++)
            if (p->want.v[k] != p->want.v[0] && !isnan(p->want.v[k])) return false;
    }
    for (int i = 0; i < c->parts; i++)
        if (judged(&c->part[i]) && c->part[i].is.count > 1) return true;
    return false;
}

int mr_check_judge(mr_check *c, char *text, size_t size) {
    char what[1200], which[400];
    found worst = {NULL, 0, 0, -1};
    mr_check_within(c);
    put_case(c, which, sizeof which);
    if (c->err.code != MR_OK) {
        snprintf(text, size, "%s: %s", which, c->err.text);
        return (int)c->err.code;
    }
    for (int i = 0; i < c->parts; i++) {
        if (!judged(&c->part[i])) continue;
        const found f = measure(&c->part[i]);
        if (f.ratio > worst.ratio) worst = f;
    }
    c->ratio = worst.ratio;
    if (!memory_good(c, what, sizeof what)) c->ratio = (double)INFINITY;
    else if (worst.ratio > 1) put_fault(c, worst, what, sizeof what);
    else if (c->note[0] != '\0') snprintf(what, sizeof what, "%s", c->note);
    else {
        const bool nothing = constant(c);
        snprintf(text, size, "%s: %s; largest error/bound %.3g", which,
                 nothing ? "proves nothing: every expected number is the same" : "agrees",
                 c->ratio);
        return nothing ? MR_PROVES_NOTHING : MR_OK;
    }
    snprintf(text, size, "%s: %s", which, what);
    return MR_DISAGREE;
}

double mr_check_expected(const mr_check *c, const char *name, size_t i, double *bound) {
    const part *p = mr_check_part(c, name);
    const bool there = p != NULL && judged(p) && i < p->is.count;
    if (bound != NULL) *bound = there ? p->want.e[i] : (double)NAN;
    return there ? p->want.v[i] : (double)NAN;
}

double mr_check_ratio(const mr_check *c) { return c->ratio; }
