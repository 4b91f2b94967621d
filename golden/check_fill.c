/* Inputs that are hard for an operation: each fill, for each kind of array. */
#include "golden/check_parts.h"

#include <math.h>

double mr_check_uniform(const mr_check *c, uint64_t stream, idx i) {
    mr_rng rng = mr_rng_seed(c->plan.seed * 0x9E3779B97F4A7C15u + stream);
    rng.state += (uint64_t)i * 0xD1B54A32D192ED03u;
    return mr_rng_uniform(&rng);
}

/* Sum of four uniform numbers: mean 0, variance 1, at most 3.5 */
double mr_check_bell(const mr_check *c, uint64_t stream, idx i) {
    double sum = -2;
    for (uint64_t k = 0; k < 4; k++) sum += mr_check_uniform(c, 8 * stream + k, i);
    return sum * 1.7320508075688772;
}

/* One element: where it is, and random numbers of its own. */
typedef struct {
    const mr_check *c;
    const part     *p;
    uint64_t stream;
    idx      i, row, col;      /* col: in the last dimension */
    double   bell, uniform;
    double   sign;
} place;

static bool half_range(const mr_check *c) { return c->dtype == MR_F16; }

static double integer(const place *at) { return floor(9 * at->uniform) - 4; }

/* 1, -1 or 1/2 */
static double one_of_three(const place *at) {
    return at->uniform < 0.3 ? 1 : at->uniform < 0.6 ? -1 : 0.5;
}

/* A multiple of the smallest positive number: subnormal, or normal by a little. tf32 has no
 * subnormals to speak of, so there it is small only. */
static double tiny(const place *at) {
    const double most = at->c->dtype == MR_F32 ? 0x1p24 : at->c->dtype == MR_BF16 ? 255 : 2047;
    const double step = at->c->a.operand > 0 ? 0x1p-110 : at->c->a.tiny;
    return at->sign * floor(1 + (most - 1) * at->uniform) * step;
}

/* The same in columns 2n and 2n+1. */
static double paired(const place *at) {
    const idx width = at->p->dim[at->p->rank - 1];
    return mr_check_bell(at->c, at->stream, at->row * width + at->col / 2 * 2);
}

/* ---- by kind ----------------------------------------------------------------------------------*/

static double width_of(const mr_check *c) {
    return c->plan.width > 0 ? (double)c->plan.width : 1;
}

/* The sum of the squares of a row stays in float's range, and every element in the type's. */
static double activation(const place *at) {
    const double most = half_range(at->c) ? 0x1p14 : 0x1p62 / sqrt(width_of(at->c));
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS: return integer(at);
    case MR_FILL_LARGE: return at->sign * (0.5 + at->uniform / 2) * most;
    case MR_FILL_TINY: return tiny(at);
    case MR_FILL_NEGATIVE: return -0.5 - fabs(at->bell);
    case MR_FILL_TIES: return one_of_three(at);
    case MR_FILL_OFFSET: return 100 + at->bell;
    case MR_FILL_CANCELLATION: return (at->col % 2 == 0 ? 1000 : -1000) + at->bell;
    default: return at->bell;
    }
}

static double weight(const place *at) {
    const double n = width_of(at->c);
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS:
    case MR_FILL_TINY: return integer(at);
    case MR_FILL_LARGE: return at->bell / (4 * n);
    case MR_FILL_NEGATIVE: return fabs(at->bell) / sqrt(n);
    case MR_FILL_TIES: return one_of_three(at);
    case MR_FILL_CANCELLATION: return paired(at) / sqrt(n);
    default: return at->bell / sqrt(n);
    }
}

static double gain(const place *at) {
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS:
    case MR_FILL_TINY: return at->uniform < 0.5 ? 1 : 2;
    case MR_FILL_NEGATIVE: return -1 - 0.25 * at->bell;
    default: return 1 + 0.25 * at->bell;
    }
}

/* +8 or -8 by the bits of a position: a query with the code of one key picks that key alone. */
static double code(int64_t position, idx col) { return position >> col % 5 & 1 ? 8 : -8; }

/* The key that query row `row` (token t, head h) picks: one of those that it sees. */
static int64_t picked(const mr_check *c, idx row) {
    const int64_t H = c->plan.heads, own = c->plan.seen + row / H;
    const int64_t all = own + 1, window = c->plan.window;
    return own - (row / H * 3 + row % H) % (window > 0 && window < all ? window : all);
}

