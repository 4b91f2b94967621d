/* What a wrong number looks like: reasons told by the number itself, and operations with one fault
 * that reproduce the kernel's result. */
#include "golden/check_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the same operation with other sizes ------------------------------------------------------*/

/* A plan with one fault; the reason names it. */
typedef struct {
    const char *operation, *reason;
    void (*change)(mr_check_plan *plan);
} suspect;

static void window_more(mr_check_plan *p) { if (p->window > 0) p->window++; }
static void window_less(mr_check_plan *p) { if (p->window > 1) p->window--; }
static void no_window(mr_check_plan *p) { p->window = 0; }
static void other_pairs(mr_check_plan *p) { p->half_split = !p->half_split; }
static void theta_1e4(mr_check_plan *p) { p->theta = 1e4; }
static void no_eps(mr_check_plan *p) { p->eps = 0; }
static void eps_1e6(mr_check_plan *p) { p->eps = 1e-6; }
static void eps_1e5(mr_check_plan *p) { p->eps = 1e-5; }

static const suspect suspects[] = {
    {"attention", "the window has one key too many (W counts the query's own key)", window_more},
    {"attention", "the window has one key too few (W counts the query's own key)", window_less},
    {"attention", "the window is not applied", no_window},
    {"rope", "the pairs are those of the other rotary layout ((2i,2i+1) or (i,i+D/2))",
     other_pairs},
    {"rope", "theta is 10000", theta_1e4},
    {"rmsnorm", "epsilon is missing", no_eps},
    {"rmsnorm", "epsilon is 1e-6", eps_1e6},
    {"rmsnorm", "epsilon is 1e-5", eps_1e5},
};

/* Do the kernel's results fit the changed plan? Keys that the ring does not hold any more cannot be
 * asked for. */
static bool reproduces(mr_check *c, const suspect *s) {
    const mr_check_plan plan = c->plan;
    char note[sizeof c->note];
    if (strcmp(s->operation, plan.operation) != 0) return false;
    memcpy(note, c->note, sizeof note);
    s->change(&c->plan);
    const int64_t reach = c->plan.window > 0 ? c->plan.window - 1 : plan.seen;
    const bool possible = plan.seen <= plan.slots || reach <= plan.slots;
    const bool changed = memcmp(&plan, &c->plan, sizeof plan) != 0;
    const bool fits = changed && possible && mr_check_within(c);
    c->plan = plan;
    memcpy(c->note, note, sizeof note);
    return fits;
}

/* ---- the number itself ----------------------------------------------------------------------- */

static bool untouched(const part *p, idx i) {
    const unsigned char *at = (const unsigned char *)p->is.data + (size_t)i * p->is.element;
    for (size_t b = 0; b < p->is.element; b++)
        if (at[b] != POISON) return false;
    return true;
}

static double got_of(const part *p, idx i) { return mr_check_value(p->dtype, p->is.data, i); }

static bool same(const part *p, idx i, idx other) {
    const double error = fabs(got_of(p, i) - p->want.v[other]);
    return p->want.v[other] != 0 && error <= p->want.e[other] + 1e-6 * fabs(p->want.v[other]);
}

/* Row or column whose expected numbers the whole wrong row has; -1: none. */
static idx other_row(const part *p, idx worst) {
    const idx width = p->dim[p->rank - 1], rows = (idx)p->is.count / width, own = worst / width;
    for (idx r = 0; width > 2 && r < rows; r++) {
        bool all = r != own;
        for (idx i = 0; i < width && all; i++) all = same(p, own * width + i, r * width + i);
        if (all) return r;
    }
    return -1;
}

/* got = factor * expected along the row, with a factor that is not 1; 0: no such. */
static double factor_of(const part *p, idx worst) {
    const idx width = p->dim[p->rank - 1], start = worst / width * width;
    const double factor = got_of(p, worst) / p->want.v[worst];
    if (width < 3 || !isfinite(factor)) return 0;
    for (idx i = start; i < start + width; i++) {
        const double room = 1e-3 * fabs(got_of(p, i)) + p->want.e[i] * (1 + fabs(factor));
        if (!(fabs(got_of(p, i) - factor * p->want.v[i]) <= room)) return 0;
    }
    return factor;
}

