/* The arithmetic of a port, and what one rounding does to a bound. */
#include "golden/replay_round.h"

#include <math.h>
#include <string.h>

bool mr_arithmetic_of(const char *store, const char *sum, mr_arithmetic *out) {
    static const struct {
        const char *name;
        double      unit, tiny, huge, operand;
        mr_storage  storage;
    } types[] = {
        {"f32", 0x1p-24, 0x1p-149, 0x1p128 - 0x1p103, 0, MR_STORE_WIDE},
        {"f16", 0x1p-11, 0x1p-24, 65520, 0, MR_STORE_F16},
        {"bf16", 0x1p-8, 0x1p-133, 0x1p128 - 0x1p119, 0, MR_STORE_BF16},
        {"tf32", 0x1p-24, 0x1p-149, 0x1p128 - 0x1p103, 0x1p-11, MR_STORE_WIDE},
        {"fp8", 0x1p-24, 0x1p-149, 0x1p128 - 0x1p103, 0x1p-4, MR_STORE_WIDE},   /* e4m3 */
    };
    const bool doubles = strcmp(store, "f64") == 0;
    int found = 0;
    for (int i = 0; i < 5; i++) {
        if (i < 3 && strcmp(doubles ? "f32" : store, types[i].name) == 0) {
            out->store = out->inside = types[i].unit;
            out->held = doubles ? 0x1p-53 : types[i].unit;
            out->tiny = types[i].tiny;
            out->huge = types[i].huge;
            out->storage = types[i].storage;
            found |= 1;
        }
        if (strcmp(sum, types[i].name) == 0) {
            out->sum = types[i].unit;
            out->operand = types[i].operand;
            found |= 2;
        }
    }
    if (found != 3) return false;
    /* tf32 has as many digits as f16: what is stored in 16 bits goes in as it is */
    if (out->storage != MR_STORE_WIDE && out->operand <= 0x1p-11) out->operand = 0;
    return true;
}

mr_bounded mr_bounded_at(mr_bounded x, idx offset) {
    return (mr_bounded){x.v + offset, x.e + offset, x.s + offset};
}

double mr_gamma(double n, double u) { return n * u < 0.5 ? n * u / (1 - n * u) : 2 * n * u; }

void mr_rounded(mr_bounded y, idx i, double times, double u, const mr_arithmetic *a) {
    if (isinf(y.e[i])) return;   /* after an overflow nothing is known; 0 * infinity is no bound */
    y.e[i] += times * u * (fabs(y.v[i]) + y.e[i]) + times * a->tiny;
    y.s[i] = hypot(y.s[i], MR_STORES * sqrt(times) * u * fabs(y.v[i])) + times * a->tiny;
    y.s[i] = fmin(y.s[i], y.e[i]);
}

void mr_stored(mr_bounded y, idx i, double times, const mr_arithmetic *a) {
    mr_rounded(y, i, times, a->store, a);
    if (fabs(y.v[i]) + y.e[i] >= a->huge) y.e[i] = y.s[i] = (double)INFINITY;
}
