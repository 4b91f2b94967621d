/* Learning-rate schedules. */
#include "ref/schedule.h"

#include <math.h>
#include <string.h>

static const char *const names[MR_SCHEDULES] = {"constant", "linear", "cosine", "dpo"};

const char *mr_schedule_name(mr_schedule_kind kind) { return names[kind]; }

bool mr_schedule_parse(const char *name, mr_schedule_kind *kind) {
    for (int k = 0; k < MR_SCHEDULES; k++)
        if (strcmp(name, names[k]) == 0) {
            *kind = (mr_schedule_kind)k;
            return true;
        }
    return false;
}

/* (O6) dpo: min(1, (s+1) / (w+1)); the others s / w below w, then with q = (s-w) / max(1, N-w)
 *      constant 1   linear max(0, 1-q)   cosine max(0, (1 + cos(pi q)) / 2)
 * transformers optimization.py, get_*_schedule_with_warmup (step 0 has rate 0 when w > 0);
 * eric-mitchell/direct-preference-optimization trainers.py. s: step, w: warm-up, N: all steps */
double mr_schedule_factor(const mr_schedule *schedule, int64_t step) {
    const double s = (double)step, w = (double)schedule->warmup, N = (double)schedule->steps;
    if (schedule->kind == MR_SCHEDULE_DPO) return fmin(1, (s + 1) / (w + 1));
    if (s < w) return s / w;
    const double span = fmax(1, N - w), pi = 3.141592653589793;
    switch (schedule->kind) {
        case MR_SCHEDULE_LINEAR: return fmax(0, (N - s) / span);
        case MR_SCHEDULE_COSINE: return fmax(0, (1 + cos(pi * (s - w) / span)) / 2);
        default: return 1;
    }
}