static const char *of_untouched(const part *p) {
    for (idx i = 0; i < (idx)p->is.count; i++)
        if (!untouched(p, i)) return "never written: a last row or tile is left out";
    return "nothing was written, or results are added to memory that nobody initialised";
}

static const char *of_nan(const mr_check *c) {
    const bool sharp = c->plan.fill == MR_FILL_INTEGERS && mr_check_part(c, "q") != NULL;
    switch (sharp ? MR_FILL_LARGE : c->plan.fill) {
    case MR_FILL_NEGATIVE: return "0/0: a maximum that starts at 0 instead of -inf, so that every "
                                  "exponential vanishes";
    case MR_FILL_LARGE:
    case MR_FILL_OFFSET: return "overflow: an exponential without the maximum subtracted, or a "
                                "square or product kept in 16 bits";
    default: return "it reads outside its arrays, a slot without a key, or memory that it did not "
                    "initialise (all of these hold NaN here)";
    }
}

/* Of a finite number that is near what was expected. */
static const char *of_small_error(const mr_check *c, double relative) {
    const bool wide = c->a.store <= 0x1p-24;
    if (c->plan.fill == MR_FILL_INTEGERS) return "sums or operands are kept in fewer bits than "
                                                 "float has";
    if (c->plan.fill == MR_FILL_CANCELLATION && relative < 0.05)
        return "sums are kept in fewer bits than was said";
    if (relative < 0x1p-7)
        return wide ? "operands or sums are rounded to tf32, f16 or bf16"
                    : "rounded more often than the operation is, or truncated";
    return NULL;
}

/* All faults that give the kernel's numbers: what one run cannot tell apart is all listed. */
static void put_reproducing(mr_check *c, char *text, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < sizeof suspects / sizeof *suspects; i++)
        if (n + 100 < size && reproduces(c, &suspects[i]))
            n += (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? ", or " : "",
                                  suspects[i].reason);
    if (n > 0) snprintf(text + n, size - n, " (so the reference gives the same numbers)");
    mr_check_within(c);   /* the true expectation again */
}

void mr_check_reason(mr_check *c, const part *p, idx worst, char *text, size_t size) {
    const double got = got_of(p, worst), want = p->want.v[worst];
    const double least = c->dtype == MR_F16 ? 0x1p-14 : 0x1p-126;
    const double relative = fabs(got - want) / fabs(want), factor = factor_of(p, worst);
    const idx row = other_row(p, worst), width = p->dim[p->rank - 1];
    const char *near = of_small_error(c, relative);
    text[0] = '\0';
    if (p->kind == OF_INDEX) return;
    if (untouched(p, worst)) snprintf(text, size, "%s", of_untouched(p));
    else if (isnan(got)) snprintf(text, size, "%s", of_nan(c));
    else if (isinf(got)) snprintf(text, size, "overflow: a square, product or exponential that the "
                                              "type cannot hold");
    else if (got == 0 && want != 0 && fabs(want) < least)
        snprintf(text, size, "subnormal numbers are flushed to zero (-ftz, fast math)");
    else if (got == 0 && c->plan.fill == MR_FILL_NEGATIVE)
        snprintf(text, size, "%s", of_nan(c));
    else if (row >= 0)
        snprintf(text, size, "row %td has the numbers of row %td: rows or heads are mixed up",
                 worst / width, row);
    if (text[0] != '\0') return;
    put_reproducing(c, text, size);
    if (text[0] != '\0') return;
    if (near != NULL) snprintf(text, size, "%s", near);
    else if (factor != 0)
        snprintf(text, size, "the row is %.6g times what it should be: a scale, a divisor or a sum "
                 "over too few elements", factor);
}
