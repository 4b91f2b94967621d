/* The smallest test of a kernel, in C: the kernel, and the call that checks it (`make kernels`). */
#include <math.h>
#include <stdio.h>

#include "golden/check.h"

/* y[t,i] = g[i] x[t,i] / sqrt(mean_j x[t,j]^2 + eps) */
static void my_rmsnorm(float *y, const float *x, const float *g, int T, int d, float eps) {
    for (int t = 0; t < T; t++) {
        float sum = 0;
        for (int i = 0; i < d; i++) sum += x[t * d + i] * x[t * d + i];
        const float r = 1 / sqrtf(sum / (float)d + eps);
        for (int i = 0; i < d; i++) y[t * d + i] = x[t * d + i] * r * g[i];
    }
}

static void call(const mr_check *check, const mr_check_plan *plan, void *user) {
    (void)user;
    my_rmsnorm(mr_check_data(check, "y"), mr_check_data(check, "x"), mr_check_data(check, "g"),
               (int)plan->tokens, (int)plan->width, (float)plan->eps);
}

int main(void) {
    const mr_check_plan plan = {.operation = "rmsnorm", .store = "f32"};
    char text[2000];
    const int status = mr_check_sweep(&plan, call, NULL, text, sizeof text);
    printf("%s\n", text);
    return status;
}
