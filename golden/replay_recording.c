/* What a file adds to the numbers of a run, where its element type holds less than the run did. */
#include "golden/replay_round.h"

#include <math.h>
#include <string.h>

/* (V12) r = rd(y) in the file's type: |r - y| <= u |r|, or a step of its subnormals
 * f32 numbers in f32, bf16 numbers in f32: nothing; bf16 numbers in f16 keep their digits, but not
 * their range */
mr_recording mr_recording_of(const char *part, mr_dtype file, const mr_arithmetic *a) {
    static const char *const inner[] = {"scores", "probs", "router_weights"};
    const mr_recording none = {0, 0, (double)INFINITY};
    double held = a->held;
    for (int i = 0; i < 3; i++)
        if (strcmp(part, inner[i]) == 0) held = fmin(held, a->inside);
    switch (file) {
    case MR_F32:  return held < 0x1p-24 ? (mr_recording){0x1p-24, 0x1p-149, none.huge} : none;
    case MR_BF16: return held < 0x1p-8 ? (mr_recording){0x1p-8, 0x1p-133, none.huge} : none;
    case MR_F16:
        if (held == 0x1p-11) return none;
        return (mr_recording){held < 0x1p-11 ? 0x1p-11 : 0, 0x1p-24, 65520};
    default:      return none;
    }
}

void mr_recorded(mr_bounded y, idx i, const mr_recording *r) {
    const mr_arithmetic file = {.tiny = r->tiny};
    if (r->tiny == 0 || !isfinite(y.v[i])) return;
    mr_rounded(y, i, 1, r->unit, &file);
    if (fabs(y.v[i]) + y.e[i] >= r->huge) y.e[i] = y.s[i] = (double)INFINITY;
}

void mr_take_recorded(mr_bounded x, idx i, double found, const mr_recording *r) {
    if (isinf(found) && isfinite(r->huge) && isinf(x.e[i])) return;
    x.v[i] = found;
    x.e[i] = x.s[i] = isfinite(found) ? r->unit * fabs(found) + r->tiny : 0;
}