static double query(const place *at) {
    const double D = (double)at->c->plan.head_dim;
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS: return code(picked(at->c, at->row), at->col);
    case MR_FILL_LARGE: return sqrt(0x1p14 / D);
    case MR_FILL_TINY: return half_range(at->c) ? tiny(at) : at->bell * 0x1p-100;
    case MR_FILL_NEGATIVE: return (0.5 + fabs(at->bell)) * sqrt(300 / sqrt(D));
    case MR_FILL_OFFSET: return 1 + at->bell / 4;
    case MR_FILL_CANCELLATION: return (at->col % 2 == 0 ? 30 : -30) + at->bell;
    default: return at->bell;
    }
}

static double key(const place *at) {
    const double D = (double)at->c->plan.head_dim;
    const idx heads = at->c->plan.kv_heads;
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS:
        return code(mr_check_position(at->c, at->p, at->row / heads), at->col);
    case MR_FILL_LARGE:
        return (mr_check_uniform(at->c, at->stream, at->row) - 0.5) * 2 * sqrt(0x1p14 / D);
    case MR_FILL_NEGATIVE: return (-0.5 - fabs(at->bell)) * sqrt(300 / sqrt(D));
    case MR_FILL_TIES: return mr_check_bell(at->c, 0, at->col);
    case MR_FILL_OFFSET: return 20 + at->bell;
    case MR_FILL_CANCELLATION: return paired(at);
    default: return at->bell;
    }
}

static double value(const place *at) {
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS: return (double)(1 + at->row % 50 + at->col % 4);
    case MR_FILL_LARGE: return at->bell * (half_range(at->c) ? 0x1p12 : 0x1p100);
    case MR_FILL_TINY: return half_range(at->c) ? tiny(at) : at->bell * 0x1p-110;
    case MR_FILL_NEGATIVE: return -fabs(at->bell);
    case MR_FILL_OFFSET: return 100 + at->bell;
    case MR_FILL_CANCELLATION: return (at->row % 2 == 0 ? 100 : -100) + at->bell;
    default: return at->bell;
    }
}

static double logit(const place *at) {
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS: return integer(at);
    case MR_FILL_LARGE: return 16000 * (at->uniform - 0.5);
    case MR_FILL_TINY: return tiny(at);
    case MR_FILL_NEGATIVE: return -200 - 20 * fabs(at->bell);
    case MR_FILL_TIES: return at->row % 2 == 0 ? 1.5 : (double)(at->col % 3);
    case MR_FILL_OFFSET: return 10000 + 3 * at->bell;
    default: return 3 * at->bell;
    }
}

static double silu(const place *at) {
    switch (at->c->plan.fill) {
    case MR_FILL_INTEGERS: return integer(at);
    case MR_FILL_LARGE: return 16000 * (at->uniform - 0.5);
    case MR_FILL_TINY: return tiny(at);
    case MR_FILL_NEGATIVE: return -20 - 60 * fabs(at->bell);
    case MR_FILL_TIES: return one_of_three(at);
    case MR_FILL_OFFSET: return 50 + at->bell;
    default: return 2 * at->bell;
    }
}

static double share(const place *at) {
    const int fill = at->c->plan.fill;
    const bool powers = fill == MR_FILL_INTEGERS || fill == MR_FILL_TINY;
    return powers ? ldexp(1, -1 - (int)(3 * at->uniform)) : 0.05 + 0.9 * at->uniform;
}

static double copied(const place *at) {
    switch (at->c->plan.fill) {
    case MR_FILL_LARGE: return at->bell * (half_range(at->c) ? 0x1p14 : 0x1p125);
    case MR_FILL_TINY: return tiny(at);
    default: return at->bell;
    }
}

static double one(const place *at) {
    switch (at->p->kind) {
    case OF_ACTIVATION: return activation(at);
    case OF_WEIGHT: return weight(at);
    case OF_GAIN: return gain(at);
    case OF_QUERY: return query(at);
    case OF_KEY: return key(at);
    case OF_VALUE: return value(at);
    case OF_LOGIT: return logit(at);
    case OF_SILU: return silu(at);
    case OF_UP: return at->c->plan.fill == MR_FILL_TINY ? integer(at) : at->bell;
    case OF_SHARE: return share(at);
    case OF_COPY: return copied(at);
    case OF_INDEX: break;
    }
    return 0;
}

void mr_check_fill(mr_check *c, part *p) {
    const idx n = (idx)p->is.count, width = p->dim[p->rank - 1];
    const uint64_t stream = (uint64_t)(p - c->part) + 1;
    if (p->kind == OF_INDEX) return;
    for (idx i = 0; i < n; i++) {
        const place at = {c, p, stream, i, i / width, i % width, mr_check_bell(c, stream, i),
                          mr_check_uniform(c, 100 + stream, i),
                          mr_check_uniform(c, 200 + stream, i) < 0.5 ? -1 : 1};
        mr_check_set(p->dtype, p->is.data, i, one(&at));
    }
}
